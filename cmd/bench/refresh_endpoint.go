package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// endpointCommand starts the minimal token endpoint.
type endpointCommand struct {
	// Life of its access tokens, in seconds.
	Life int
	// Count has it look for tokens that are sent more than once.
	Count bool
}

// endpoint is a token endpoint and no more: whatever is sent, it answers a new
// pair, of the size that Atlassian's have.
type endpoint struct {
	server *http.Server
	life   int
	posts  atomic.Int64
	// delay before an answer, in nanoseconds.
	delay atomic.Int64
	// sent counts how often each refresh token came, by the hash of the request; nil: nobody asked.
	sent  *sync.Map
	twice atomic.Int64
}

const (
	tokenLife = 3 // seconds, where every call is to be a rotation
	// accessGrace that the brokers believe in. They refresh half of it ahead of a
	// token's end, which must not happen while that token is new.
	accessGrace = "2s"
)

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.Method != http.MethodPost {
		http.Error(w, "{}", http.StatusMethodNotAllowed)
		return
	}
	if e.sent != nil { // a request has nothing in it that differs but the token
		if _, again := e.sent.LoadOrStore(sha256.Sum256(body), true); again {
			e.twice.Add(1)
		}
	}
	n := e.posts.Add(1)
	time.Sleep(time.Duration(e.delay.Load()))
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"access_token":"%s%019d","refresh_token":"%s%019d","expires_in":%d,"token_type":"Bearer","scope":"%s"}`,
		accessFiller, n, refreshFiller, n, e.life, grantScopes)
}

var (
	accessFiller  = strings.Repeat("a", tokenSize-19)
	refreshFiller = strings.Repeat("r", tokenSize/2-19)
)

// handle implements handler.
func (e *endpoint) handle(q command) (reply, error) {
	switch {
	case q.Endpoint != nil:
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return reply{}, fmt.Errorf("listening: %w", err)
		}
		if e.life = q.Endpoint.Life; q.Endpoint.Count {
			e.sent = new(sync.Map)
		}
		e.server = &http.Server{Handler: e, ReadHeaderTimeout: time.Minute}
		go func() { _ = e.server.Serve(listener) }() // it ends with the process
		return reply{Addr: listener.Addr().String()}, nil
	case q.Delay != nil:
		e.delay.Store(int64(*q.Delay))
		return reply{Posts: e.posts.Load(), Twice: e.twice.Load()}, nil
	}
	return reply{}, errors.New("the token endpoint does not know this command")
}

func (e *endpoint) close() error {
	if e.server == nil {
		return nil
	}
	return e.server.Close()
}
