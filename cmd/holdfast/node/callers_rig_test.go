package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"

	"github.com/holdfast-io/holdfast/broker/identity/identitytest"
	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Names of the one admin of each kind.
const (
	adminX509   = "operator"
	adminSPIFFE = "spiffe://example.org/ns/prod/sa/operator"
	adminJWT    = "system:serviceaccount:prod:operator"
)

// world is everything that vouches for callers of a node.
type world struct {
	t       *testing.T
	dir     string
	ca      *identitytest.Authority // of x509 callers
	domain  *identitytest.Authority // of the trust domain example.org
	issuer  *identitytest.Issuer    // like a Kubernetes cluster's
	key     identitytest.Key
	log     *syncBuffer
	config  *config.Config
	node    *Node
	servers *x509.CertPool // that the node's certificate is believed by
}

// newWorld starts a node whose callers come in all kinds; identity is the text
// of that section, with %[1]s for the issuer's URL and %[2]s for that of its keys.
func newWorld(t *testing.T, identity string) *world {
	t.Helper()
	w := &world{
		t: t, ca: identitytest.NewAuthority(t, ""), domain: identitytest.NewAuthority(t, "example.org"),
		issuer: identitytest.NewIssuer(t), key: identitytest.NewKey(t, "one", "RS256"), log: &syncBuffer{},
	}
	w.issuer.Publish(w.key)
	w.dir, w.config = prepared(t)
	w.write("callers-ca.crt", w.ca.PEM())
	w.write("example.org.crt", w.domain.PEM())
	w.write("issuer-ca.crt", w.issuer.CA())
	text := strings.Replace(fileText, "client_ca_file: ca.crt", "client_ca_file: callers-ca.crt", 1)
	text = strings.Replace(text, "  - {name: dev, admin: true}\n", fmt.Sprintf(
		"  - {name: %q, admin: true}\n  - {name: %q, admin: true}\n  - {name: %q, admin: true}\n", adminX509, adminSPIFFE, adminJWT), 1)
	text += fmt.Sprintf(identity, w.issuer.URL(), w.issuer.KeysURL())
	var err error
	if w.config, _, err = config.Parse(filepath.Join(w.dir, "holdfast.yaml"), []byte(text)); err != nil {
		t.Fatal(err)
	}
	w.servers = x509.NewCertPool()
	pem, err := os.ReadFile(filepath.Join(w.dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	w.servers.AppendCertsFromPEM(pem)
	return w
}

const byFiles = `identity:
  spiffe:
    trust_domains: [example.org]
    bundles: [{trust_domain: example.org, file: example.org.crt}]
    groups: [prefixes]
  jwt:
    - issuer: %[1]s
      audience: holdfast
      jwks_url: %[2]s
      ca_file: issuer-ca.crt
      name: "system:serviceaccount:{/kubernetes.io/namespace}:{/kubernetes.io/serviceaccount/name}"
      groups: ["system:serviceaccounts:{/kubernetes.io/namespace}"]
`

func (w *world) write(name string, text []byte) {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.dir, name), text, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) start() *world {
	w.t.Helper()
	o := options(w.config)
	o.Log = slog.New(slog.NewTextHandler(w.log, nil))
	n, err := Start(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.node = n
	ctx, cancel := context.WithCancel(context.Background())
	w.t.Cleanup(func() {
		cancel()
		if err := n.Wait(ctx); err != nil {
			w.t.Errorf("an orderly end: %v", err)
		}
	})
	return w
}

// connect shows a certificate, if there is one.
func (w *world) connect(cert *tls.Certificate) *grpc.ClientConn {
	w.t.Helper()
	c := &tls.Config{RootCAs: w.servers, MinVersion: tls.VersionTLS13, ServerName: "localhost"}
	if cert != nil {
		// Shown whatever authorities the server names.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
	}
	conn, err := grpc.NewClient(w.node.GRPCAddr().String(), grpc.WithTransportCredentials(credentials.NewTLS(c)))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// status is a call that only an admin may make.
func (w *world) status(conn *grpc.ClientConn, token string) error {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	if token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
	}
	_, err := holdfastv1.NewAdminServiceClient(conn).GetStatus(ctx, &holdfastv1.GetStatusRequest{})
	return err
}

// eventually asks until the answer is as wanted: files are looked at every reload.Interval.
func (w *world) eventually(what string, ask func() error, want func(error) bool) {
	w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		err := ask()
		if want(err) {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s: still %v", what, err)
		}
	}
}

func (w *world) named(name string) *tls.Certificate {
	c := w.ca.Issue(identitytest.Certificate{Subject: pkix.Name{CommonName: name}})
	return &c
}

// projected are the claims of a Kubernetes service account's projected token.
func (w *world) projected(namespace, account string, changes map[string]any) string {
	w.t.Helper()
	claims := map[string]any{
		"sub": "system:serviceaccount:" + namespace + ":" + account, "aud": []string{"holdfast"},
		"kubernetes.io": map[string]any{
			"namespace":      namespace,
			"pod":            map[string]any{"name": account + "-0", "uid": "0a"},
			"serviceaccount": map[string]any{"name": account, "uid": "0b"},
		},
	}
	for k, v := range changes {
		claims[k] = v
	}
	return w.key.Sign(w.t, w.issuer.Claims(claims))
}

// agent is a SPIFFE Workload API on a unix socket.
type agent struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	t *testing.T

	mu      sync.Mutex // guards all below
	answer  *workload.X509SVIDResponse
	changed chan struct{}
}

// newAgent serves on the socket, which ends with the test.
func newAgent(t *testing.T, socket string) *agent {
	t.Helper()
	a := &agent{t: t, changed: make(chan struct{})}
	lis, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, a)
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(lis) }() // its end is Stop's
	t.Cleanup(func() { server.Stop(); <-done })
	return a
}

// set makes the agent tell everybody a document and its trust domain's authorities.
func (a *agent) set(id string, svid tls.Certificate, authorities ...*identitytest.Authority) {
	a.t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(svid.PrivateKey)
	if err != nil {
		a.t.Fatal(err)
	}
	var bundle bytes.Buffer
	for _, one := range authorities {
		bundle.Write(one.Cert().Raw)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = &workload.X509SVIDResponse{Svids: []*workload.X509SVID{{
		SpiffeId: id, X509Svid: svid.Certificate[0], X509SvidKey: key, Bundle: bundle.Bytes(),
	}}}
	close(a.changed)
	a.changed = make(chan struct{})
}

// FetchX509SVID implements workload.SpiffeWorkloadAPIServer.
func (a *agent) FetchX509SVID(_ *workload.X509SVIDRequest, stream grpc.ServerStreamingServer[workload.X509SVIDResponse]) error {
	if md, _ := metadata.FromIncomingContext(stream.Context()); len(md.Get("workload.spiffe.io")) == 0 {
		a.t.Error("the client did not send the security header of the Workload API")
	}
	for {
		a.mu.Lock()
		answer, changed := a.answer, a.changed
		a.mu.Unlock()
		if answer != nil {
			if err := stream.Send(answer); err != nil {
				return err
			}
		}
		select {
		case <-stream.Context().Done():
			return nil
		case <-changed:
		}
	}
}

// syncBuffer is a log that many write and the test reads.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
