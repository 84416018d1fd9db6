package faultproxy

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// dialTimeout of the target: a proxy whose target is dead refuses, as it would.
const dialTimeout = 5 * time.Second

// Proxy listens on loopback and passes connections on. It is safe for concurrent use.
type Proxy struct {
	listener net.Listener
	running  sync.WaitGroup
	end      context.CancelFunc

	mu     sync.Mutex // guards what follows
	target string
	fault  Fault
	// changed is closed when fault is another.
	changed chan struct{}
	links   map[*link]struct{}
	closed  bool

	counts counts
}

type counts struct{ opened, reset, swallowed, held atomic.Int64 }

// Counts are what a proxy has done so far.
type Counts struct {
	// Opened connections, and those Reset because of a fault.
	Opened, Reset int64
	// Swallowed pieces of bytes, and those Held back for a while.
	Swallowed, Held int64
}

// Listen starts a proxy to the target on a free loopback port. The caller closes it.
func Listen(target string) (*Proxy, error) { return ListenOn("127.0.0.1:0", target) }

// ListenOn is Listen on that address.
func ListenOn(address, target string) (*Proxy, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listening for a proxy: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Proxy{listener: l, end: cancel, target: target, changed: make(chan struct{}), links: map[*link]struct{}{}}
	p.running.Go(func() { p.accept(ctx) })
	return p, nil
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Retarget sends new connections to another address. Those that are open stay.
func (p *Proxy) Retarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Set lets a fault begin in place of the one before, None ends it. It holds for open
// connections and for new ones. Connections that lost bytes before are reset.
func (p *Proxy) Set(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
	close(p.changed)
	p.changed = make(chan struct{})
	for l := range p.links {
		if f.Cut || l.maimed.Load() {
			l.reset()
		}
	}
}

// Fault is the one that holds now.
func (p *Proxy) Fault() Fault {
	f, _ := p.now()
	return f
}

// Counts returns what the proxy has done so far.
func (p *Proxy) Counts() Counts {
	return Counts{p.counts.opened.Load(), p.counts.reset.Load(), p.counts.swallowed.Load(), p.counts.held.Load()}
}

// Close ends the proxy and all its connections, and waits for that.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	_ = p.listener.Close()
	p.end()
	for l := range p.links {
		l.close()
	}
	p.mu.Unlock()
	p.running.Wait()
}

// now returns the fault and what tells that it is another.
func (p *Proxy) now() (Fault, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fault, p.changed
}

func (p *Proxy) accept(ctx context.Context) {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.running.Go(func() { p.connect(ctx, c.(*net.TCPConn)) })
	}
}

// connect opens the other half of a connection and passes bytes until its end.
func (p *Proxy) connect(ctx context.Context, near *net.TCPConn) {
	p.mu.Lock()
	fault, target := p.fault, p.target
	p.mu.Unlock()
	if fault.Cut {
		p.counts.reset.Add(1)
		abort(near)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	far, err := new(net.Dialer).DialContext(ctx, "tcp", target)
	if err != nil {
		abort(near)
		return
	}
	l := &link{p: p, near: near, far: far.(*net.TCPConn), done: make(chan struct{})}
	if !p.add(l) {
		l.close()
		return
	}
	defer p.remove(l)
	var both sync.WaitGroup
	both.Go(func() { l.pump(l.far, l.near, func(f Fault) Way { return f.Up }) })
	both.Go(func() { l.pump(l.near, l.far, func(f Fault) Way { return f.Down }) })
	both.Wait()
}

// add takes a link in, unless the proxy was closed or cut meanwhile.
func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.fault.Cut {
		return false
	}
	p.links[l] = struct{}{}
	p.counts.opened.Add(1)
	return true
}

func (p *Proxy) remove(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// abort closes a connection by a reset.
func abort(c *net.TCPConn) {
	_ = c.SetLinger(0) // a connection that has ended needs no reset
	_ = c.Close()
}
