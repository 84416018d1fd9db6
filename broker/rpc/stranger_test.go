package rpc

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/broker/identity"
	"github.com/holdfast-io/holdfast/broker/identity/identitytest"
)

func TestStrangersMustProveThemselvesInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan bool, 2)
		for _, proven := range []bool{true, false} {
			near, far := net.Pipe()
			s := newStranger(near)
			defer s.Close()
			defer far.Close()
			if proven {
				s.proven()
			}
			go func() {
				_, _ = s.Read(make([]byte, 1)) // that it returns is what counts
				ended <- proven
			}()
		}
		<-time.After(strangerTime + time.Second)
		synctest.Wait()
		if len(ended) != 1 || <-ended {
			t.Fatal("want that the one that showed nothing has ended, and no other")
		}
	})
}

// A client with a token may begin with many calls at once, on a connection that
// has shown nothing before.
func TestManyCallsWithATokenMayBeginAConnection(t *testing.T) {
	r := newTokenRig(t)
	token := r.key.Sign(t, r.issuer.Claims(nil))
	if err := r.ask(t, token); err != nil { // so that the issuer's keys are known
		t.Fatal(err)
	}
	r.conn = r.dial("")
	const calls = 200
	got := make(chan error, calls)
	for range calls {
		go func() { got <- r.ask(t, token) }()
	}
	for range calls {
		if err := <-got; err != nil {
			t.Fatal(err)
		}
	}
}

func TestAConnectionThatOnlyBringsBadTokensIsClosed(t *testing.T) {
	r := newTokenRig(t)
	closed := false
	for range 2 * strangerTries {
		switch code := status.Code(r.ask(t, "bad")); code {
		case codes.Unauthenticated:
		case codes.Unavailable:
			closed = true
		default:
			t.Fatalf("got %v", code)
		}
	}
	if !closed {
		t.Error("it was not closed")
	}
	good := r.key.Sign(t, r.issuer.Claims(nil))
	err := r.ask(t, good)
	if status.Code(err) == codes.Unavailable { // it met the end of that connection
		err = r.ask(t, good)
	}
	if err != nil {
		t.Errorf("a good token afterwards: %v", err)
	}
}

// Streams that may wait for an issuer's keys hold a message each: they are few.
func TestFewStreamsWaitForAnIssuersKeys(t *testing.T) {
	hold := make(chan struct{})
	r := newTokenRig(t, func(i *identity.Issuer) { i.Client = heldBack(i.Client, hold) })
	token := r.key.Sign(t, r.issuer.Claims(nil))
	const calls = maxPending + 8
	got := make(chan error, calls)
	for range calls {
		go func() { got <- r.ask(t, token) }()
	}
	for range calls - maxPending {
		if err := <-got; status.Code(err) != codes.Unavailable {
			t.Errorf("beyond the few: %v, want Unavailable", err)
		}
	}
	close(hold)
	for range maxPending {
		if err := <-got; err != nil {
			t.Errorf("one that waited: %v", err)
		}
	}
	if err := r.ask(t, identitytest.NewKey(t, "x", "RS256").Sign(t, r.issuer.Claims(nil))); status.Code(err) != codes.Unauthenticated {
		t.Errorf("an unknown key just after: %v", err)
	}
}
