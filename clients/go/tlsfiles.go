package holdfast

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc/credentials"
)

// tlsFiles are credentials that read their files for every new connection, so that
// renewed ones take effect without a restart.
type tlsFiles struct {
	cert, key string // empty: no client certificate
	ca        string // empty: the system's
	// TransportCredentials of the files as they were; they answer what concerns no connection.
	credentials.TransportCredentials
}

// newTLSFiles reads the files once, so that a mistake in them is an error of Dial.
func newTLSFiles(cert, key, ca string) (*tlsFiles, error) {
	f := &tlsFiles{cert: cert, key: key, ca: ca}
	now, err := f.read()
	if err != nil {
		return nil, err
	}
	f.TransportCredentials = now
	return f, nil
}

// ClientHandshake implements credentials.TransportCredentials.
func (f *tlsFiles) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	now, err := f.read()
	if err != nil {
		return nil, nil, err
	}
	return now.ClientHandshake(ctx, authority, conn)
}

// Clone implements credentials.TransportCredentials.
func (f *tlsFiles) Clone() credentials.TransportCredentials {
	return &tlsFiles{f.cert, f.key, f.ca, f.TransportCredentials.Clone()}
}

func (f *tlsFiles) read() (credentials.TransportCredentials, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, fmt.Errorf("loading the caller's certificate %s and key %s: %w", f.cert, f.key, err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, fmt.Errorf("reading the broker's CA: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading the broker's CA: %s holds no PEM certificate", f.ca)
		}
	}
	return credentials.NewTLS(config), nil
}
