package atlassiansim

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestServeEndsWithItsContextAndReleasesWhoHangs(t *testing.T) {
	cfg := testConfig()
	cfg.Faults = []Fault{{Kind: FaultHang}}
	sim, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, ln, sim, log) }()

	client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	b := &bench{t, sim, "http://" + ln.Addr().String(), client}
	if r := b.request(http.MethodGet, "/", "", ""); r.status != http.StatusOK {
		t.Fatalf("the index answers %d, error %v", r.status, r.err)
	}
	hung := make(chan reply, 1)
	go func() { hung <- b.refresh("unknown-refresh-token") }()
	b.until(func(l Ledger) bool { return len(l.Strays) == 1 })
	cancel()
	if r := <-hung; r.err == nil {
		t.Errorf("who hangs got %d", r.status)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
	if s := logged.String(); !strings.Contains(s, "path=/oauth/token") || strings.Contains(s, "unknown-refresh-token") {
		t.Errorf("the log says: %s", s)
	}
}

func TestServeReportsABrokenListener(t *testing.T) {
	sim, err := New(testConfig())
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := Serve(t.Context(), ln, sim, slog.New(slog.DiscardHandler)); err == nil {
		t.Fatal("no error")
	}
}
