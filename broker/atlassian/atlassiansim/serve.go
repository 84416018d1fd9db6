package atlassiansim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// shutdownGrace for requests under way once Serve is told to end.
const shutdownGrace = 5 * time.Second

// Serve answers on ln, which it closes, until ctx ends; then it releases the
// requests that faults hold back, finishes those under way and returns nil. Any
// other end is an error. log gets one debug line a request, without its query,
// body or headers; nil: slog.Default.
func Serve(ctx context.Context, ln net.Listener, s *Sim, log *slog.Logger) error {
	if log == nil {
		log = slog.Default()
	}
	srv := &http.Server{
		Handler:           logged(s, log),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }() // ends with Shutdown or Close below
	select {
	case err := <-failed:
		return fmt.Errorf("serving the simulator: %w", err)
	case <-ctx.Done():
	}
	s.Close()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
	defer cancel()
	err := srv.Shutdown(grace)
	if errors.Is(err, context.DeadlineExceeded) {
		err = srv.Close() // who is still connected does not read its answer
	}
	if end := <-failed; !errors.Is(end, http.ErrServerClosed) {
		err = errors.Join(err, end)
	}
	if err != nil {
		return fmt.Errorf("stopping the simulator: %w", err)
	}
	return nil
}

// logged writes a line when a request arrives: some are never answered.
func logged(next http.Handler, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		log.DebugContext(r.Context(), "simulator request", "method", r.Method, "path", r.URL.Path)
		next.ServeHTTP(w, r)
	})
}
