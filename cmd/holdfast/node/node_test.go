package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/cmd/holdfast/devca"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/storage/seal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const fileText = `environment: test
public_url: https://localhost
store: {dir: store}
keys: {kek_file: kek}
grpc: {listen: "127.0.0.1:0"}
http: {listen: "127.0.0.1:0"}
metrics: {listen: "127.0.0.1:0"}
tls: {cert_file: server.crt, key_file: server.key, client_ca_file: ca.crt}
apps:
  - id: jira
    products: [jira]
    client_id: a
    client_secret_files: [secret]
    scopes: {jira: ["read:jira-work"]}
callers:
  - {name: dev, admin: true}
audit: {file: audit.log}
`

// prepared returns a configuration whose files are all there.
func prepared(t testing.TB) (dir string, c *config.Config) {
	t.Helper()
	dir = t.TempDir()
	_, kek := seal.CreateFile(filepath.Join(dir, "kek"))
	err := errors.Join(kek, devca.Ensure(dir, "dev", time.Now()), os.WriteFile(filepath.Join(dir, "secret"), []byte("s"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	c, _, err = config.Parse(filepath.Join(dir, "holdfast.yaml"), []byte(fileText))
	if err != nil {
		t.Fatal(err)
	}
	return dir, c
}

func options(c *config.Config) Options {
	return Options{Config: c, Version: "test", Log: slog.New(slog.DiscardHandler)}
}

// running starts a node that ends, orderly, with the test.
func running(t testing.TB, c *config.Config) *Node {
	t.Helper()
	n, err := Start(t.Context(), options(c))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		if err := n.Wait(ctx); err != nil {
			t.Errorf("an orderly end: %v", err)
		}
	})
	return n
}

// dial connects with the certificates of dir; without a name, with none.
func dial(t testing.TB, n *Node, roots, dir string) *grpc.ClientConn {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(roots, devca.CACert))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	c := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
	if dir != "" {
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, devca.ClientCert), filepath.Join(dir, devca.ClientKey))
		if err != nil {
			t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	conn, err := grpc.NewClient(n.GRPCAddr().String(), grpc.WithTransportCredentials(credentials.NewTLS(c)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func TestOnlyConfiguredCertificatesGetIn(t *testing.T) {
	dir, c := prepared(t)
	n := running(t, c)
	foreign := t.TempDir()
	if err := devca.Ensure(foreign, "dev", time.Now()); err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		name, certs string
		want        codes.Code
	}{
		{"the configured caller", dir, codes.OK},
		{"no certificate", "", codes.Unavailable}, // turned away in the handshake
		{"the configured name of another CA", foreign, codes.Unavailable},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, err := holdfastv1.NewAdminServiceClient(dial(t, n, dir, row.certs)).GetStatus(t.Context(), &holdfastv1.GetStatusRequest{})
			if status.Code(err) != row.want {
				t.Fatalf("got %v, want %v", err, row.want)
			}
		})
	}
}

func TestACallerThatNobodyListedIsRefused(t *testing.T) {
	dir, c := prepared(t)
	c.Callers[0].Name = "somebody else"
	n := running(t, c)
	_, err := holdfastv1.NewAdminServiceClient(dial(t, n, dir, dir)).GetStatus(t.Context(), &holdfastv1.GetStatusRequest{})
	if status.Code(err) != codes.PermissionDenied {
		t.Fatalf("got %v", err)
	}
}

// browser trusts the development CA.
func browser(t *testing.T, dir string) *http.Client {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(dir, devca.CACert))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
}

func get(t *testing.T, c *http.Client, url string) (int, string) {
	t.Helper()
	r, err := c.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err := errors.Join(err, r.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(body)
}

func TestPagesHealthAndMetricsHaveTheirPlaces(t *testing.T) {
	dir, c := prepared(t)
	n := running(t, c)
	public, private := "https://"+n.listens.http.Addr().String(), "http://"+n.listens.metrics.Addr().String()
	health := grpc_health_v1.NewHealthClient(dial(t, n, dir, dir))
	watch, err := health.Watch(t.Context(), &grpc_health_v1.HealthCheckRequest{})
	for answer := (*grpc_health_v1.HealthCheckResponse)(nil); answer.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING; {
		if err != nil {
			t.Fatal(err)
		}
		answer, err = watch.Recv()
	}
	rows := []struct {
		url    string
		status int
		part   string
	}{
		{public + "/healthz", 200, "ok"},
		{public + "/readyz", 200, "ready"},
		{public + "/connect/x", 400, "html"},
		{public + "/metrics", 404, ""},
		{private + "/readyz", 200, "ready"},
		{private + "/metrics", 200, "holdfast_rpc_calls_total"},
		{private + "/metrics", 200, "holdfast_hot_hits_total 0"},
		{private + "/connect/x", 404, ""},
	}
	for _, row := range rows {
		code, body := get(t, browser(t, dir), row.url)
		if code != row.status || !strings.Contains(body, row.part) {
			t.Errorf("%s: %d, want %d with %q", row.url, code, row.status, row.part)
		}
	}
}

func TestAStoreInUseFailsTheStartAndLeavesNothingOpen(t *testing.T) {
	_, c := prepared(t)
	running(t, c)
	_, err := Start(t.Context(), options(c))
	if err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("got %v", err)
	}
}

func TestAPortThatIsTakenIsNamedWithItsKey(t *testing.T) {
	_, c := prepared(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	c.HTTP.Listen = taken.Addr().String()
	_, err = Start(t.Context(), options(c))
	listen, ok := errors.AsType[*ListenError](err)
	if !ok || listen.Key != "http.listen" || !strings.Contains(err.Error(), "is taken by another program") {
		t.Fatalf("got %v", err)
	}
	if _, err := os.Stat(c.Store.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the store was touched: %v", err)
	}
}

func TestWhenAServerDiesAllEnds(t *testing.T) {
	_, c := prepared(t)
	n, err := Start(t.Context(), options(c))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.listens.metrics.Close(); err != nil {
		t.Fatal(err)
	}
	if err := n.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "metrics server") {
		t.Fatalf("got %v", err)
	}
	if conn, err := net.Dial("tcp", n.GRPCAddr().String()); err == nil {
		_ = conn.Close()
		t.Fatal("the gRPC server lives on")
	}
}

// Browsers open connections ahead of need; the end must not wait for them.
func TestConnectionsWithoutARequestDoNotHoldUpTheEnd(t *testing.T) {
	dir, c := prepared(t)
	n, err := Start(t.Context(), options(c))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := net.Dial("tcp", n.listens.metrics.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
	shaken, err := tls.Dial("tcp", n.listens.http.Addr().String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = shaken.Close() }()
	// An answer on a later connection: the server has accepted the earlier ones.
	get(t, browser(t, dir), "https://"+n.listens.http.Addr().String()+"/healthz")
	get(t, browser(t, dir), "http://"+n.listens.metrics.Addr().String()+"/healthz")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	if err := n.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	// http.Server alone waits five seconds for each of the two.
	if took := time.Since(began); took > 4*time.Second {
		t.Fatalf("the end took %v", took)
	}
}

func TestANewCertificateIsServedWithoutARestart(t *testing.T) {
	dir, c := prepared(t)
	n := running(t, c)
	serial := func() string {
		conn, err := tls.Dial("tcp", n.GRPCAddr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		return fmt.Sprint(conn.ConnectionState().PeerCertificates[0].SerialNumber)
	}
	first := serial()
	if err := devca.Ensure(dir, "another client, so that all are made anew", time.Now()); err != nil {
		t.Fatal(err)
	}
	// The files are looked at every reload.Interval: ask until they were.
	for deadline := time.Now().Add(30 * time.Second); serial() == first; {
		if time.Now().After(deadline) {
			t.Fatal("the old certificate is still served")
		}
	}
}

func TestPlainHTTPIsForLoopbackOnly(t *testing.T) {
	for addr, ok := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "0.0.0.0:1": false, "192.0.2.1:1": false} {
		at, err := net.ResolveTCPAddr("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := plainOnLoopbackOnly("http://x", at); (err == nil) != ok {
			t.Errorf("http on %s: %v", addr, err)
		}
		if err := plainOnLoopbackOnly("https://x", at); err != nil {
			t.Errorf("https on %s: %v", addr, err)
		}
	}
}

func TestACallbackWithALargeCodeReachesItsPage(t *testing.T) {
	dir, c := prepared(t)
	n := running(t, c)
	target := "https://" + n.listens.http.Addr().String() + "/oauth/callback?state=cns_x.y&code=" + strings.Repeat("c", 90_000)
	if code, _ := get(t, browser(t, dir), target); code == http.StatusRequestHeaderFieldsTooLarge || code == http.StatusRequestURITooLong {
		t.Fatalf("status %d: the server does not let the page see it", code)
	}
}
