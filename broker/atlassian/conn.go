package atlassian

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"

	"github.com/holdfast-io/holdfast/broker/crashpoint"
)

// errGuard is what a Write fails with that the guard forbade.
var errGuard = errors.New("the guard forbade the request")

// meter counts the bytes that were handed to the operating system. It lies
// below TLS: a TLS connection that reports an error may still have sent bytes.
type meter struct {
	net.Conn
	sent atomic.Int64
}

func (m *meter) Write(b []byte) (int, error) {
	n, err := m.Conn.Write(b)
	m.sent.Add(int64(n))
	return n, err
}

// spendConn is the one connection of a spend. It runs the guard as the last
// thing before the first byte of the request, and knows for certain whether
// any byte left.
type spendConn struct {
	net.Conn // the meter, or TLS over it
	meter    *meter
	guard    func() error

	mu sync.Mutex // guards all below; never held across network I/O
	// asked: the guard was run; refused: it said no.
	asked, refused bool
	// writing: a Write is under way; wrote: one has sent bytes.
	writing, wrote bool
	// over: the spend has ended; no further byte may leave.
	over bool
}

// Write implements net.Conn. net/http calls it from one goroutine.
func (c *spendConn) Write(b []byte) (int, error) {
	if err := c.admit(); err != nil {
		return 0, err
	}
	before := c.meter.sent.Load()
	n, err := c.Conn.Write(b)
	crashpoint.At(crashpoint.SpendWritten)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = false
	c.wrote = c.wrote || n > 0 || c.meter.sent.Load() > before
	return n, err
}

// Close implements net.Conn. It takes the connection away below TLS: the
// farewell of TLS could block for seconds beyond the spend's timeout.
func (c *spendConn) Close() error { return c.meter.Close() }

func (c *spendConn) admit() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		return net.ErrClosed
	}
	if !c.asked {
		c.asked = true
		c.refused = c.guard != nil && c.guard() != nil
	}
	if c.refused {
		return errGuard
	}
	c.writing = true
	return nil
}

// end forbids every further byte and reports what had become of the request by
// then. A Write that is still under way counts as written.
func (c *spendConn) end() (written, refused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	return c.wrote || c.writing, c.refused
}
