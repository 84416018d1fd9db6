package identity

import (
	"crypto/tls"
	"crypto/x509/pkix"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker/identity/identitytest"
)

// Whoever has a certificate of a public authority must be nobody where no
// client_ca_file is configured, although TLS takes nil for the machine's roots.
// A process reads those once, so the test has one of its own.
func TestTheMachinesRootsVouchForNobody(t *testing.T) {
	const child = "HOLDFAST_TEST_MACHINE_ROOTS"
	if os.Getenv(child) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	public := identitytest.NewAuthority(t, "")
	file := filepath.Join(t.TempDir(), "public.pem")
	if err := os.WriteFile(file, public.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", file)
	issuer := Issuer{URL: "https://one.example.com", Audience: "holdfast", Name: "one:{sub}"}
	for _, row := range []struct {
		name   string
		config Config
	}{
		{"nobody is believed", Config{}},
		{"tokens are", Config{Issuers: []Issuer{issuer}}},
		{"a trust domain is", Config{SPIFFE: &SPIFFE{Domains: []string{"example.org"}}}},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.config.Name = Listed([]string{"left-over.example.com"})
			trust, err := New(row.config)
			if err != nil {
				t.Fatal(err)
			}
			if err := shake(t, trust, public, "left-over.example.com"); err == nil {
				t.Error("a certificate of a public authority was let in")
			}
		})
	}
}

// shake is the server's side of a handshake with a client of that name.
func shake(t *testing.T, trust *Trust, ca *identitytest.Authority, name string) error {
	t.Helper()
	near, far := net.Pipe()
	issue := func(name string) []tls.Certificate {
		return []tls.Certificate{ca.Issue(identitytest.Certificate{Subject: pkix.Name{CommonName: name}, DNS: []string{name}})}
	}
	client := tls.Client(far, &tls.Config{RootCAs: identitytest.Pool(ca), ServerName: "server", Certificates: issue(name)})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := client.Handshake(); err == nil {
			_, _ = client.Read(make([]byte, 1)) // the server's verdict comes after it
		}
	}()
	defer func() {
		_ = near.Close()
		<-ended
		_ = far.Close()
	}()
	_ = near.SetDeadline(time.Now().Add(10 * time.Second)) // a pipe has deadlines
	return tls.Server(near, trust.Server(&tls.Config{Certificates: issue("server"), ClientAuth: tls.RequireAndVerifyClientCert}, func(*Peer) {})).Handshake()
}
