package holdfast

import (
	"bytes"
	"context"
	"crypto/tls"
	"sync"
	"time"

	"google.golang.org/grpc"
)

// A certificate is shown once for each connection, which may live for longer than the
// certificate. The broker then refuses its calls, and grpc-go, for which all is well with that
// connection, would go on using it though a renewed certificate lies ready.

// shown is what the connections that stand showed. There may be several, e.g. one for each
// replica, or one that lost the race of two addresses and is about to be closed.
type shown struct {
	mu    sync.Mutex // guards all below
	conns map[*showing]bool
	turns int // how often connections were replaced
}

func newShown() *shown { return &shown{conns: map[*showing]bool{}} }

// note a connection that was made.
func (s *shown) note(c *showing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = true
}

// forget one that was closed.
func (s *shown) forget(c *showing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns[c] {
		delete(s.conns, c)
		close(c.closed)
	}
}

// turn is the number of the connections that a call begins with. f may be nil.
func (f *tlsFiles) turn() int {
	if f == nil {
		return 0
	}
	f.shown.mu.Lock()
	defer f.shown.mu.Unlock()
	return f.shown.turns
}

// ending returns a connection that replace ended and that is not closed yet; nil: there is none.
func (f *tlsFiles) ending() *showing {
	f.shown.mu.Lock()
	defer f.shown.mu.Unlock()
	for c := range f.shown.conns {
		if c.ended {
			return c
		}
	}
	return nil
}

// replace ends the connections of that turn that showed another certificate than the file
// holds by now, and reports whether they have ended. f may be nil.
func (f *tlsFiles) replace(turn int) bool {
	if f == nil || f.cert == "" {
		return false
	}
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	s := f.shown
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turns != turn {
		return true
	}
	if err != nil {
		return false
	}
	found := false
	for c := range s.conns {
		if !c.ended && !bytes.Equal(pair.Certificate[0], c.leaf) {
			c.ended, found = true, true
			_ = c.SetReadDeadline(time.Unix(1, 0)) // grpc-go's read fails, and it closes the connection; fails if it is closed
		}
	}
	if found {
		s.turns++
	}
	return found
}

// again reports whether a call that began in that turn and failed with e is worth making once
// more, since the next connection shows another certificate.
func (c *Client) again(ctx context.Context, e *Error, turn int) bool {
	switch e.Reason {
	case CallerUnauthenticated:
		if !c.files.replace(turn) {
			return false
		}
	case Unreachable: // its connection may have been ended for another call's sake
		if c.files.turn() == turn {
			return false
		}
	default:
		return false
	}
	return c.files.awaitEnd(ctx)
}

// awaitEnd waits until grpc-go has noticed which connections were ended: until then a
// call would go over one of them, and end with it. It reports whether that was before
// ctx ended. f may be nil.
func (f *tlsFiles) awaitEnd(ctx context.Context) bool {
	if f == nil {
		return ctx.Err() == nil
	}
	for old := f.ending(); old != nil; old = f.ending() {
		select {
		case <-old.closed:
		case <-ctx.Done():
			return false
		}
	}
	return ctx.Err() == nil
}

// call makes a call, and once more where the certificate was renewed since the connection was made.
func call[Q, A any](ctx context.Context, c *Client, method func(context.Context, Q, ...grpc.CallOption) (A, error), request Q) (A, error) {
	turn := c.files.turn()
	c.files.awaitEnd(ctx) // one that ends after turn was read has the call made again
	answer, err := method(ctx, request)
	if err == nil {
		return answer, nil
	}
	e := c.refused(err)
	if !c.again(ctx, e, turn) {
		return answer, e
	}
	if answer, err = method(ctx, request); err != nil {
		return answer, c.refused(err)
	}
	return answer, nil
}
