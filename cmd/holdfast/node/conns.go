package node

import (
	"net"
	"net/http"
	"sync"
)

// fresh knows the connections on which no request has begun. Browsers open some
// ahead of need, and http.Server.Shutdown waits seconds for each.
type fresh struct {
	mu      sync.Mutex // guards all below
	conns   map[net.Conn]struct{}
	closing bool
}

// track is a hook for http.Server.ConnState.
func (f *fresh) track(c net.Conn, state http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if state != http.StateNew {
		delete(f.conns, c)
		return
	}
	if f.closing {
		go func() { _ = c.Close() }() // nobody has asked anything on it; may wait for a TLS alert to go out
		return
	}
	if f.conns == nil {
		f.conns = map[net.Conn]struct{}{}
	}
	f.conns[c] = struct{}{}
}

// close ends them all, and those that still come.
func (f *fresh) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closing = true
	for c := range f.conns {
		go func() { _ = c.Close() }() // nobody has asked anything on it; may wait for a TLS alert to go out
	}
	f.conns = nil
}
