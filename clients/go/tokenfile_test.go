package holdfast

import (
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func TestTokenFileFollowsItsFileAndOutlivesABadOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	now := time.Unix(1e9, 0)
	f := &tokenFile{file: file, now: func() time.Time { return now }}
	if _, err := f.token(); err == nil || !strings.Contains(err.Error(), file) {
		t.Fatalf("without a file: %v", err)
	}
	for _, step := range []struct {
		name, content string
		pass          time.Duration
		want          string
	}{
		{"the first", "one\n", 0, "Bearer one"},
		{"not looked at again at once", "two", tokenFileInterval - 1, "Bearer one"},
		{"a change is seen", "two", 1, "Bearer two"},
		{"a file that is being replaced", "", tokenFileInterval, "Bearer two"},
		{"the next good one", "three", tokenFileInterval, "Bearer three"},
		{"the wall clock may go back", "four", -time.Hour, "Bearer four"},
	} {
		put(step.content)
		now = now.Add(step.pass)
		if got, err := f.token(); got != step.want || err != nil {
			t.Fatalf("%s: got %q, %v", step.name, got, err)
		}
	}
	put("two words")
	if _, err := TokenFile(file); err == nil || strings.Contains(err.Error(), "words") {
		t.Errorf("a file that holds no token: %v", err)
	}
}

func TestDialShowsTheTokenAndNoCertificate(t *testing.T) {
	dir := t.TempDir()
	cert, key := writeCert(t, dir, "server")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte("a.b.c"), 0o600); err != nil {
		t.Fatal(err)
	}
	seen := make(chan []string, 1)
	server := grpc.NewServer(
		grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{pair}})),
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			seen <- metadata.ValueFromIncomingContext(ctx, "authorization")
			return handler(ctx, req)
		}))
	holdfastv1.RegisterTokenServiceServer(server, newFakeBroker())
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	client, err := Dial(listener.Addr().String(), WithTokenFile(file, cert), WithTimeout(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	mustToken(t, client.TokenSource(t.Context(), grant), "token-1")
	if got := <-seen; len(got) != 1 || got[0] != "Bearer a.b.c" {
		t.Errorf("the broker saw %d authorization headers, or another one", len(got))
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
}
