package atlassiansim

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// TestVirtualTime: under synctest the clock, the leeway and the delays of
// faults pass without waiting.
func TestVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.Now = nil
		sim, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		pipe := NewPipe()
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- Serve(ctx, pipe, sim, slog.New(slog.DiscardHandler)) }()
		client := &http.Client{
			Transport:     &http.Transport{DialContext: pipe.DialContext},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		b := &bench{t, sim, "http://simulator.invalid", client}

		p := b.consent()
		b.arm(Fault{Kind: FaultDelayAnswer, DelayMillis: 15 * 60 * 1000, Count: 1})
		began := time.Now()
		next := b.refresh(p.Refresh).pair(t)
		if took := time.Since(began); took != 15*time.Minute {
			t.Errorf("the answer took %v of virtual time", took)
		}
		b.arm(Fault{Kind: FaultHang, Count: 1})
		client.Timeout = 30 * time.Second
		if r := b.refresh(next.Refresh); r.err == nil {
			t.Errorf("who hangs got %d", r.status)
		}
		synctest.Wait()
		<-time.After(9 * time.Minute)
		b.refresh(next.Refresh).pair(t)
		<-time.After(time.Minute)
		wantRefused(t, b.refresh(next.Refresh))

		cancel()
		client.CloseIdleConnections()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if _, err := pipe.DialContext(t.Context(), "", ""); !errors.Is(err, net.ErrClosed) {
			t.Errorf("dialling a closed pipe: %v", err)
		}
	})
}

// TestServeEndsAtOnceWhoeverHangs: a client that would wait for a quarter of
// an hour does not use up the grace of the shutdown.
func TestServeEndsAtOnceWhoeverHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testConfig()
		cfg.Faults = []Fault{{Kind: FaultHang}}
		sim, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		pipe := NewPipe()
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- Serve(ctx, pipe, sim, slog.New(slog.DiscardHandler)) }()
		b := &bench{t, sim, "http://simulator.invalid", &http.Client{Transport: &http.Transport{DialContext: pipe.DialContext}}}
		hung := make(chan reply, 1)
		go func() { hung <- b.refresh("unknown") }()
		synctest.Wait()
		began := time.Now()
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took >= shutdownGrace {
			t.Errorf("ending took %v", took)
		}
		if r := <-hung; r.err == nil {
			t.Errorf("who hangs got %d", r.status)
		}
	})
}
