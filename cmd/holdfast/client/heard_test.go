package client

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// signed writes a certificate that vouches for itself, for 127.0.0.1, and its key, and returns their files.
func signed(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
	for path, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// serve starts a server of gRPC without any method, that takes the callers of a file alone.
func serve(t *testing.T, cert, key, callers string) (addr string) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(callers)
	if err != nil {
		t.Fatal(err)
	}
	known := x509.NewCertPool()
	known.AppendCertsFromPEM(text)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: known,
	})))
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

func TestABrokerThatIsNotReachedIsToldInWordsThatNameTheFlag(t *testing.T) {
	dir := t.TempDir()
	server, serverKey := signed(t, dir, "server")
	caller, callerKey := signed(t, dir, "caller")
	other, otherKey := signed(t, dir, "other")
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("a.b.c"), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := serve(t, server, serverKey, caller)
	for _, row := range []struct {
		s    Settings
		code codes.Code
		want string
		raw  string // of gRPC
	}{
		{Settings{Addr: "127.0.0.1:1", Cert: caller, Key: callerKey, CA: server}, codes.Unavailable, "nothing listens at 127.0.0.1:1", "connection refused"},
		{Settings{Addr: addr, Cert: other, Key: otherKey, CA: server}, codes.Unavailable, "refused the certificate in " + other, "unknown certificate authority"},
		{Settings{Addr: addr, TokenFile: token, CA: server}, codes.Unavailable, "demands a client certificate: give --cert and --key", "certificate required"},
		{Settings{Addr: addr, Cert: caller, Key: callerKey, CA: other}, codes.Unavailable, "not issued by the CA in " + other + ": give the file of the CA that did by --ca", "unknown authority"},
		{Settings{Addr: addr, Cert: caller, Key: callerKey, CA: server, ServerName: "x.test"}, codes.Unavailable, "is not for the name x.test: give a name that it is for by --addr or --server-name", "x509"},
		{Settings{Addr: addr, Cert: caller, Key: callerKey, CA: server}, codes.Unimplemented, "is no broker", "unknown service"},
	} {
		conn, err := row.s.Dial()
		if err != nil {
			t.Fatal(err)
		}
		_, err = holdfastv1.NewTokenServiceClient(conn).GetAccessToken(t.Context(), &holdfastv1.GetAccessTokenRequest{})
		if f, _ := Explain(err); f.Code != row.code || !strings.Contains(f.String(), row.want) || !strings.Contains(f.String(), row.raw) {
			t.Errorf("got %v, want %v with %q and %q", f, row.code, row.want, row.raw)
		} else if strings.Contains(f.String(), "next:") {
			t.Errorf("%v says twice what to do", f)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}
