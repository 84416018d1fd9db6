package holdfast

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc/credentials"

	"github.com/holdfast-io/holdfast/internal/unreached"
)

// tlsFiles are credentials that read their files for every new connection, so that
// renewed ones take effect without a restart.
type tlsFiles struct {
	cert, key string // empty: no client certificate
	ca        string // empty: the system's
	// TransportCredentials of the files as they were; they answer what concerns no connection.
	credentials.TransportCredentials
	shown *shown
}

// newTLSFiles reads the files once, so that a mistake in them is an error of Dial.
func newTLSFiles(cert, key, ca string) (*tlsFiles, error) {
	f := &tlsFiles{cert: cert, key: key, ca: ca, shown: newShown()}
	now, _, err := f.read()
	if err != nil {
		return nil, err
	}
	f.TransportCredentials = now
	return f, nil
}

// ClientHandshake implements credentials.TransportCredentials.
func (f *tlsFiles) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	now, leaf, err := f.read()
	if err != nil {
		return nil, nil, err
	}
	secured, info, err := now.ClientHandshake(ctx, authority, conn)
	if err != nil {
		return nil, nil, err
	}
	made := &showing{Conn: unreached.Heard(secured), leaf: leaf, closed: make(chan struct{}), shown: f.shown}
	f.shown.note(made)
	return made, info, nil
}

// showing is a connection, and what it showed.
type showing struct {
	net.Conn
	leaf   []byte
	closed chan struct{} // by Close, which grpc-go calls once it makes no call over it
	shown  *shown
	ended  bool // by replace; guarded by shown
}

// Close implements net.Conn.
func (c *showing) Close() error {
	defer c.shown.forget(c)
	return c.Conn.Close()
}

// Clone implements credentials.TransportCredentials.
func (f *tlsFiles) Clone() credentials.TransportCredentials {
	return &tlsFiles{f.cert, f.key, f.ca, f.TransportCredentials.Clone(), f.shown}
}

// read makes credentials of the files as they are, and returns the certificate that they show.
func (f *tlsFiles) read() (_ credentials.TransportCredentials, leaf []byte, err error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, nil, fmt.Errorf("loading the caller's certificate %s and key %s: %w", f.cert, f.key, err)
		}
		leaf = pair.Certificate[0]
		// Not by Certificates: of those none is shown to a broker that names other CAs, which then
		// says that one is missing, or takes the caller for one that has none.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, nil, fmt.Errorf("reading the broker's CA: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, nil, fmt.Errorf("reading the broker's CA: %s holds no PEM certificate", f.ca)
		}
	}
	return credentials.NewTLS(config), leaf, nil
}
