package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// endpointCommand starts the minimal token endpoint.
type endpointCommand struct{}

// endpoint is a token endpoint and no more: whatever is sent, it answers a new
// pair, of the size that Atlassian's have, whose access token lives some seconds.
type endpoint struct {
	server *http.Server
	posts  atomic.Int64
	// delay before an answer, in nanoseconds.
	delay atomic.Int64
}

const (
	tokenLife = 3 // seconds
	// accessGrace that the brokers believe in. They refresh half of it ahead of a
	// token's end, which must not happen while that token is new.
	accessGrace = "2s"
)

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, err := io.Copy(io.Discard, r.Body); err != nil || r.Method != http.MethodPost {
		http.Error(w, "{}", http.StatusMethodNotAllowed)
		return
	}
	n := e.posts.Add(1)
	time.Sleep(time.Duration(e.delay.Load()))
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"access_token":"%s%019d","refresh_token":"%s%019d","expires_in":%d,"token_type":"Bearer","scope":"%s"}`,
		accessFiller, n, refreshFiller, n, tokenLife, grantScopes)
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
		e.server = &http.Server{Handler: e, ReadHeaderTimeout: time.Minute}
		go func() { _ = e.server.Serve(listener) }() // it ends with the process
		return reply{Addr: listener.Addr().String()}, nil
	case q.Delay != nil:
		e.delay.Store(int64(*q.Delay))
		return reply{Posts: e.posts.Load()}, nil
	}
	return reply{}, errors.New("the token endpoint does not know this command")
}

func (e *endpoint) close() error {
	if e.server == nil {
		return nil
	}
	return e.server.Close()
}
