package broker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker"
)

// stream is one Watch and what it was sent.
type stream struct {
	t      *testing.T
	events chan broker.TokenResult
	ended  chan error
	cancel context.CancelFunc
}

// watcher is what watches: a broker.
type watcher interface {
	Watch(context.Context, broker.Caller, broker.TokenRequest, func(broker.TokenResult) error) error
}

// watch begins to watch jira as a caller; it ends with the test at the latest.
func watch(t *testing.T, b watcher, caller broker.Caller, change ...func(*broker.TokenRequest)) *stream {
	req := broker.TokenRequest{Address: jira}
	for _, c := range change {
		c(&req)
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{t: t, events: make(chan broker.TokenResult), ended: make(chan error, 1), cancel: cancel}
	go func() {
		s.ended <- b.Watch(ctx, caller, req, func(r broker.TokenResult) error {
			select {
			case s.events <- r:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	t.Cleanup(s.stop)
	return s
}

func (s *stream) stop() {
	s.cancel()
	s.ended <- <-s.ended
}

// next is the next event, as a word, which must come within a time.
func (s *stream) next(within time.Duration) string {
	s.t.Helper()
	select {
	case r := <-s.events:
		return word(r)
	case err := <-s.ended:
		s.ended <- err
		return "ended " + string(broker.ReasonOf(err))
	case <-time.After(within + time.Millisecond):
		return "nothing"
	}
}

// word is an event in a word: the generation of a token, or a reason.
func word(r broker.TokenResult) string {
	if r.Err == nil {
		return fmt.Sprint(r.Answer.Generation)
	}
	return string(broker.ReasonOf(r.Err))
}

func TestAWatchedTokenIsRenewedWellBeforeItEndsThoughNobodyDrawsIt(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		c.replica[0].consent(jira)
		s := watch(c.t, c.replica[0], svc)
		if got := s.next(0); got != "1" {
			t.Fatalf("at once came %s", got)
		}
		for want := 2; want < 5; want++ {
			began := time.Now()
			if got := s.next(time.Hour); got != fmt.Sprint(want) {
				t.Fatalf("got %s, want generation %d", got, want)
			}
			if after := time.Since(began); after < 55*time.Minute || after > 56*time.Minute {
				t.Errorf("generation %d came after %v, want 5 minutes before the end of the last", want, after)
			}
		}
		if n := c.posts(); n != 3 {
			t.Errorf("%d refreshes for 3 renewals", n)
		}
	})
}

func TestAWatcherIsToldOnceOfEachChange(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		m := c.replica[0]
		m.consent(jira)
		s := watch(c.t, m, svc)
		var got []string
		note := func(within time.Duration) { got = append(got, s.next(within)) }
		note(0)
		if _, err := m.Revoke(ctx, op, "", jira, "test"); err != nil {
			t.Fatal(err)
		}
		note(0)
		note(3 * time.Hour)
		if _, err := m.Reauth(ctx, op, "", jira); err != nil {
			t.Fatal(err)
		}
		note(0)
		note(time.Hour)
		m.consent(jira)
		note(0)
		want := []string{"1", "GRANT_REVOKED", "nothing", "nothing", "nothing", "2"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}
