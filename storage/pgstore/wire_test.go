package pgstore_test

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// wire stands between a store and its server. It passes on what the store sends in
// one go, counts what names a record, and does with the next of those what it is told.
type wire struct {
	t        *testing.T
	target   string
	listener net.Listener
	running  sync.WaitGroup
	done     chan struct{}

	mu    sync.Mutex // guards what follows
	conns []net.Conn
	trips map[string]int
	hold  map[string]*held
}

// held is what happens to the next trip that names a record.
type held struct {
	// deaf: it arrives at once, and its answer is lost.
	deaf bool
	// met is closed when it was sent; release then lets it arrive, or cuts its connection if it is deaf.
	met, release chan struct{}
}

// newWire starts one and returns the connection string that leads over it.
func newWire(t *testing.T, dsn string, ids ...string) (*wire, string) {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, target: u.Host, listener: l, done: make(chan struct{}), trips: map[string]int{}, hold: map[string]*held{}}
	for _, id := range ids {
		w.trips[id] = 0
	}
	w.running.Go(w.accept)
	t.Cleanup(func() {
		close(w.done)
		_ = l.Close()
		w.mu.Lock()
		for _, c := range w.conns {
			_ = c.Close()
		}
		w.mu.Unlock()
		w.running.Wait()
	})
	u.Host = l.Addr().String()
	return w, u.String()
}

// next says what becomes of the next trip that names the record.
func (w *wire) next(id string, deaf bool) *held {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := &held{deaf: deaf, met: make(chan struct{}), release: make(chan struct{})}
	w.hold[id] = h
	return h
}

// taken returns how many trips have named the record since it was asked last.
func (w *wire) taken(id string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.trips[id]
	w.trips[id] = 0
	return n
}

func (w *wire) accept() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return // the test ends
		}
		far, err := net.Dial("tcp", w.target)
		if err != nil {
			_ = near.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, near, far)
		w.mu.Unlock()
		l := &link{wire: w, near: near, far: far}
		w.running.Go(l.up)
		w.running.Go(l.down)
	}
}

// link is one connection over the wire.
type link struct {
	*wire
	near, far net.Conn
	mu        sync.Mutex // guards deaf
	deaf      bool
}

// down passes the answers on.
func (l *link) down() {
	defer func() { _ = l.near.Close() }()
	b := make([]byte, 64<<10)
	for {
		n, err := l.far.Read(b)
		l.mu.Lock()
		deaf := l.deaf
		l.mu.Unlock()
		if err == nil && !deaf {
			_, err = l.near.Write(b[:n])
		}
		if err != nil {
			return
		}
	}
}

// up passes on what is sent, up to each Sync at once.
func (l *link) up() {
	defer func() { _ = l.far.Close() }()
	b := pgproto3.NewBackend(l.near, io.Discard)
	m, err := b.ReceiveStartupMessage()
	for trip, names := []byte(nil), []string(nil); err == nil; m, err = b.Receive() {
		if trip, err = m.Encode(trip); err != nil {
			l.t.Error(err)
			return
		}
		switch m := m.(type) {
		case *pgproto3.Bind:
			names = append(names, l.named(m)...)
			continue
		case *pgproto3.Parse, *pgproto3.Describe, *pgproto3.Execute, *pgproto3.Close:
			continue
		}
		if !l.pass(trip, names) {
			return
		}
		trip, names = nil, nil
	}
}

// named are the records that a statement names; a notification names none.
func (l *link) named(m *pgproto3.Bind) (ids []string) {
	l.wire.mu.Lock()
	defer l.wire.mu.Unlock()
	for id := range l.trips {
		for _, p := range m.Parameters {
			if !bytes.HasPrefix(p, []byte("{")) && bytes.Contains(p, []byte(id)) {
				ids = append(ids, id)
				break
			}
		}
	}
	return ids
}

func (l *link) pass(trip []byte, names []string) bool {
	var h *held
	l.wire.mu.Lock()
	counted := map[string]bool{}
	for _, id := range names {
		if !counted[id] {
			counted[id] = true
			l.trips[id]++
		}
		if l.hold[id] != nil {
			h = l.hold[id]
			delete(l.hold, id)
		}
	}
	l.wire.mu.Unlock()
	if h != nil {
		close(h.met)
		if !h.deaf {
			select {
			case <-h.release:
			case <-l.done:
				return false
			}
		}
		l.mu.Lock()
		l.deaf = h.deaf
		l.mu.Unlock()
	}
	if _, err := l.far.Write(trip); err != nil {
		return false
	}
	if h == nil || !h.deaf {
		return true
	}
	select {
	case <-h.release:
	case <-l.done:
	}
	return false
}
