package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// addresses that the broker listens on.
type addresses struct{ grpc, http, metrics string }

// writeConfig writes what an operator would write for a provider that Holdfast
// has no profile of, and returns the file's name.
func writeConfig(t *testing.T, dir string, where addresses, issuer string) string {
	t.Helper()
	text := fmt.Sprintf(`environment: test
public_url: https://%[2]s
store: {dir: store}
keys: {kek_file: kek}
audit: {file: audit.log}
grpc: {listen: "%[1]s"}
http: {listen: "%[2]s"}
metrics: {listen: "%[3]s"}
tls: {cert_file: server.crt, key_file: server.key, client_ca_file: ca.crt}
provider:
  profile: oauth2
  in_doubt: lapse
  overrides:
    title: Counterpart
    authorize_url: %[4]s/auth
    token_url: %[4]s/token
    account_url: %[4]s/me
    revoke_url: %[4]s/token/revocation
    revoke: effective
callers:
  - {name: operator, admin: true}
  - {name: integration, grants: [acme/*/jira, acme/*/confluence]}
apps:
`, where.grpc, where.http, where.metrics, issuer)
	for _, a := range []app{jira, confluence} {
		secretFile := a.product + ".secret"
		write(t, filepath.Join(dir, secretFile), []byte(a.Secret+"\n"))
		text += fmt.Sprintf("  - {id: %[1]s, products: [%[1]s], client_id: %[2]s, client_secret_files: [%[3]s], scopes: {%[1]s: [\"%[4]s\"]}}\n",
			a.product, a.ID, secretFile, strings.Join(a.scopes, `", "`))
	}
	file := filepath.Join(dir, "holdfast.yaml")
	write(t, file, []byte(text))
	return file
}

func write(t *testing.T, file string, content []byte) {
	t.Helper()
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// pki is a certificate authority that signs for one test.
type pki struct {
	ca  *x509.Certificate
	key *ecdsa.PrivateKey
}

// newPKI makes an authority and writes ca.crt, server.crt and server.key into dir.
func newPKI(t *testing.T, dir string) *pki {
	t.Helper()
	p := &pki{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, p.key.Public(), p.key)
	if err != nil {
		t.Fatal(err)
	}
	if p.ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "ca.crt"), pemOf("CERTIFICATE", der))

	server := p.issue(t, "holdfast")
	key, err := x509.MarshalPKCS8PrivateKey(server.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "server.crt"), pemOf("CERTIFICATE", server.Certificate[0]))
	write(t, filepath.Join(dir, "server.key"), pemOf("PRIVATE KEY", key))
	return p
}

// issue signs a certificate for a caller, or for the server on loopback.
func (p *pki) issue(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key := newKey(t)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}, p.ca, key.Public(), p.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
