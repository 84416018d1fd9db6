package unreached

import (
	"errors"
	"net"
	"sync/atomic"
	"time"
)

// Heard returns conn, a connection of crypto/tls, with the broker's last words: if it hung up before it
// said anything, what the caller writes fails with the reason that it gave.
//
// By TLS 1.3 the caller's handshake has ended by the time that the broker judges the caller's
// certificate. If it refuses that, it says why and hangs up, so that what the caller
// writes meanwhile fails with the connection's end, which says nothing.
func Heard(conn net.Conn) net.Conn { return &judged{Conn: conn} }

type judged struct {
	net.Conn
	heard atomic.Bool
}

// Read implements net.Conn.
func (c *judged) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && !c.heard.Load() {
		c.heard.Store(true)
	}
	return n, err
}

// Write implements net.Conn. It fails with what the peer said, if it never said anything else.
func (c *judged) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err == nil || c.heard.Load() {
		return n, err
	}
	_ = c.SetReadDeadline(time.Now().Add(lastWords))
	// Nothing is lost by reading: nobody uses a connection that broke before it was in use.
	if _, said := c.Conn.Read(make([]byte, 1)); isAlert(said) {
		return n, said
	}
	return n, err
}

// lastWords is how long a peer that hung up is listened to: what it said has arrived, or never will.
const lastWords = time.Second

func isAlert(err error) bool {
	e, ok := errors.AsType[*net.OpError](err)
	return ok && e.Op == "remote error" // so crypto/tls marks what the peer said
}
