package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
	"github.com/holdfast-io/holdfast/clients/go/internal/wall"
)

const (
	// settleFor is how long goroutines that have been told to end may take.
	settleFor = 3 * time.Second
	// shownBody bounds what is shown of an API's answer, in bytes.
	shownBody = 4096
)

// runner keeps the clients and sources by their names.
type runner struct {
	mu       sync.Mutex // guards all below
	clients  map[string]*holdfast.Client
	sources  map[string]*holdfast.TokenSource
	baseline int // goroutines before the first dial; 0: not counted yet
}

func newRunner() *runner {
	return &runner{clients: map[string]*holdfast.Client{}, sources: map[string]*holdfast.TokenSource{}}
}

func (r *runner) do(q *request) *answer {
	began := time.Now()
	a := r.op(q)
	a.ElapsedMS = time.Since(began).Milliseconds()
	return a
}

func (r *runner) op(q *request) *answer {
	switch q.Op {
	case "dial":
		return r.dial(q)
	case "source":
		return r.source(q)
	case "token":
		return r.token(q)
	case "http":
		return r.http(q)
	case "close":
		return r.close(q)
	case "clock":
		wall.Shift(ms(q.SkewMS))
		return &answer{}
	}
	return &answer{Error: &errorShown{Reason: "UNSUPPORTED", Message: "no such operation: " + q.Op}}
}

func (r *runner) dial(q *request) *answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.baseline == 0 {
		r.baseline = runtime.NumGoroutine()
	}
	options := []holdfast.DialOption{holdfast.WithTimeout(ms(q.TimeoutMS))}
	if q.Cert != "" {
		options = append(options, holdfast.WithTLSFiles(q.Cert, q.Key, q.CA))
	}
	if q.TokenFile != "" {
		options = append(options, holdfast.WithTokenFile(q.TokenFile, q.CA))
	}
	if q.Plaintext {
		options = append(options, holdfast.WithPlaintext())
	}
	c, err := holdfast.Dial(q.Target, options...)
	if err != nil {
		return &answer{Error: &errorShown{Reason: "CONFIG", Message: err.Error()}}
	}
	r.clients[q.Client] = c
	return &answer{}
}

func (r *runner) source(q *request) *answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.clients[q.Client]
	if c == nil {
		return bug("no client is called " + q.Client)
	}
	var options []holdfast.SourceOption
	if q.Site != "" {
		options = append(options, holdfast.Site(q.Site))
	}
	if len(q.Scopes) > 0 {
		options = append(options, holdfast.Scopes(q.Scopes...))
	}
	if q.Purpose != "" {
		options = append(options, holdfast.Purpose(q.Purpose))
	}
	if q.MinTTLMS > 0 {
		options = append(options, holdfast.MinTTL(ms(q.MinTTLMS)))
	}
	if q.Watch {
		options = append(options, holdfast.Watch())
	}
	r.sources[q.Source] = c.TokenSource(context.Background(), q.Grant, options...)
	return &answer{}
}

// token asks as often as wanted, all calls at once.
func (r *runner) token(q *request) *answer {
	s := r.named(q.Source)
	if s == nil {
		return bug("no source is called " + q.Source)
	}
	n := max(q.Count, 1)
	tokens, errs := make([]*oauth2.Token, n), make([]error, n)
	start := make(chan struct{})
	var calls sync.WaitGroup
	for i := range n {
		calls.Go(func() {
			<-start
			ctx, cancel := deadline(q)
			defer cancel()
			tokens[i], errs[i] = s.TokenContext(ctx)
		})
	}
	close(start)
	calls.Wait()
	return summary(tokens, errs)
}

func summary(tokens []*oauth2.Token, errs []error) *answer {
	a := &answer{}
	distinct := map[string]bool{}
	for i, t := range tokens {
		if errs[i] != nil {
			if a.Failed++; a.Error == nil {
				a.Error = shown(errs[i])
			}
			continue
		}
		distinct[t.AccessToken] = true
		generation, _ := t.Extra("generation").(uint64)
		base, _ := t.Extra("api_base_url").(string)
		if a.Token == nil || generation > a.Token.Generation {
			a.Token = &tokenMade{t.AccessToken, generation, base}
		}
	}
	a.Distinct = len(distinct)
	if a.Error != nil {
		a.Token = nil
	}
	return a
}

// once is a body that can be read only once.
type once struct{ io.Reader }

func (r *runner) http(q *request) *answer {
	s := r.named(q.Source)
	if s == nil {
		return bug("no source is called " + q.Source)
	}
	var body io.Reader
	if q.Body != "" {
		if body = strings.NewReader(q.Body); !q.Repeatable {
			body = once{body}
		}
	}
	ctx, cancel := deadline(q)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, q.Method, q.URL, body)
	if err != nil {
		return bug(err.Error())
	}
	base := http.DefaultTransport.(*http.Transport).Clone()
	defer base.CloseIdleConnections()
	api := &http.Client{Transport: &holdfast.Transport{Source: s, Base: base, Origins: q.Origins, Relative: true}}
	resp, err := api.Do(req)
	if err != nil {
		return failed(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, shownBody))
	if err != nil {
		return failed(err)
	}
	return &answer{Status: resp.StatusCode, Body: string(text)}
}

// failed is the answer to an HTTP request that has none.
func failed(err error) *answer {
	e := shown(err)
	if e.Reason == "BUG" {
		e.Reason = "IO"
		if errors.Is(err, holdfast.ErrOrigin) {
			e.Reason = "REFUSED_ORIGIN"
		}
	}
	return &answer{Error: e}
}

func (r *runner) close(q *request) *answer {
	r.mu.Lock()
	c := r.clients[q.Client]
	baseline := r.baseline
	r.mu.Unlock()
	if c == nil {
		return bug("no client is called " + q.Client)
	}
	if err := c.Close(); err != nil {
		return bug(err.Error())
	}
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(settleFor); runtime.NumGoroutine() > baseline && time.Now().Before(end); {
		<-look.C
	}
	return &answer{Leaked: max(0, runtime.NumGoroutine()-baseline)}
}

// closeAll closes all clients, so that no call outlives the input.
func (r *runner) closeAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, c := range r.clients {
		errs = append(errs, c.Close())
	}
	if err := errors.Join(errs...); err != nil {
		panic(fmt.Sprint("closing the clients: ", err))
	}
}

func (r *runner) named(source string) *holdfast.TokenSource {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sources[source]
}

func deadline(q *request) (context.Context, context.CancelFunc) {
	if q.DeadlineMS > 0 {
		return context.WithTimeout(context.Background(), ms(q.DeadlineMS))
	}
	return context.WithCancel(context.Background())
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func bug(message string) *answer {
	return &answer{Error: &errorShown{Reason: "BUG", Message: message}}
}
