package holdfast

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/internal/unreached"
)

// whyNot is the message of a client that reaches no broker.
func whyNot(t *testing.T, target string, opts ...DialOption) string {
	t.Helper()
	client, err := Dial(target, append(opts, WithGRPC(grpc.WithNoProxy()))...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}()
	_, err = client.TokenSource(t.Context(), grant).Token()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Reason != Unreachable || !e.Temporary() {
		t.Fatalf("%s: got %v, want UNREACHABLE, which passes", target, err)
	}
	return e.Message
}

// listen returns the address of a listener whose connections are never read.
func listen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestAnUnreachedBrokerIsToldInWordsThatSayWhatToDo(t *testing.T) {
	dir := t.TempDir()
	serverCert, serverKey := writeCert(t, dir, "server")
	callerCert, callerKey := writeCert(t, dir, "caller")
	otherCert, otherKey := writeCert(t, dir, "other")
	addr, stop := startTLS(t, "127.0.0.1:0", serverCert, serverKey, callerCert)
	defer stop()
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	webAddr := web.Listener.Addr().String()
	secureWeb := httptest.NewTLSServer(http.NotFoundHandler())
	defer secureWeb.Close()
	token, webCA := filepath.Join(dir, "token"), filepath.Join(dir, "web.crt")
	for path, text := range map[string][]byte{
		token: []byte("a.b.c"), webCA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secureWeb.Certificate().Raw}),
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	silent, known := listen(t), WithTLSFiles(callerCert, callerKey, serverCert)
	for _, c := range []struct {
		target, want string
		opts         []DialOption
	}{
		{"127.0.0.1:1", "nothing listens at 127.0.0.1:1:", []DialOption{known}},
		{webAddr, webAddr + " does not speak TLS", []DialOption{known}},
		{secureWeb.Listener.Addr().String(), " is no broker", []DialOption{WithTLSFiles(callerCert, callerKey, webCA)}},
		{webAddr, webAddr + " is no broker", []DialOption{WithPlaintext()}},
		{addr, "use WithTLSFiles instead of WithPlaintext", []DialOption{WithPlaintext()}},
		{addr, "was not issued by the CA in " + otherCert, []DialOption{WithTLSFiles(callerCert, callerKey, otherCert)}},
		{addr, "was not issued by a CA of the system", []DialOption{WithTLSFiles(callerCert, callerKey, "")}},
		{"localhost:" + port, "is not for the host of localhost:" + port, []DialOption{known}},
		{addr, "refused the certificate in " + otherCert, []DialOption{WithTLSFiles(otherCert, otherKey, serverCert)}},
		{addr, "demands a client certificate", []DialOption{WithTokenFile(token, serverCert)}},
		{silent, "the broker at " + silent + " did not answer in time", []DialOption{known, WithTimeout(200 * time.Millisecond)}},
	} {
		if got := whyNot(t, c.target, c.opts...); !strings.Contains(got, c.want) || !strings.Contains(got, "(gRPC: ") {
			t.Errorf("%s: got %q, want a message with %q and what gRPC said", c.target, got, c.want)
		}
	}
}

// The broker's verdict comes after the caller's handshake, and what the caller writes
// meanwhile fails in one of several ways: each try has to tell the same.
func TestARefusedCertificateIsAlwaysNamed(t *testing.T) {
	dir := t.TempDir()
	serverCert, serverKey := writeCert(t, dir, "server")
	callerCert, _ := writeCert(t, dir, "caller")
	otherCert, otherKey := writeCert(t, dir, "other")
	addr, stop := startTLS(t, "127.0.0.1:0", serverCert, serverKey, callerCert)
	defer stop()
	for range 30 {
		got := whyNot(t, addr, WithTLSFiles(otherCert, otherKey, serverCert))
		if !strings.Contains(got, "refused the certificate in "+otherCert) || !strings.Contains(got, "unknown certificate authority") {
			t.Fatalf("got %q, want the file and the broker's word", got)
		}
	}
}

// A broker that takes callers without a certificate too names the CAs of those who have one;
// a certificate of another CA is shown all the same, and not kept back in silence.
func TestACertificateIsShownWhicheverCAsTheBrokerNames(t *testing.T) {
	dir := t.TempDir()
	serverCert, serverKey := writeCert(t, dir, "server")
	namedCert, _ := writeCert(t, dir, "named")
	callerCert, callerKey := writeCert(t, dir, "caller")
	pair, err := tls.LoadX509KeyPair(serverCert, serverKey)
	if err != nil {
		t.Fatal(err)
	}
	named := x509.NewCertPool()
	text, err := os.ReadFile(namedCert)
	if err != nil {
		t.Fatal(err)
	}
	named.AppendCertsFromPEM(text)
	near, far := net.Pipe()
	shown := make(chan int, 1)
	go func() {
		server := tls.Server(far, &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert, ClientCAs: named, NextProtos: []string{"h2"}})
		_ = server.Handshake()
		shown <- len(server.ConnectionState().PeerCertificates)
		_ = far.Close()
	}()
	files, err := newTLSFiles(callerCert, callerKey, serverCert)
	if err != nil {
		t.Fatal(err)
	}
	var conn net.Conn
	var info credentials.AuthInfo
	if conn, info, err = files.ClientHandshake(t.Context(), "127.0.0.1", near); err != nil {
		t.Fatal(err)
	}
	if got := <-shown; got != 1 || info.AuthType() != "tls" {
		t.Errorf("%d certificates were shown by %q, want the caller's", got, info.AuthType())
	}
	_ = conn.Close()
}

func TestWhatIsNotUnderstoodIsPassedOn(t *testing.T) {
	c := &Client{way: unreached.Way{Target: "broker:1"}}
	for _, row := range []struct {
		code      codes.Code
		raw, want string
	}{
		{codes.Unavailable, "something new", "something new"},
		{codes.Canceled, "context canceled: EOF", "context canceled: EOF"},
		{codes.Unavailable, "name resolver error: produced zero addresses",
			"the host of broker:1 cannot be found: check its name, and this machine's DNS (gRPC: name resolver error: produced zero addresses)"},
	} {
		if got := c.refused(status.Error(row.code, row.raw)).Message; got != row.want {
			t.Errorf("got %q, want %q", got, row.want)
		}
	}
}
