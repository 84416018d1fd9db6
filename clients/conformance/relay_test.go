package conformance

import (
	"context"
	"net"
	"sync"
	"time"
)

// relay is the network between the runner and the broker. It passes bytes, and
// knows nothing of what they mean.
type relay struct {
	listener net.Listener
	running  sync.WaitGroup

	mu       sync.Mutex // guards all below
	to       string     // host:port
	state    string     // open, gone or silent
	delay    time.Duration
	changed  chan struct{}         // closed at the next change of state
	conns    map[*net.TCPConn]bool // true: it is dead, nothing passes any more
	accepted int
	closed   bool
}

func newRelay() (*relay, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{listener: l, state: "open", changed: make(chan struct{}), conns: map[*net.TCPConn]bool{}}
	r.running.Go(r.accept)
	return r, nil
}

func (r *relay) addr() string { return r.listener.Addr().String() }

// set changes the network. From gone on nothing that was connected lives.
func (r *relay) set(s networkStep) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.State != "" {
		r.state = s.State
		r.delay = s.Delay
	} else if s.Delay != 0 {
		r.delay = s.Delay
	}
	if r.state == "dead" {
		r.state = "open" // for what is connected from now on
		for c := range r.conns {
			r.conns[c] = true
		}
	}
	close(r.changed)
	r.changed = make(chan struct{})
	if s.Cut || r.state == "gone" {
		r.cut()
	}
}

// cut resets all connections. The caller holds mu.
func (r *relay) cut() {
	for c := range r.conns {
		_ = c.SetLinger(0) // best effort: an ordinary end will do as well
		_ = c.Close()
	}
	clear(r.conns)
}

func (r *relay) target(to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to = to
}

func (r *relay) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.accepted
}

func (r *relay) close() {
	r.mu.Lock()
	r.closed = true
	_ = r.listener.Close()
	r.cut()
	close(r.changed)
	r.changed = make(chan struct{})
	r.mu.Unlock()
	r.running.Wait()
}

func (r *relay) accept() {
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		r.running.Go(func() { r.serve(c.(*net.TCPConn)) })
	}
}

// keep notes a connection; false: it must not live.
func (r *relay) keep(c *net.TCPConn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.state == "gone" {
		_ = c.SetLinger(0)
		_ = c.Close()
		return false
	}
	r.conns[c] = false
	return true
}

func (r *relay) serve(down *net.TCPConn) {
	r.mu.Lock()
	r.accepted++
	to := r.to
	r.mu.Unlock()
	if !r.keep(down) {
		return
	}
	raw, err := new(net.Dialer).Dial("tcp", to)
	if err != nil {
		_ = down.SetLinger(0)
		_ = down.Close()
		return
	}
	up := raw.(*net.TCPConn)
	if !r.keep(up) {
		_ = down.Close()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { r.pass(down, up) })
	both.Go(func() { r.pass(up, down) })
	both.Wait()
	r.mu.Lock()
	delete(r.conns, down)
	delete(r.conns, up)
	r.mu.Unlock()
}

type chunk struct {
	data []byte
	read time.Time
}

// pass copies one direction until either end is closed.
func (r *relay) pass(from, to *net.TCPConn) {
	chunks := make(chan chunk, 256)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c := range chunks {
			r.hold(to, c.read)
			if _, err := to.Write(c.data); err != nil {
				_ = from.Close() // nobody wants more of it
			}
		}
		_ = to.Close()
	}()
	for {
		b := make([]byte, 16<<10)
		n, err := from.Read(b)
		if n > 0 {
			chunks <- chunk{b[:n], time.Now()}
		}
		if err != nil {
			break
		}
	}
	close(chunks)
	<-done
}

// hold waits until something read at that time may pass to a connection.
func (r *relay) hold(to *net.TCPConn, read time.Time) {
	for {
		r.mu.Lock()
		wait := time.Until(read.Add(r.delay))
		silent, changed, closed := r.state == "silent" || r.conns[to], r.changed, r.closed
		r.mu.Unlock()
		if closed || !silent && wait <= 0 {
			return
		}
		if silent {
			<-changed
			continue
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
		}
		timer.Stop()
	}
}
