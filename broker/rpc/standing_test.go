package rpc

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/identity"
)

// silent is a stream whose client says nothing.
type silent struct {
	grpc.ServerStream
	ctx context.Context
}

func (s silent) Context() context.Context { return s.ctx }
func (s silent) RecvMsg(any) error        { <-s.ctx.Done(); return io.EOF }

// until is somebody whose identity ends.
type until time.Time

func (u until) Identity(time.Time) (*identity.Identity, error) {
	return &identity.Identity{Mapped: true, Caller: broker.Caller{Name: "x", Kind: broker.CallerX509, NotAfter: time.Time(u)}}, nil
}

func TestWhatAStreamDemandsIsAskedAgainAfterEachChange(t *testing.T) {
	forbidden := &broker.Error{Reason: broker.ReasonCallerNotAllowed, Message: "not any more; ask an operator"}
	rows := []struct {
		name string
		do   func(e *edge, may *bool)
		want error
	}{
		{"a change that forbids it", func(e *edge, may *bool) { *may = false; e.recheck.Announce() }, forbidden},
		{"a change that does not, and then the end of the identity", func(e *edge, _ *bool) { e.recheck.Announce() }, &broker.Error{Reason: broker.ReasonCallerUnauthenticated}},
		{"a change of trust that brings a refusal to light", func(e *edge, may *bool) { *may = false; e.trust.SetRoots(nil) }, forbidden},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				trust, err := identity.New(identity.Config{})
				if err != nil {
					t.Fatal(err)
				}
				e := &edge{trust: trust, recheck: identity.NewBroadcast(), now: time.Now, ending: t.Context()}
				ctx, cancel := context.WithCancel(peer.NewContext(t.Context(), &peer.Peer{AuthInfo: &connection{peer: until(time.Now().Add(time.Hour))}}))
				defer cancel() // as grpc does when the handler has returned
				c := &call{Context: ctx}
				if err := e.admit(c, false, time.Now()); err != nil {
					t.Fatal(err)
				}
				may := true
				ended := make(chan error, 1)
				go func() {
					ended <- e.stand(silent{ctx: ctx}, c, func(s grpc.ServerStream) error {
						err := standingOf(s.Context()).demand(func() error {
							if !may {
								return forbidden
							}
							return nil
						})
						if err != nil {
							return err
						}
						return s.RecvMsg(nil)
					})
				}()
				synctest.Wait()
				row.do(e, &may)
				got := <-ended
				if broker.ReasonOf(got) != broker.ReasonOf(row.want) {
					t.Errorf("it ended with %v, want %v", got, row.want)
				}
			})
		})
	}
}

func TestAStreamWhoseClientIsSilentEndsWithItsIdentity(t *testing.T) {
	r := newRig(t)
	stream, err := reflectionpb.NewServerReflectionClient(r.dial(mapped)).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(foreignRequest("grpc.reflection.v1").(*reflectionpb.ServerReflectionRequest)); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	r.config.Trust.SetRoots(newAuthority(t).pool)
	if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("it ended with %v", err)
	}
}

func TestEachMessageOfAStreamCounts(t *testing.T) {
	r := newRig(t, slowly)
	stream, err := reflectionpb.NewServerReflectionClient(r.dial(mapped)).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := stream.Send(foreignRequest("grpc.reflection.v1").(*reflectionpb.ServerReflectionRequest)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 99 { // opening it was the first call of the burst of 100
		if _, err := stream.Recv(); err != nil {
			t.Fatalf("message %d: %v", i+1, err)
		}
	}
	_, err = stream.Recv()
	if info, _, _ := details(err); status.Code(err) != codes.ResourceExhausted || info.GetReason() != string(broker.ReasonCallerRateLimited) {
		t.Errorf("beyond the burst: %v", err)
	}
}

func TestADemandThatPanicsEndsItsStreamAlone(t *testing.T) {
	e := &edge{}
	p := &peer.Peer{AuthInfo: &connection{peer: always{}}}
	s := &standing{call: &call{Context: peer.NewContext(t.Context(), p)}}
	err := e.look(s) // without a trust it panics
	if _, ok := errors.AsType[*panicked](err); !ok {
		t.Fatalf("got %v", err)
	}
}
