package identity

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/url"
	"testing"
	"time"
)

func TestChainEndsWithItsFirstCertificate(t *testing.T) {
	early, late := time.Unix(1000, 0), time.Unix(2000, 0)
	cert := func(end time.Time) *x509.Certificate { return &x509.Certificate{NotAfter: end} }
	for _, row := range []struct {
		name   string
		chains [][]*x509.Certificate
		want   time.Time
	}{
		{"issuer ends first", [][]*x509.Certificate{{cert(late), cert(early)}}, early},
		{"leaf ends first", [][]*x509.Certificate{{cert(early), cert(late)}}, early},
		{"another chain lasts longer", [][]*x509.Certificate{{cert(late), cert(early)}, {cert(late), cert(late)}}, late},
	} {
		if got := lastEnd(row.chains); !got.Equal(row.want) {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}

func TestOwnNamePrefersURI(t *testing.T) {
	u, err := url.Parse("spiffe://example.com/sync")
	if err != nil {
		t.Fatal(err)
	}
	cert := &x509.Certificate{Subject: pkix.Name{CommonName: "cn.example.com"}, SerialNumber: big.NewInt(7)}
	for _, step := range []struct {
		want   string
		remove func()
	}{
		{"spiffe://example.com/sync", func() { cert.URIs = nil }},
		{"dns.example.com", func() { cert.DNSNames = nil }},
		{"cn.example.com", func() { cert.Subject.CommonName = "" }},
		{"serial " + cert.SerialNumber.String(), func() {}},
	} {
		if step.want == "spiffe://example.com/sync" {
			cert.URIs, cert.DNSNames = []*url.URL{u}, []string{"dns.example.com"}
		}
		if got := ownName(cert); got != step.want {
			t.Errorf("got %q, want %q", got, step.want)
		}
		step.remove()
	}
}
