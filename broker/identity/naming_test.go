package identity

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

func address(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestListedFindsURIThenDNSThenCommonName(t *testing.T) {
	uri := "spiffe://example.com/sync"
	cert := &x509.Certificate{URIs: []*url.URL{address(t, uri)}, DNSNames: []string{"a.example.com", "b.example.com"}, Subject: pkix.Name{CommonName: "sync"}}
	rows := []struct {
		name   string
		listed []string
		want   string
		ok     bool
	}{
		{"the URI goes first", []string{"sync", "b.example.com", uri}, uri, true},
		{"any DNS name", []string{"sync", "b.example.com"}, "b.example.com", true},
		{"the common name goes last", []string{"sync"}, "sync", true},
		{"nobody is listed", []string{"other"}, "sync", false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got, ok := Listed(row.listed)(cert); got != row.want || ok != row.ok {
				t.Fatalf("got %q, %v", got, ok)
			}
		})
	}
	if _, ok := Listed([]string{""})(&x509.Certificate{}); ok {
		t.Fatal("a certificate without a name is a caller")
	}
}

func TestATemplateNamesACertificateWithOneOfEachFact(t *testing.T) {
	cert := &x509.Certificate{
		URIs: []*url.URL{address(t, "urn:service:1")}, DNSNames: []string{"a.example.com", "b.example.com"},
		Subject: pkix.Name{CommonName: "sync", Organization: []string{"acme"}, OrganizationalUnit: []string{"a.b"}},
	}
	rows := []struct {
		template, want string
		ok             bool
	}{
		{"{common_name}", "sync", true},
		{"{organization}/{common_name}", "acme/sync", true},
		{"{uri}", "urn:service:1", true},
		{"svc-{common_name}-x", "svc-sync-x", true},
		{"{dns}", "", false},                               // two: which is meant?
		{"{email}", "", false},                             // none
		{"{organizational_unit}.{common_name}", "", false}, // could be another's name
	}
	for _, row := range rows {
		naming, err := FromCertificate(row.template)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := naming(cert); got != row.want || ok != row.ok {
			t.Errorf("%s: %q, %v; want %q, %v", row.template, got, ok, row.want, row.ok)
		}
	}
}

func TestTemplatesThatCouldMakeOneNameForTwoAreRefused(t *testing.T) {
	for template, part := range map[string]string{
		"":          "holds no fact",
		"all":       "holds no fact",
		"{a}{b}":    "two facts without a text",
		"x{a":       "not closed",
		"x}a":       "closed that was not opened",
		"x{}":       "no fact in it",
		"x{a b}":    "no fact in it",
		"\u00e9{a}": "cannot be part of a name",
	} {
		if _, err := ParseTemplate(template); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v, want %q", template, err, part)
		}
	}
	if _, err := FromCertificate("{sub}"); err == nil || !strings.Contains(err.Error(), `no fact "sub"; it has common_name`) {
		t.Errorf("a fact that certificates do not have: %v", err)
	}
}

func TestGroupsOfASPIFFEPath(t *testing.T) {
	id := spiffeid.RequireFromString("spiffe://example.org/ns/prod/sa/web")
	rows := []struct {
		name  string
		rules []string
		want  []string
	}{
		{"none", nil, nil},
		{"every beginning", []string{"prefixes"}, []string{
			"spiffe://example.org", "spiffe://example.org/ns", "spiffe://example.org/ns/prod", "spiffe://example.org/ns/prod/sa",
		}},
		{"a pattern", []string{"/ns/*"}, []string{"spiffe://example.org/ns/prod"}},
		{"the whole path too", []string{"/ns/*/sa/*", "/ns"}, []string{"spiffe://example.org/ns", "spiffe://example.org/ns/prod/sa/web"}},
		{"a pattern of something else", []string{"/k8s/*"}, nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			d, err := (&SPIFFE{Domains: []string{"example.org"}, Groups: row.rules}).compile()
			if err != nil {
				t.Fatal(err)
			}
			got, err := d.groups(id)
			if diff := cmp.Diff(row.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
		})
	}
}

func TestNamesOfATrustDomainAreReserved(t *testing.T) {
	d, err := (&SPIFFE{Domains: []string{"example.org"}}).compile()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"spiffe://example.org/x": true, "SPIFFE://Example.Org/x": true, "spiffe://example.org": true,
		"spiffe://example.com/x": false, "spiffe://example.org.evil/x": false, "example.org": false, "": false,
	} {
		if got := d.reserves(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestWhatIsWrongWithSPIFFEIsSaidAtOnce(t *testing.T) {
	err := (&SPIFFE{Domains: []string{"https://x"}, Groups: []string{"ns/*", "/n*"}}).Validate()
	for _, part := range []string{`trust domain "https://x"`, `"ns/*"`, `"/n*": * stands for a whole segment`} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v: want %s", err, part)
		}
	}
	if err := (&SPIFFE{}).Validate(); err == nil {
		t.Error("no trust domain is accepted")
	}
}

func TestIssuersWhoseCallersCouldBeMistakenAreRefused(t *testing.T) {
	good := func() Issuer {
		return Issuer{URL: "https://one.example.com", Audience: "holdfast", Name: "one:{sub}"}
	}
	with := func(f func(*Issuer)) Issuer { i := good(); f(&i); return i }
	second := with(func(i *Issuer) { i.URL, i.Name = "https://two.example.com", "two:{sub}" })
	rows := []struct {
		name, part string
		issuers    []Issuer
	}{
		{"two of their own", "", []Issuer{good(), second}},
		{"one twice", "listed twice", []Issuer{good(), good()}},
		{"names that begin alike", "could make the same name", []Issuer{good(), with(func(i *Issuer) { i.URL, i.Name = second.URL, "one:two:{sub}" })}},
		{"groups that begin alike", "could make the same name", []Issuer{good(), with(func(i *Issuer) { i.URL, i.Name, i.Groups = second.URL, "two:{sub}", []string{"one:{groups}"} })}},
		{"names without a beginning", "own in front", []Issuer{with(func(i *Issuer) { i.Name = "{sub}" })}},
		{"names like SPIFFE IDs", "not an issuer's", []Issuer{with(func(i *Issuer) { i.Name = "spiffe://{sub}" })}},
		{"names like unmapped ones", "not an issuer's", []Issuer{with(func(i *Issuer) { i.Name = "(unmapped) {sub}" })}},
		{"names that SPIFFE IDs could be", "not an issuer's", []Issuer{with(func(i *Issuer) { i.Name = "s{sub}" })}},
		{"the same in capitals", "not an issuer's", []Issuer{with(func(i *Issuer) { i.Name = "SPIFFE{sub}" })}},
		{"names that unmapped ones could be", "not an issuer's", []Issuer{with(func(i *Issuer) { i.Name = "({sub}" })}},
		{"groups that could be a trust domain's", "not an issuer's", []Issuer{with(func(i *Issuer) { i.Groups = []string{"sp{groups}"} })}},
		{"names that only look a little so", "", []Issuer{with(func(i *Issuer) { i.Name = "s:{sub}" })}},
		{"no audience", "audience is missing", []Issuer{with(func(i *Issuer) { i.Audience = "" })}},
		{"keys in the clear", "want an https URL", []Issuer{with(func(i *Issuer) { i.KeysURL = "http://one.example.com/keys" })}},
		{"nowhere to find keys", "give jwks_url", []Issuer{with(func(i *Issuer) { i.URL = "one" })}},
		{"a shared secret", `algorithm "HS256"`, []Issuer{with(func(i *Issuer) { i.Algorithms = []string{"HS256"} })}},
		{"no signature", `algorithm "none"`, []Issuer{with(func(i *Issuer) { i.Algorithms = []string{"none"} })}},
		{"too much leeway", "leeway", []Issuer{with(func(i *Issuer) { i.Leeway = MaxLeeway + 1 })}},
		{"keys believed for ever", "keys_max_age", []Issuer{with(func(i *Issuer) { i.KeysMaxAge = MaxKeysMaxAge + 1 })}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			err := Validate(row.issuers)
			if (row.part == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), row.part) {
				t.Errorf("got %v, want %q", err, row.part)
			}
		})
	}
}
