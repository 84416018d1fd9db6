// Package lifecycle owns the order in which the parts of a running broker end:
// when one server dies, or the process is told to go, all stop in reverse order
// of their start, each with a grace period of its own.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Stack holds what was started. The zero value is not usable; see New.
type Stack struct {
	log   *slog.Logger
	parts []part
	// died takes the first death; later ones show up when their part is stopped.
	died chan error
	runs sync.WaitGroup
}

type part struct {
	name  string
	grace time.Duration
	stop  func(ctx context.Context) error
}

// New returns an empty Stack.
func New(log *slog.Logger) *Stack { return &Stack{log: log, died: make(chan error, 1)} }

// Push notes how a part that was started is stopped. stop gets a context that
// ends after grace and must return soon after it.
func (s *Stack) Push(name string, grace time.Duration, stop func(ctx context.Context) error) {
	s.parts = append(s.parts, part{name, grace, stop})
}

// Serve runs serve on a goroutine of its own and notes how it is stopped. If
// serve returns before Wait stops the stack, with an error or without, it has died.
func (s *Stack) Serve(name string, grace time.Duration, serve func() error, stop func(ctx context.Context) error) {
	s.Push(name, grace, stop)
	s.runs.Go(func() {
		err := serve()
		if err == nil {
			err = errors.New("ended by itself")
		}
		select {
		case s.died <- fmt.Errorf("%s: %w", name, err):
		default:
		}
	})
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

// Stop stops the parts in reverse order and waits for every goroutine. It is
// for a start that failed half-way; otherwise Wait calls it.
func (s *Stack) Stop() error {
	var errs []error
	for i := len(s.parts) - 1; i >= 0; i-- {
		p := s.parts[i]
		ctx, cancel := context.WithTimeout(context.Background(), p.grace)
		began := time.Now()
		if err := p.stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("stopping %s: %w", p.name, err))
		}
		cancel()
		s.log.Debug("stopped", "part", p.name, "took", time.Since(began))
	}
	s.parts = nil
	s.runs.Wait()
	return errors.Join(errs...)
}
