package rpc

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/identity"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// reader is a client's end of a stream that takes messages as long as it wants.
type reader struct {
	grpc.ServerStream
	ctx context.Context
	// taken is a message each, or blocks for ever if nobody takes it: until the stream ends.
	taken chan *holdfastv1.WatchAccessTokenResponse
}

func (r reader) Context() context.Context { return r.ctx }

func (r reader) SendMsg(m any) error {
	select {
	case r.taken <- m.(*holdfastv1.WatchAccessTokenResponse):
		return nil
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
}

// watchRig is a service that watches in virtual time, for somebody whose identity
// ends after two hours, but for what a test changes.
type watchRig struct {
	broker *fakeBroker
	edge   *edge
	// end begins to stop the server.
	end      context.CancelFunc
	identity time.Duration
	reads    bool
	// leaves is when the client does; 0: never.
	leaves time.Duration
}

// run watches until the stream ends, and returns what with and after how long.
func (w *watchRig) run(t *testing.T) (after time.Duration, err error) {
	ctx, done := context.WithCancel(peer.NewContext(t.Context(), &peer.Peer{AuthInfo: &connection{peer: until(time.Now().Add(w.identity))}}))
	defer done() // as grpc does when the handler has returned
	if w.leaves > 0 {
		time.AfterFunc(w.leaves, done)
	}
	c := &call{Context: ctx, ours: true}
	if err := w.edge.admit(c, true, time.Now()); err != nil {
		t.Fatal(err)
	}
	r := reader{ctx: ctx, taken: make(chan *holdfastv1.WatchAccessTokenResponse)}
	if w.reads {
		go func() {
			for {
				select {
				case <-r.taken:
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	began := time.Now()
	s := &tokenService{broker: w.broker, edge: w.edge}
	err = w.edge.stand(r, c, func(ss grpc.ServerStream) error {
		return s.WatchAccessToken(watching(), &grpc.GenericServerStream[holdfastv1.WatchAccessTokenRequest, holdfastv1.WatchAccessTokenResponse]{ServerStream: ss})
	})
	return time.Since(began), err
}

func TestWhatEndsAWatch(t *testing.T) {
	denied := &broker.Error{Reason: broker.ReasonCallerNotAllowed, Message: "not any more"}
	for _, row := range []struct {
		name           string
		change         func(*watchRig)
		want           broker.Reason
		earliest, last time.Duration
	}{
		{"its greatest age", func(*watchRig) {}, broker.ReasonStreamEnded, 54 * time.Minute, time.Hour},
		{"its caller's identity", func(w *watchRig) { w.identity = 20 * time.Minute }, broker.ReasonCallerUnauthenticated, 20 * time.Minute, 20 * time.Minute},
		{"a change of trust", func(w *watchRig) {
			w.identity = 20 * time.Minute
			time.AfterFunc(time.Minute, func() { w.edge.recheck.Announce() }) // alone it ends nothing
		}, broker.ReasonCallerUnauthenticated, 20 * time.Minute, 20 * time.Minute},
		{"the server's end", func(w *watchRig) { time.AfterFunc(time.Minute, func() { w.end() }) }, broker.ReasonStreamEnded, time.Minute, time.Minute},
		{"the broker's word", func(w *watchRig) { w.broker.hook = func(context.Context) error { return denied } }, broker.ReasonCallerNotAllowed, 0, 0},
		{"a reader that takes nothing", func(w *watchRig) { w.reads = false }, broker.ReasonStreamEnded, takenWithin, takenWithin},
		{"a reader that takes nothing, at the server's end", func(w *watchRig) {
			w.reads = false
			time.AfterFunc(time.Second, func() { w.end() })
		}, broker.ReasonStreamEnded, time.Second, time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWatchRig(t)
				row.change(w)
				after, err := w.run(t)
				if broker.ReasonOf(err) != row.want || after < row.earliest || after > row.last {
					t.Errorf("after %v it ended with %v", after, err)
				}
				if e, ok := errors.AsType[*broker.Error](err); ok && row.want == broker.ReasonStreamEnded && (e.RetryAfter <= 0 || e.RetryAfter > reopenWithin) {
					t.Errorf("it is to be opened again after %v", e.RetryAfter)
				}
				w.gone(t)
			})
		})
	}
}

func newWatchRig(t *testing.T) *watchRig {
	trust, err := identity.New(identity.Config{})
	if err != nil {
		t.Fatal(err)
	}
	limits := Limits{}
	if err := limits.applyDefaults(); err != nil {
		t.Fatal(err)
	}
	places, err := newWatches(limits, nil)
	if err != nil {
		t.Fatal(err)
	}
	ending, end := context.WithCancel(t.Context())
	return &watchRig{
		broker: newFakeBroker(), identity: 2 * time.Hour, reads: true, end: end,
		edge: &edge{trust: trust, recheck: identity.NewBroadcast(), now: time.Now, ending: ending, watches: places},
	}
}

// gone wants that nothing is left of the stream; goroutines would fail the bubble.
func (w *watchRig) gone(t *testing.T) {
	t.Helper()
	if w.edge.watches.open != 0 || len(w.edge.watches.each) != 0 {
		t.Errorf("%d streams hold places: %v", w.edge.watches.open, w.edge.watches.each)
	}
}

func TestAClientThatLeavesEndsItsWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWatchRig(t)
		w.leaves = time.Minute
		if after, err := w.run(t); !errors.Is(err, context.Canceled) || after != time.Minute {
			t.Errorf("after %v it ended with %v", after, err)
		}
		w.gone(t)
	})
}
