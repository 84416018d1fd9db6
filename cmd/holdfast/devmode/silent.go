package devmode

import (
	"net"
	"sync"
	"sync/atomic"
)

// silentListener knows its connections on which nothing has arrived. Browsers
// open some ahead of need, and an orderly end of the simulator waits for them.
type silentListener struct {
	net.Listener
	mu      sync.Mutex // guards all below
	conns   map[*silentConn]struct{}
	closing bool
}

type silentConn struct {
	net.Conn
	of    *silentListener
	heard atomic.Bool
}

// Accept implements net.Listener.
func (l *silentListener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &silentConn{Conn: raw, of: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closing {
		_ = raw.Close() // nobody has said anything on it
		return c, nil
	}
	if l.conns == nil {
		l.conns = map[*silentConn]struct{}{}
	}
	l.conns[c] = struct{}{}
	return c, nil
}

// hangUp closes the silent connections, and those that still come.
func (l *silentListener) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closing = true
	for c := range l.conns {
		_ = c.Conn.Close() // nobody has said anything on it
	}
	l.conns = nil
}

func (c *silentConn) forget() {
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	delete(c.of.conns, c)
}

// Read implements net.Conn.
func (c *silentConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.heard.Swap(true) {
		c.forget()
	}
	return n, err
}

// Close implements net.Conn.
func (c *silentConn) Close() error {
	c.forget()
	return c.Conn.Close()
}
