package holdfast

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
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

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// writeCert makes a self-signed certificate for 127.0.0.1, its own CA.
func writeCert(t *testing.T, dir, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
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

func TestDialProvesTheCallersIdentity(t *testing.T) {
	dir := t.TempDir()
	serverCert, serverKey := writeCert(t, dir, "server")
	callerCert, callerKey := writeCert(t, dir, "caller")
	addr, stop := startTLS(t, "127.0.0.1:0", serverCert, serverKey, callerCert)
	defer stop()

	client, err := Dial(addr, WithTLSFiles(callerCert, callerKey, serverCert), WithTimeout(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	mustToken(t, client.TokenSource(t.Context(), grant), "token-1")
	if err := client.Close(); err != nil {
		t.Error(err)
	}

	stranger, strangerKey := writeCert(t, dir, "stranger")
	client, err = Dial(addr, WithTLSFiles(stranger, strangerKey, serverCert), WithTimeout(10*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.TokenSource(t.Context(), grant).Token(); !temporary(err) {
		t.Errorf("with a certificate of another CA: got %v, want an error that says nothing about the grant", err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
}

func TestDialRefusesWhatIsUnsafeOrMissing(t *testing.T) {
	dir := t.TempDir()
	cert, key := writeCert(t, dir, "caller")
	for _, c := range []struct {
		target, want string
		opts         []DialOption
	}{
		{"broker:7443", "no identity", nil},
		{"broker:7443", "in the clear", []DialOption{WithPlaintext()}},
		{"10.0.0.1:7443", "in the clear", []DialOption{WithPlaintext()}},
		{"localhost.example.com:7443", "in the clear", []DialOption{WithPlaintext()}},
		{"dns:///localhost:7443", "in the clear", []DialOption{WithPlaintext()}},
		{"broker:7443", "not both", []DialOption{WithPlaintext(), WithTLSFiles(cert, key, "")}},
		{"broker:7443", "not both", []DialOption{WithPlaintext(), WithTokenFile(cert, "")}},
		{"broker:7443", "a certificate and a token", []DialOption{WithTLSFiles(cert, key, ""), WithTokenFile(cert, "")}},
		{"broker:7443", "absent.token", []DialOption{WithTokenFile(filepath.Join(dir, "absent.token"), "")}},
		{"broker:7443", "absent.crt", []DialOption{WithTLSFiles(filepath.Join(dir, "absent.crt"), key, "")}},
		{"broker:7443", "no PEM certificate", []DialOption{WithTLSFiles(cert, key, key)}},
	} {
		_, err := Dial(c.target, c.opts...)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", c.target, err, c.want)
		}
	}
	for _, target := range []string{"localhost:1", "127.0.0.1:1", "[::1]:1"} {
		client, err := Dial(target, WithPlaintext())
		if err != nil {
			t.Errorf("%s: %v", target, err)
			continue
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
}

// By grpc-go itself each of these is a name that does not resolve, and the mistake shows at
// the first call, as a broker that can not be reached.
func TestDialSaysWhatATargetMustBe(t *testing.T) {
	cert, key := writeCert(t, t.TempDir(), "caller")
	for _, target := range []string{
		"", "https://broker:7443", "http://broker:7443", "grpc://broker:7443", "broker", "broker:", ":7443", "broker:0", "broker:65536",
		"broker:+1", "broker:https", "broker:7443/", "broker:7443?x", "broker:7443#x", "a b:7443", "user@broker:7443", "::1", "::1:7443", "[broker:7443", "[x:y]:7443", "%zz:1",
	} {
		client, err := Dial(target, WithTLSFiles(cert, key, cert))
		if err == nil {
			_ = client.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "want host:port") {
			t.Errorf("%q: got %v, want an error that says what to write", target, err)
		}
	}
	for _, target := range []string{
		"broker:7443", "10.0.0.1:1", "[::1]:65535", "dns:///broker:7443", "dns:///broker", "dns://10.0.0.53/broker:7443",
		"passthrough:///any thing", "unix:/run/holdfast.sock",
	} {
		client, err := Dial(target, WithTLSFiles(cert, key, cert))
		if err != nil {
			t.Errorf("%q: %v", target, err)
			continue
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
}
