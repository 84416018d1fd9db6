package faultproxy

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// pieceSize bounds what passes at once.
const pieceSize = 32 << 10

// link is one connection: near is the half of who connected, far the target's.
type link struct {
	p         *Proxy
	near, far *net.TCPConn
	// maimed: bytes of it were lost, or its end was.
	maimed atomic.Bool
	done   chan struct{}
	once   sync.Once
}

// close ends both halves in good order.
func (l *link) close() {
	l.once.Do(func() {
		close(l.done)
		_ = l.near.Close()
		_ = l.far.Close()
	})
}

// reset ends both halves as a peer does that knows of no connection.
func (l *link) reset() {
	l.once.Do(func() {
		close(l.done)
		l.p.counts.reset.Add(1)
		abort(l.near)
		abort(l.far)
	})
}

// pump passes bytes on as the faults let it, until the end of the connection. That
// is subject to the faults too: an end that is lost leaves the other half open.
func (l *link) pump(to, from *net.TCPConn, way func(Fault) Way) {
	piece := make([]byte, pieceSize)
	for {
		n, err := from.Read(piece)
		if n > 0 {
			pass, ok := l.await(way)
			if !ok {
				return
			}
			if pass {
				if _, err := to.Write(piece[:n]); err != nil {
					l.close()
					return
				}
			}
		}
		if err == nil {
			continue
		}
		if pass, _ := l.await(way); pass {
			l.close()
		} else {
			<-l.done // its end is lost: it is reset when the fault ends
		}
		return
	}
}

// await waits until a piece may pass (pass), or is lost; ok is false at the end of
// the connection.
func (l *link) await(way func(Fault) Way) (pass, ok bool) {
	held := false
	for {
		fault, changed := l.p.now()
		switch way(fault) {
		case Swallow:
			// Under the lock of Set, which resets who is maimed: who is maimed after a
			// change of the fault would never be.
			if !l.maim(fault) {
				continue
			}
			l.p.counts.swallowed.Add(1)
			return false, l.open()
		case Hold:
			if !held {
				held = true
				l.p.counts.held.Add(1)
			}
			select {
			case <-changed:
			case <-l.done:
				return false, false
			}
		case Pass:
			return true, l.delay(fault.Delay)
		}
	}
}

// maim notes that bytes are lost; false: the fault is another by now.
func (l *link) maim(by Fault) bool {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	if l.p.fault != by {
		return false
	}
	l.maimed.Store(true)
	return true
}

func (l *link) open() bool {
	select {
	case <-l.done:
		return false
	default:
		return true
	}
}

// delay waits; false: the connection has ended.
func (l *link) delay(d time.Duration) bool {
	if d <= 0 {
		return l.open()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.done:
		return false
	}
}
