package rpc

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"

	"google.golang.org/grpc"
)

// Recheck has every standing stream looked at again: its caller's identity, and
// whatever its handler demanded. A change of the trust does that by itself; call
// it when the policy or a grant has changed. It does not block.
func (s *Server) Recheck() { s.edge.recheck.Announce() }

// standing is one stream that may last. It ends when its identity ends, when the
// server begins to stop, and when a look at it after a change refuses it.
type standing struct {
	grpc.ServerStream
	edge *edge
	// call is what looks change, opened what the stream began with.
	call, opened *call
	ctx          context.Context
	end          context.CancelCauseFunc

	mu      sync.Mutex // guards demands
	demands []func() error
}

// demand has f asked now and after each change, for as long as the stream lasts;
// its first error ends the stream and is what the client gets. f must not block.
func (s *standing) demand(f func() error) error {
	s.mu.Lock()
	s.demands = append(s.demands, f)
	s.mu.Unlock()
	return f()
}

// stand runs serve as a standing stream of a caller that was admitted.
func (e *edge) stand(ss grpc.ServerStream, c *call, serve func(grpc.ServerStream) error) error {
	bounded, stop := context.WithDeadlineCause(c.Context, c.caller.NotAfter,
		unauthenticated("the identity that opened the stream has ended; open it again with a valid one"))
	defer stop()
	ctx, end := context.WithCancelCause(bounded)
	defer end(nil)
	defer context.AfterFunc(e.ending, func() { end(nil) })()
	s := &standing{ServerStream: ss, edge: e, opened: c, ctx: c, end: end, call: &call{Context: c.Context, caller: c.caller, ours: c.ours}}
	c.Context = context.WithValue(ctx, standingKey{}, s)
	watched := make(chan struct{})
	go func() { // ends with ctx, and so with this function
		defer close(watched)
		e.watch(s)
	}()
	err := serve(s)
	end(nil)
	<-watched
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		c.asked = false // this refusal nobody else has recorded
		return cause
	}
	return err
}

// watch looks at the stream again after each change, until it ends.
func (e *edge) watch(s *standing) {
	done := s.ctx.Done()
	for {
		trust, other := e.trust.Changed(), e.recheck.Next()
		if err := e.look(s); err != nil {
			s.end(err)
			return
		}
		select {
		case <-done:
			return
		case <-trust:
		case <-other:
		}
	}
}

// look asks once whether the stream may go on.
func (e *edge) look(s *standing) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicked{p, debug.Stack()}
		}
	}()
	if err := e.admit(s.call, s.call.ours, e.now()); err != nil {
		return err
	}
	s.mu.Lock()
	demands := s.demands
	s.mu.Unlock()
	for _, f := range demands {
		if err := f(); err != nil {
			return err
		}
	}
	return nil
}

type standingKey struct{}

// standingOf returns the stream of a handler's context.
func standingOf(ctx context.Context) *standing {
	s, _ := ctx.Value(standingKey{}).(*standing)
	return s
}

// Context implements grpc.ServerStream.
func (s *standing) Context() context.Context { return s.ctx }

// RecvMsg implements grpc.ServerStream. It returns when the stream ends, even if
// the client sends nothing more; what the transport still waits for ends with
// the handler. Each message counts as a call, and the one too many ends the stream.
func (s *standing) RecvMsg(m any) error {
	received := make(chan error, 1)
	go func() { received <- s.ServerStream.RecvMsg(m) }()
	select {
	case err := <-received:
		if err != nil {
			return err
		}
		if err := decoded(m); err != nil {
			return err
		}
		if err := s.edge.limiter.take(s.opened, m, s.edge.now()); err != nil || !s.opened.ours {
			return err
		}
		return s.edge.valid(s.opened, m)
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

// SendMsg implements grpc.ServerStream: nothing is said after the end.
func (s *standing) SendMsg(m any) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	return s.ServerStream.SendMsg(m)
}
