package web

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"
)

// Limits of a request. MaxHeaderBytes is for the http.Server that mounts the
// handler; NewServer sets it. It leaves room for a code of 64 KiB, which the
// provider's size of tokens makes thinkable.
const (
	MaxHeaderBytes = 128 << 10
	maxTarget      = 96 << 10
	maxLink        = 4 << 10
	maxBody        = 1 << 10
)

// NewServer returns a server for the handler with the limits that it relies on.
// The caller sets the address and TLS, starts it and shuts it down. log gets
// the server's own complaints, at level warn.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		MaxHeaderBytes:    MaxHeaderBytes,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       15 * time.Second,
		// The callback waits for an exchange at the provider.
		WriteTimeout: 2 * time.Minute,
		IdleTimeout:  time.Minute,
		ErrorLog:     slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

type requestIDKey struct{}

func requestID(r *http.Request) string {
	id, _ := r.Context().Value(requestIDKey{}).(string)
	return id
}

// csp is the policy of every page. Only the connect page's form goes further
// than this origin; see connectPolicy.
func csp(formAction string) string {
	return "default-src 'none'; style-src 'self'; img-src 'self'; form-action " + formAction +
		"; frame-ancestors 'none'; base-uri 'none'"
}

// connectPolicy lets the connect page's form be redirected to the provider.
// Chromium holds form-action against every hop of the redirects that follow a
// form, so the provider's own hops (its sign-in host, an organisation's
// identity provider) must pass too. Nobody can list those; with a provider on
// https every https origin is allowed, on this page alone.
func (s *site) connectPolicy() string {
	if s.provider.Scheme == "https" {
		return csp("'self' " + originOf(s.provider) + " https:")
	}
	return csp("'self' " + originOf(s.provider))
}

func (s *site) securityHeaders(h http.Header) {
	h.Set("Content-Security-Policy", csp("'self'"))
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if s.https {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// outer does what every request needs: an id, headers, limits, one log line
// and an end to panics.
func (s *site) outer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		id := newRequestID()
		r = r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id))
		rec := &recorder{ResponseWriter: w}
		s.securityHeaders(w.Header())
		w.Header().Set("X-Request-Id", id)
		defer func() {
			if p := recover(); p != nil {
				s.panicked(rec, r, p)
			}
			s.logRequest(r, rec.status, time.Since(start))
		}()
		r.Body = http.MaxBytesReader(rec, r.Body, maxBody)
		if len(r.URL.RawQuery)+len(r.URL.Path) > maxTarget {
			s.problem(rec, r, problemTooLong, "")
			return
		}
		next.ServeHTTP(rec, r)
	})
}

// panicked answers with the fixed page. The panic's value stays out of the log
// as well: it may hold anything.
func (s *site) panicked(rec *recorder, r *http.Request, p any) {
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p) // net/http's own way to cut a connection
	}
	s.log.Error("a page panicked", "request_id", requestID(r), "panic_type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
	if rec.status == 0 {
		s.problem(rec, r, problemInternal, "")
	}
}

// logRequest writes the one line of a request. It has the route's pattern, not
// the path: links are capabilities, and codes and states come in queries.
func (s *site) logRequest(r *http.Request, status int, took time.Duration) {
	level := slog.LevelInfo
	if status >= http.StatusInternalServerError {
		level = slog.LevelWarn
	}
	s.log.Log(r.Context(), level, "http request", "method", knownMethod(r.Method), "route", r.Pattern,
		"status", status, "took", took, "request_id", requestID(r))
}

// knownMethod keeps a client from writing its own words into the log.
func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m
	}
	return "other"
}

func newRequestID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b[:])
}

// recorder remembers the status for the log.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap lets http.MaxBytesReader and http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
