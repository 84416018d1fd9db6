package e2e

import (
	"bytes"
	"net"
	"sync"
	"testing"
)

// lineLog writes a process's output to the test's log, a line at a time, and
// nothing once the test has ended.
type lineLog struct {
	t      *testing.T
	name   string
	mu     sync.Mutex
	rest   []byte
	closed bool
}

func logWriter(t *testing.T, name string) *lineLog {
	w := &lineLog{t: t, name: name}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.closed = true
	})
	return w
}

// Write implements io.Writer and never fails.
func (w *lineLog) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = append(w.rest, p...)
	for {
		text, rest, found := bytes.Cut(w.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		w.rest = rest
		if !w.closed {
			w.t.Logf("%s: %s", w.name, text)
		}
	}
}

// freeAddress returns a loopback address that was free a moment ago: for a
// process that must be told its port because others have to know it first.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
