package holdfast

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

// ending is a broker that refuses whoever shows a certificate of a name, from when that has ended.
type ending struct {
	name  string
	ended atomic.Bool
	why   error
	// certificate of the broker.
	certificate tls.Certificate
	// watched gets the name of who opens a stream.
	watched chan string
}

func (e *ending) judge(ctx context.Context) (string, error) {
	p, _ := peer.FromContext(ctx)
	info, _ := p.AuthInfo.(credentials.TLSInfo)
	name := info.State.PeerCertificates[0].Subject.CommonName
	if name == e.name && e.ended.Load() {
		return name, e.why
	}
	return name, nil
}

func (e *ending) options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.UnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if _, err := e.judge(ctx); err != nil {
				return nil, err
			}
			return next(ctx, req)
		}),
		grpc.StreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			name, err := e.judge(stream.Context())
			e.watched <- name
			if err != nil {
				return err
			}
			return next(srv, stream)
		}),
	}
}

// startEnding starts such a broker, of one replica or several, and a client that calls them by turns, and
// returns what renews the client's certificate.
func startEnding(t *testing.T, replicas int) (broker *ending, client *Client, renew func()) {
	t.Helper()
	dir := t.TempDir()
	serverCert, serverKey := writeCert(t, dir, "server")
	cert, key := writeCert(t, dir, "caller")
	newCert, newKey := writeCert(t, dir, "renewed")
	old, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	renewed, err := os.ReadFile(newCert)
	if err != nil {
		t.Fatal(err)
	}
	callers := filepath.Join(dir, "callers.crt")
	if err := os.WriteFile(callers, slices.Concat(old, renewed), 0o600); err != nil {
		t.Fatal(err)
	}
	broker = &ending{name: "caller", why: refusal(t, codes.Unauthenticated, CallerUnauthenticated, 0, nil), watched: make(chan string, 10)}
	if broker.certificate, err = tls.LoadX509KeyPair(serverCert, serverKey); err != nil {
		t.Fatal(err)
	}
	names := manual.NewBuilderWithScheme("replicas")
	var state resolver.State
	for range replicas {
		addr, stop := startTLS(t, "127.0.0.1:0", serverCert, serverKey, callers, broker.options()...)
		t.Cleanup(stop)
		state.Endpoints = append(state.Endpoints, resolver.Endpoint{Addresses: []resolver.Address{{Addr: addr}}})
	}
	names.InitialState(state)
	client, err = Dial("replicas:///127.0.0.1", WithTLSFiles(cert, key, serverCert), WithTimeout(10*time.Second), WithGRPC(
		grpc.WithResolvers(names), grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return broker, client, func() {
		for from, to := range map[string]string{newKey: key, newCert: cert} {
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// standing is how many connections stand.
func (f *tlsFiles) standing() int {
	f.shown.mu.Lock()
	defer f.shown.mu.Unlock()
	return len(f.shown.conns)
}

func TestAConnectionDoesNotOutliveTheCertificateThatItShowed(t *testing.T) {
	broker, client, renew := startEnding(t, 1)
	mustToken(t, client.TokenSource(t.Context(), grant), "token-1")
	broker.ended.Store(true)
	_, err := client.TokenSource(t.Context(), grant).Token()
	if e, ok := errors.AsType[*Error](err); !ok || e.Reason != CallerUnauthenticated {
		t.Fatalf("got %v, want CALLER_UNAUTHENTICATED: there is no other certificate yet", err)
	}
	renew()
	// Many calls are under way when the first of them finds out: nobody gets an error.
	var all sync.WaitGroup
	for range 50 {
		source := client.TokenSource(t.Context(), grant)
		all.Go(func() {
			if _, err := source.Token(); err != nil {
				t.Errorf("with a renewed certificate: %v", err)
			}
		})
	}
	all.Wait()
	if turns := client.files.turn(); turns != 1 {
		t.Errorf("%d connections were ended, want the one", turns)
	}
}

func TestNoConnectionOutlivesTheCertificateThatItShowed(t *testing.T) {
	const replicas = 3
	broker, client, renew := startEnding(t, replicas)
	waitConns := func() {
		t.Helper()
		for range 1000 {
			if client.files.standing() == replicas {
				return
			}
			mustToken(t, client.TokenSource(t.Context(), grant), "token-1")
		}
		t.Fatalf("%d connections stand, want one for each replica", client.files.standing())
	}
	waitConns()
	broker.ended.Store(true)
	renew()
	for range 5 * replicas {
		mustToken(t, client.TokenSource(t.Context(), grant), "token-1")
	}
	waitConns()
}

// Of two addresses that are tried at once, the connection that is too late is made, and closed.
func TestAConnectionThatWasNeverUsedDoesNotHideTheOneThatIs(t *testing.T) {
	broker, client, renew := startEnding(t, 1)
	mustToken(t, client.TokenSource(t.Context(), grant), "token-1")
	near, far := net.Pipe()
	go func() {
		_ = tls.Server(far, &tls.Config{Certificates: []tls.Certificate{broker.certificate}, NextProtos: []string{"h2"}}).Handshake()
		_ = far.Close()
	}()
	late, _, err := client.files.ClientHandshake(t.Context(), "127.0.0.1", near)
	if err != nil {
		t.Fatal(err)
	}
	_ = late.Close()
	broker.ended.Store(true)
	renew()
	mustToken(t, client.TokenSource(t.Context(), grant), "token-1")
}

func TestAStreamComesBackWithTheCertificateOfNow(t *testing.T) {
	broker, client, renew := startEnding(t, 1)
	broker.ended.Store(true)
	renewed := client.TokenSource(t.Context(), grant, Watch())
	if _, err := renewed.Token(); err == nil {
		t.Fatal("a certificate that has ended was taken")
	}
	if got := <-broker.watched; got != "caller" {
		t.Fatalf("the stream showed %q, want the certificate that has ended", got)
	}
	renew()
	for got := ""; got != "renewed"; {
		select {
		case got = <-broker.watched:
		case <-time.After(20 * time.Second):
			t.Fatal("no stream shows the renewed certificate")
		}
	}
}
