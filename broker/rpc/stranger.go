package rpc

import (
	"net"
	"sync/atomic"
	"time"
)

// A connection without a certificate may bring tokens, and until it has brought
// a good one nobody knows whose it is. What strangers can hold is bounded: their
// number (by the door), their bytes (by the wire), their time and their tries. A stream of theirs, and so a message, does
// not begin before its header has shown a token (see edge.header).
const (
	// strangerTime until a connection must have shown a good token.
	strangerTime = 20 * time.Second
	// strangerTries are the tokens that may be refused on a connection before it
	// is closed, and provenTries if one was good: a connection may be shared.
	strangerTries = 16
	provenTries   = 1024
	// maxPending are the streams that may wait at once, on all connections, for an
	// issuer's keys to be read, each perhaps with a message.
	maxPending = 16
)

// stranger is a connection that showed no certificate.
type stranger struct {
	net.Conn
	timer *time.Timer
	// known is set once.
	known   atomic.Bool
	refused atomic.Int64
}

func newStranger(conn net.Conn) *stranger {
	one := &stranger{Conn: conn}
	// The read that the transport waits in fails, and it closes the connection.
	one.timer = time.AfterFunc(strangerTime, func() {
		if !one.known.Load() {
			one.end()
		}
	})
	return one
}

// proven says that a good token came.
func (s *stranger) proven() {
	if !s.known.Load() && s.known.CompareAndSwap(false, true) {
		s.timer.Stop()
	}
}

// disproved says that a token was refused.
func (s *stranger) disproved() {
	tries := int64(strangerTries)
	if s.known.Load() {
		tries = provenTries
	}
	if s.refused.Add(1) >= tries {
		s.end()
	}
}

// end makes the transport close the connection. It does not block.
func (s *stranger) end() { _ = s.SetReadDeadline(time.Unix(1, 0)) } // fails if it is closed already

// Close implements net.Conn.
func (s *stranger) Close() error {
	s.proven()
	return s.Conn.Close()
}
