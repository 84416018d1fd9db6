package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// binaries is the directory of what build builds; TestMain owns it.
var binaries string

// build builds the real binary once for all tests, with the race detector: a
// race in the server then fails the test in which it happened.
var build = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(binaries, "holdfast")
	out, err := exec.Command("go", "build", "-race", "-o", binary, "../cmd/holdfast").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building cmd/holdfast: %w\n%s", err, out)
	}
	return binary, nil
})

func TestMain(m *testing.M) {
	var err error
	if binaries, err = os.MkdirTemp("", "holdfast-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(binaries)
	os.Exit(code)
}

// app is one OAuth client of the broker under test.
type app struct {
	client
	product string
	scopes  []string
}

// The apps of every test: one per product, so that the families are separate.
var (
	jira = app{client{"client-of-jira", "secret-of-jira-0123456789"}, "jira",
		[]string{"read:jira-work", "write:jira-work"}}
	confluence = app{client{"client-of-confluence", "secret-of-confluence-0123456789"}, "confluence",
		[]string{"read:confluence-content.all"}}
)

func (a app) grant() *holdfastv1.GrantSelector {
	return &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Address{Address: a.address()}}
}

func (a app) address() *holdfastv1.GrantAddress {
	return &holdfastv1.GrantAddress{Tenant: "acme", Subject: "automation", Product: a.product}
}

// broker is a running `holdfast serve` and the connections of its two callers.
type broker struct {
	tokens   holdfastv1.TokenServiceClient // as the service "integration"
	consents holdfastv1.ConsentServiceClient
	admin    holdfastv1.AdminServiceClient // as "operator", like consents
}

// start starts the counterpart and a broker with an empty store against it.
func start(t *testing.T) (*provider, *broker) {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	pki := newPKI(t, dir)
	where := addresses{grpc: freeAddress(t), http: freeAddress(t), metrics: freeAddress(t)}
	p := startProvider(t, "https://"+where.http+"/oauth/callback", append(jira.scopes, confluence.scopes...), jira.client, confluence.client)

	run(t, dir, binary, "keys", "create", "--out", "kek")
	config := writeConfig(t, dir, where, p.issuer)
	serve(t, dir, binary, config)

	operator, integration := dial(t, where.grpc, pki, "operator"), dial(t, where.grpc, pki, "integration")
	awaitServing(t, operator)
	return p, &broker{
		tokens:   holdfastv1.NewTokenServiceClient(integration),
		consents: holdfastv1.NewConsentServiceClient(operator),
		admin:    holdfastv1.NewAdminServiceClient(operator),
	}
}

// run runs one command of the binary to its end.
func run(t *testing.T, dir, binary string, args ...string) {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("holdfast %v: %v\n%s", args, err, out)
	}
}

// serve starts the server; at the end of the test it is asked to stop and must
// do so in good order.
func serve(t *testing.T, dir, binary, config string) {
	t.Helper()
	cmd := exec.Command(binary, "serve", "--config", config)
	cmd.Dir = dir
	log := logWriter(t, "holdfast")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("stopping holdfast: %v", err)
		}
		select {
		case err := <-exited:
			if err != nil {
				t.Errorf("holdfast did not end in good order after SIGTERM: %v", err)
			}
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			t.Errorf("holdfast had to be killed (%v): it did not end within %v of SIGTERM", <-exited, patience)
		}
	})
}

// dial opens a connection with the certificate of that caller.
func dial(t *testing.T, address string, pki *pki, caller string) *grpc.ClientConn {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(pki.ca)
	creds := credentials.NewTLS(&tls.Config{
		RootCAs: roots, Certificates: []tls.Certificate{pki.issue(t, caller)}, MinVersion: tls.VersionTLS13,
	})
	// The server is still starting: look again soon.
	soon := backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.2, MaxDelay: 500 * time.Millisecond}
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(creds),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: soon, MinConnectTimeout: patience}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// awaitServing waits until the server says that it serves.
func awaitServing(t *testing.T, conn *grpc.ClientConn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	watch, err := grpc_health_v1.NewHealthClient(conn).Watch(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	for {
		switch answer, err := watch.Recv(); {
		case err != nil:
			t.Fatalf("holdfast is not serving: %v", err)
		case answer.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING:
			return
		}
	}
}

// reason returns the machine-readable reason of an error; "" if it has none.
func reason(err error) string {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return info.GetReason()
		}
	}
	return ""
}
