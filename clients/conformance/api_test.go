package conformance

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// apiServer stands for a product's API, or for anybody else's server. It
// accepts any token, or none: it answers what the scenario says.
type apiServer struct {
	*httptest.Server

	mu        sync.Mutex // guards all below
	answers   []int
	redirects map[string]string // from a path
	rejects   bool
	rejected  [32]byte // the token that rejects is about
	requests  int
	bare      int
	bodies    int
	tokens    map[[32]byte]bool
}

func newAPIServer() *apiServer {
	a := &apiServer{tokens: map[[32]byte]bool{}}
	a.Server = httptest.NewServer(a)
	return a
}

// ServeHTTP implements http.Handler.
func (a *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // what did not come is not counted
	a.mu.Lock()
	a.requests++
	if len(body) > 0 {
		a.bodies++
	}
	if token := r.Header.Get("Authorization"); token == "" {
		a.bare++
	} else {
		a.tokens[sha256.Sum256([]byte(token))] = true
	}
	location := a.redirects[r.URL.Path]
	status := http.StatusFound
	if location == "" {
		status = a.status(r)
	}
	a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if location != "" {
		w.Header().Set("Location", location)
	}
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"status":%d}`, status) // the client may be gone
}

// status of the answer to r. The caller holds mu.
func (a *apiServer) status(r *http.Request) int {
	if a.rejects {
		sum := sha256.Sum256([]byte(r.Header.Get("Authorization")))
		if a.rejected == ([32]byte{}) {
			a.rejected = sum
		}
		if a.rejected == sum {
			return http.StatusUnauthorized
		}
	}
	status := http.StatusOK
	if len(a.answers) > 0 {
		status = a.answers[0]
	}
	if len(a.answers) > 1 {
		a.answers = a.answers[1:]
	}
	return status
}

func (a *apiServer) play(s *apiStep, w *world) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers, a.rejects, a.redirects = s.Answers, s.Rejects, map[string]string{}
	for from, to := range s.Redirects {
		a.redirects[from] = w.url(to)
	}
}

// judge reports what it saw otherwise than expected.
func (a *apiServer) judge(want seen) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var wrong []string
	for _, c := range []struct {
		what string
		want *span
		got  int
	}{
		{"requests", want.Requests, a.requests}, {"requests without a token", want.Bare, a.bare},
		{"requests with a body", want.Bodies, a.bodies}, {"different tokens", want.Tokens, len(a.tokens)},
	} {
		if !c.want.has(c.got) {
			wrong = append(wrong, fmt.Sprintf("%d %s, want %v", c.got, c.what, c.want))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("it saw %s", strings.Join(wrong, "; "))
	}
	return nil
}
