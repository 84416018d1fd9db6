package pgtest

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"
)

var (
	sharedMu sync.Mutex
	// shared is nil until somebody asks for it; guarded by sharedMu.
	shared *Server
)

// Shared returns the one server of this test binary, started at the first call
// with the default settings. Each test takes a Database of its own and leaves the
// server running. TestMain must call StopShared at the end; a process that dies
// leaves nothing behind either.
func Shared(t testing.TB) *Server {
	t.Helper()
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if shared != nil {
		return shared
	}
	s := prepare(t, nil)
	started := false
	defer func() {
		if !started {
			s.end(t.Logf)
		}
	}()
	s.initialise(t)
	s.StartAgain(t)
	shared, started = s, true
	return s
}

// StopShared ends the server that Shared started, if it did.
func StopShared() {
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if shared != nil {
		shared.end(func(format string, args ...any) { slog.Error(fmt.Sprintf(format, args...)) })
		shared = nil
	}
}
