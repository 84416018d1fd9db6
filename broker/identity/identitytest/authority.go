// Package identitytest has what tests of callers need: an authority of real
// certificates, an issuer of real tokens with its key server, and a SPIFFE
// Workload API. It is for tests only.
package identitytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"testing"
	"time"
)

// Authority signs certificates.
type Authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// Certificate is what an authority is asked for.
type Certificate struct {
	Subject pkix.Name
	DNS     []string
	URIs    []string
	// From and To default to an hour ago and in an hour.
	From, To time.Time
	// CA makes it another authority's.
	CA bool
}

// NewAuthority makes one; domain, if not empty, is its SPIFFE trust domain.
func NewAuthority(t testing.TB, domain string) *Authority {
	t.Helper()
	a := &Authority{t: t}
	c := Certificate{Subject: pkix.Name{CommonName: "authority of tests"}, CA: true, To: time.Now().Add(24 * time.Hour)}
	if domain != "" {
		c.URIs = []string{"spiffe://" + domain}
	}
	made := a.Issue(c)
	a.cert, a.key = made.Leaf, made.PrivateKey.(*ecdsa.PrivateKey)
	return a
}

// Issue makes a certificate with its key.
func (a *Authority) Issue(c Certificate) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.must(err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	a.must(err)
	template := &x509.Certificate{
		SerialNumber: serial, Subject: c.Subject, DNSNames: c.DNS, NotBefore: c.From, NotAfter: c.To,
		BasicConstraintsValid: true, IsCA: c.CA, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, text := range c.URIs {
		u, err := url.Parse(text)
		a.must(err)
		template.URIs = append(template.URIs, u)
	}
	if c.From.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if c.To.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	parent, signer := a.cert, a.key
	if c.CA {
		template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageCertSign, nil
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	a.must(err)
	leaf, err := x509.ParseCertificate(der)
	a.must(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// SVID makes the document of a SPIFFE ID.
func (a *Authority) SVID(id string) tls.Certificate {
	a.t.Helper()
	return a.Issue(Certificate{URIs: []string{id}})
}

// Cert is the authority's own certificate.
func (a *Authority) Cert() *x509.Certificate { return a.cert }

// PEM is the authority's own certificate as a file holds it.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// Pool holds the certificates of authorities.
func Pool(authorities ...*Authority) *x509.CertPool {
	p := x509.NewCertPool()
	for _, a := range authorities {
		p.AddCert(a.cert)
	}
	return p
}

// Files returns a certificate and its key as files hold them.
func Files(t testing.TB, c tls.Certificate) (certificate, key []byte) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range c.Certificate {
		certificate = append(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: one})...)
	}
	return certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (a *Authority) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}
