package rig

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// Mishap is what a relay does to one exchange.
type Mishap int

// The mishaps.
const (
	// None: the exchange passes.
	None Mishap = iota
	// AnswerLost: the provider answers, and nobody hears it.
	AnswerLost
	// RequestLost: the request was written, and the provider never gets it.
	RequestLost
)

// Relay stands between the broker and its provider. It reads whole requests and
// answers, so that a mishap hits exactly one exchange.
type Relay struct {
	// URL of the relay, like the provider's without a path.
	URL string

	to       string
	mu       sync.Mutex // guards what follows
	listener net.Listener
	planned  []Mishap
	conns    map[net.Conn]struct{}
	lost     int
	next     chan struct{} // closed when the next exchange begins
	running  sync.WaitGroup
}

// NewRelay relays to that address until the test ends.
func NewRelay(t testing.TB, to string) *Relay {
	t.Helper()
	address := FreeAddress(t)
	r := &Relay{URL: "http://" + address, to: to, conns: map[net.Conn]struct{}{}, next: make(chan struct{})}
	r.Up(t)
	t.Cleanup(func() {
		r.Down()
		r.running.Wait()
	})
	return r
}

// Up accepts connections, as it does from the beginning.
func (r *Relay) Up(t testing.TB) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", strings.TrimPrefix(r.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	r.mu.Lock()
	r.listener = l
	r.mu.Unlock()
	r.running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // closed
			}
			r.running.Go(func() { r.serve(c) })
		}
	})
}

// Down closes every connection and refuses new ones, until Up: nobody can write a byte.
func (r *Relay) Down() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.listener.Close()
	for c := range r.conns {
		_ = c.Close()
	}
}

// Plan lets these happen to the next exchanges, in turn.
func (r *Relay) Plan(m ...Mishap) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.planned = append(r.planned, m...)
}

// Lost counts the exchanges that a mishap hit.
func (r *Relay) Lost() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}

// Next is closed when the next exchange has been asked for.
func (r *Relay) Next() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.next
}

// take takes the next planned mishap.
func (r *Relay) take() Mishap {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.next)
	r.next = make(chan struct{})
	if len(r.planned) == 0 {
		return None
	}
	m := r.planned[0]
	r.planned = r.planned[1:]
	r.lost++
	return m
}

func (r *Relay) serve(c net.Conn) {
	defer func() { _ = c.Close() }()
	r.mu.Lock()
	r.conns[c] = struct{}{}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.conns, c)
		r.mu.Unlock()
	}()
	from := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(from)
		if err != nil || !r.exchange(c, req) {
			return
		}
	}
}

// exchange passes one request and its answer; false: the connection is to be closed.
func (r *Relay) exchange(c net.Conn, req *http.Request) bool {
	mishap := r.take()
	if mishap == RequestLost {
		_, _ = io.Copy(io.Discard, req.Body) // it was written, to the last byte
		return false
	}
	up, err := net.Dial("tcp", r.to)
	if err != nil {
		return false
	}
	defer func() { _ = up.Close() }()
	if req.Write(up) != nil {
		return false
	}
	answer, err := http.ReadResponse(bufio.NewReader(up), req)
	if err != nil {
		return false
	}
	defer func() { _ = answer.Body.Close() }()
	if mishap == AnswerLost {
		_, _ = io.Copy(io.Discard, answer.Body) // the provider has said it all
		return false
	}
	return answer.Write(c) == nil
}
