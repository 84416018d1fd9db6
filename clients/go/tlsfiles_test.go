package holdfast

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// startTLS starts a broker at addr with a certificate, which takes the callers of that file only.
func startTLS(t *testing.T, addr, cert, key, caller string, options ...grpc.ServerOption) (bound string, stop func()) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(caller)
	if err != nil {
		t.Fatal(err)
	}
	callers := x509.NewCertPool()
	callers.AppendCertsFromPEM(text)
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(append(options, grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: callers,
	})))...)
	holdfastv1.RegisterTokenServiceServer(server, newFakeBroker())
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	return listener.Addr().String(), func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
}

func TestRenewedFilesAreUsedByTheNextConnection(t *testing.T) {
	dir := t.TempDir()
	serverCert, serverKey := writeCert(t, dir, "server")
	callerCert, callerKey := writeCert(t, dir, "caller")
	addr, stop := startTLS(t, "127.0.0.1:0", serverCert, serverKey, callerCert)
	client, err := Dial(addr, WithTLSFiles(callerCert, callerKey, serverCert), WithTimeout(10*time.Second),
		WithGRPC(grpc.WithDefaultCallOptions(grpc.WaitForReady(true))))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}()
	mustToken(t, client.TokenSource(t.Context(), grant), "token-1")
	stop()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for client.conn.GetState() == connectivity.Ready { // a call would go to the connection that has ended
		if !client.conn.WaitForStateChange(ctx, connectivity.Ready) {
			t.Fatal("the end of the broker went unnoticed")
		}
	}
	// Everything is renewed: the broker's certificate and so its CA, and the caller's.
	for _, name := range []string{"server", "caller"} {
		renewed := t.TempDir()
		writeCert(t, renewed, name)
		for _, end := range []string{".crt", ".key"} {
			if err := os.Rename(filepath.Join(renewed, name+end), filepath.Join(dir, name+end)); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, stop = startTLS(t, addr, serverCert, serverKey, callerCert)
	defer stop()
	mustToken(t, client.TokenSource(t.Context(), grant), "token-1")
}
