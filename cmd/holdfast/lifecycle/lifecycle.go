// Package lifecycle owns the order in which the parts of a running broker end:
// when one server dies, or the process is told to go, all stop in reverse order
// of their start, each with a grace period of its own.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// Stack holds what was started. The zero value is not usable; see New.
type Stack struct {
	log   *slog.Logger
	parts []part
	// died takes the first death; later ones show up when their part is stopped.
	died chan error
}

type part struct {
	name  string
	grace time.Duration
	stop  func(ctx context.Context) error
	// ended is closed when the part's goroutine has returned; nil without one.
	ended chan struct{}
}

// slack is what a part gets beyond its grace to return after its context ended.
const slack = 5 * time.Second

// New returns an empty Stack.
func New(log *slog.Logger) *Stack { return &Stack{log: log, died: make(chan error, 1)} }

// Push notes how a part that was started is stopped. stop gets a context that
// ends after grace and must return soon after it.
func (s *Stack) Push(name string, grace time.Duration, stop func(ctx context.Context) error) {
	s.parts = append(s.parts, part{name: name, grace: grace, stop: stop})
}

// Serve runs serve on a goroutine of its own and notes how it is stopped. If
// serve returns before Wait stops the stack, with an error or without, it has died.
func (s *Stack) Serve(name string, grace time.Duration, serve func() error, stop func(ctx context.Context) error) {
	ended := make(chan struct{})
	s.parts = append(s.parts, part{name, grace, stop, ended})
	go func() { // Stop waits for it
		defer close(ended)
		err := serve()
		if err == nil {
			err = errors.New("ended by itself")
		}
		select {
		case s.died <- fmt.Errorf("%s: %w", name, err):
		default:
		}
	}()
}

// Wait blocks until ctx ends or a server dies, then stops everything. It
// returns the death, joined with what went wrong while stopping; nil after an
// orderly end.
func (s *Stack) Wait(ctx context.Context) error {
	var death error
	select {
	case <-ctx.Done():
		s.log.Info("stopping")
	case death = <-s.died:
		s.log.Error("a server died; stopping everything", "error", death)
	}
	return errors.Join(death, s.Stop())
}

// Stop stops the parts in reverse order. A part is stopped, and its goroutine
// has returned, before the one below it goes: nothing is closed under its users.
// A part that does not end within its grace is reported and left behind, since
// a process that hangs is worse than one that ends with an error. It is for a
// start that failed half-way; otherwise Wait calls it.
func (s *Stack) Stop() error {
	var errs []error
	for i := len(s.parts) - 1; i >= 0; i-- {
		p := s.parts[i]
		began := time.Now()
		if err := p.end(); err != nil {
			errs = append(errs, fmt.Errorf("stopping %s: %w", p.name, err))
		}
		s.log.Debug("stopped", "part", p.name, "took", time.Since(began))
	}
	s.parts = nil
	return errors.Join(errs...)
}

func (p part) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.grace)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { // ends with stop; not waited for if that hangs
		err := p.stop(ctx)
		if p.ended != nil {
			<-p.ended
		}
		stopped <- err
	}()
	limit := time.NewTimer(p.grace + slack)
	defer limit.Stop()
	select {
	case err := <-stopped:
		return err
	case <-limit.C:
		return fmt.Errorf("it did not end within %v", p.grace+slack)
	}
}
