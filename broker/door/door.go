// Package door owns which connections may stand at a listener. Whoever connects
// is a stranger until somebody says that it is known; strangers have few
// places, and the one who has stood longest gives way to the next, so that who
// opens connections and says nothing keeps nobody out. Who is known has a
// place until its connection ends; one name alone cannot have them all. The package
// knows no protocol.
package door

import (
	"container/list"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// leastStay is how long a stranger stands at least before it gives way: an
// honest one has shown who it is long before. While all stand for less, nobody
// is let in, and who comes waits in the kernel's queue.
const leastStay = 250 * time.Millisecond

// Why there is no place for one who is known.
var (
	ErrFull        = errors.New("as many connections stand as may")
	ErrFullForName = errors.New("as many connections of this name stand as may")
)

// Limits of a Door. Strangers and Known are required.
type Limits struct {
	// Strangers that may stand at once, and Known.
	Strangers, Known int
	// KnownByName are those known by one name that may stand at once; 0: as many as Known.
	KnownByName int
}

// Door counts the connections of one listener.
type Door struct {
	limits Limits
	// mu guards all below, and the places of connections. It is held for
	// moments, at the ends of connections only, never during a call.
	mu        sync.Mutex
	strangers list.List // of *Conn; the front has stood longest
	known     int
	names     map[string]int // how many are known by each name
	turned    atomic.Int64
}

// New returns a door with nobody at it.
func New(l Limits) (*Door, error) {
	if l.Strangers < 1 || l.Known < 1 || l.KnownByName < 0 {
		return nil, errors.New("door: Strangers and Known must be at least 1, and KnownByName not negative")
	}
	if l.KnownByName == 0 {
		l.KnownByName = l.Known
	}
	return &Door{limits: l, names: map[string]int{}}, nil
}

// Turned is how many connections have been closed for want of a place.
func (d *Door) Turned() int64 { return d.turned.Load() }

// Standing returns how many connections there are now.
func (d *Door) Standing() (strangers, known int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.strangers.Len(), d.known
}

// Listen returns lis with the door before it. Its connections are *Conn.
func (d *Door) Listen(lis net.Listener) net.Listener { return &listener{lis, d} }

type listener struct {
	net.Listener
	door *Door
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &Conn{Conn: raw, door: l.door}
	for wait := l.door.enter(c); wait > 0; wait = l.door.enter(c) {
		time.Sleep(min(wait, leastStay/25)) // somebody may leave before
	}
	return c, nil
}

// enter gives c a place among the strangers, and closes the one who gives way.
// Above 0: nobody has to yet, and how long it takes until somebody does.
func (d *Door) enter(c *Conn) (wait time.Duration) {
	now := time.Now()
	d.mu.Lock()
	var out *Conn
	if d.strangers.Len() >= d.limits.Strangers {
		out = d.strangers.Front().Value.(*Conn)
		if wait = leastStay - now.Sub(out.since); wait > 0 {
			d.mu.Unlock()
			return wait
		}
		d.leave(out)
	}
	c.place, c.since = d.strangers.PushBack(c), now
	d.mu.Unlock()
	if out != nil {
		d.turn(out)
	}
	return 0
}

// leave takes c's place away. The caller holds mu.
func (d *Door) leave(c *Conn) {
	if c.place != nil {
		d.strangers.Remove(c.place)
		c.place = nil
	}
	if c.isKnown {
		c.isKnown = false
		d.known--
		if d.names[c.name]--; d.names[c.name] == 0 {
			delete(d.names, c.name)
		}
	}
}

func (d *Door) turn(c *Conn) {
	d.turned.Add(1)
	_ = c.Conn.Close() // whoever reads or writes on it learns of it there
}

// Conn is a connection with a place at the door.
type Conn struct {
	net.Conn
	door    *Door
	place   *list.Element // guarded by door.mu; nil: no stranger
	since   time.Time     // guarded by door.mu; when it came, or became a stranger again
	isKnown bool          // guarded by door.mu
	name    string        // guarded by door.mu; what it is known by
	full    error         // guarded by door.mu; why there was no place when it became known
}

// Known says that who connected has shown who it is, which may be "" where nobody
// has a name: the limit of one name is then nobody's. An error is ErrFull,
// ErrFullForName, or net.ErrClosed if the connection has lost its place before; it is
// closed, and the error stays. One that is known keeps the name it was known by first.
func (c *Conn) Known(name string) error {
	d := c.door
	d.mu.Lock()
	if c.isKnown {
		d.mu.Unlock()
		return nil
	}
	err := d.room(c, name)
	d.leave(c)
	c.full = err
	if err == nil {
		c.isKnown, c.name = true, name
		d.known++
		d.names[name]++
	}
	d.mu.Unlock()
	if err != nil {
		d.turn(c)
	}
	return err
}

// room reports whether there is a place for c, a stranger until now. The caller holds mu.
func (d *Door) room(c *Conn, name string) error {
	switch {
	case c.full != nil:
		return c.full
	case c.place == nil:
		return net.ErrClosed
	case d.known >= d.limits.Known:
		return ErrFull
	case name != "" && d.names[name] >= d.limits.KnownByName:
		return ErrFullForName
	}
	return nil
}

// Stranger takes back what Known said: c may have to give way again, after all
// who are strangers now.
func (c *Conn) Stranger() {
	c.door.mu.Lock()
	defer c.door.mu.Unlock()
	if c.isKnown {
		c.door.leave(c)
		c.place, c.since = c.door.strangers.PushBack(c), time.Now()
	}
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.door.mu.Lock()
	c.door.leave(c)
	c.door.mu.Unlock()
	return c.Conn.Close()
}
