package rpc

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/test/bufconn"

	"github.com/holdfast-io/holdfast/broker/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority signs certificates for tests.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool()}
	made := a.issue("test CA", time.Now().Add(24*time.Hour), true)
	a.cert, a.key = made.Leaf, made.PrivateKey.(*ecdsa.PrivateKey)
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) issue(name string, notAfter time.Time, isCA bool) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: name},
		DNSNames:              []string{name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              notAfter,
		BasicConstraintsValid: true,
		IsCA:                  isCA,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := a.cert, a.key
	if isCA {
		template.KeyUsage |= x509.KeyUsageCertSign
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// rig is a server over an in-memory listener with real TLS.
type rig struct {
	t      testing.TB
	ca     *authority
	broker *fakeBroker
	server *Server
	lis    *bufconn.Listener
	log    *lockedBuffer
	reg    *prometheus.Registry
	clock  *clock
	config Config
}

// mapped is the one caller that the rig's configuration knows.
const mapped = "sync.example.com"

func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	return newNamedRig(t, func(c *x509.Certificate) (string, bool) {
		return c.Subject.CommonName, c.Subject.CommonName == mapped
	}, change...)
}

// newNamedRig is newRig with another way to name certificates.
func newNamedRig(t testing.TB, name identity.Naming, change ...func(*Config)) *rig {
	t.Helper()
	return newRigOf(t, newAuthority(t), name, change...)
}

// newRigOf is newNamedRig with the authority of its certificates.
func newRigOf(t testing.TB, ca *authority, name identity.Naming, change ...func(*Config)) *rig {
	t.Helper()
	r := &rig{
		t: t, ca: ca, broker: newFakeBroker(), lis: bufconn.Listen(1 << 20),
		log: &lockedBuffer{}, reg: prometheus.NewRegistry(), clock: &clock{},
	}
	config := Config{
		Tokens: r.broker, Consents: r.broker, Admin: r.broker, Apps: r.broker, Keys: r.broker, Endings: r.broker, Record: r.broker, Access: r.broker, Refusals: r.broker,
		TLS: &tls.Config{
			Certificates: []tls.Certificate{r.ca.issue("broker.test", time.Now().Add(time.Hour), false)},
		},
		Trust:   r.trusts(name),
		Metrics: r.reg,
		Log:     slog.New(slog.NewTextHandler(r.log, nil)),
		Now:     r.clock.now,
	}
	for _, c := range change {
		c(&config)
	}
	r.config = config
	var err error
	if r.server, err = NewServer(config); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- r.server.Serve(r.lis) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := r.server.Stop(ctx); err != nil {
			t.Errorf("Stop: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return r
}

// trusts returns a Trust in the rig's authority that names its certificates.
func (r *rig) trusts(name identity.Naming) *identity.Trust {
	r.t.Helper()
	trust, err := identity.New(identity.Config{Roots: r.ca.pool, Name: name, Now: r.clock.now})
	if err != nil {
		r.t.Fatal(err)
	}
	return trust
}

// dial connects with a certificate of that name, or with none if it is empty.
func (r *rig) dial(name string, opts ...grpc.DialOption) *grpc.ClientConn {
	r.t.Helper()
	config := &tls.Config{RootCAs: r.ca.pool, ServerName: "broker.test"}
	if name != "" {
		config.Certificates = []tls.Certificate{r.ca.issue(name, time.Now().Add(time.Hour), false)}
	}
	opts = append([]grpc.DialOption{
		grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return r.lis.DialContext(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
	}, opts...)
	conn, err := grpc.NewClient("passthrough:broker.test", opts...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	return conn
}

// clock is real time plus an offset that a test moves.
type clock struct {
	mu     sync.Mutex
	offset time.Duration // guarded by mu
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.offset)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.offset += d
}

// lockedBuffer is a log that handlers write and tests read.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
