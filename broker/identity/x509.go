package identity

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
)

// Naming finds the caller's name in a verified certificate. Without ok the
// certificate belongs to no configured caller.
type Naming func(cert *x509.Certificate) (name string, ok bool)

// Listed finds the first of a certificate's SAN URIs, SAN DNS names and common
// name, in this order, that is among names. The strongest kind of name goes
// first, since a CA checks it best.
func Listed(names []string) Naming {
	known := make(map[string]bool, len(names))
	for _, n := range names {
		known[n] = n != ""
	}
	return func(cert *x509.Certificate) (string, bool) {
		for _, u := range cert.URIs {
			if known[u.String()] {
				return u.String(), true
			}
		}
		for _, name := range cert.DNSNames {
			if known[name] {
				return name, true
			}
		}
		return cert.Subject.CommonName, known[cert.Subject.CommonName]
	}
}

// certificateFacts are the facts of a certificate by name. A fact with several
// values makes no name: which of them to believe would be a guess.
var certificateFacts = map[string]func(*x509.Certificate) []string{
	"uri": func(c *x509.Certificate) []string {
		uris := make([]string, len(c.URIs))
		for i, u := range c.URIs {
			uris[i] = u.String()
		}
		return uris
	},
	"dns":                 func(c *x509.Certificate) []string { return c.DNSNames },
	"email":               func(c *x509.Certificate) []string { return c.EmailAddresses },
	"common_name":         func(c *x509.Certificate) []string { return some(c.Subject.CommonName) },
	"organization":        func(c *x509.Certificate) []string { return c.Subject.Organization },
	"organizational_unit": func(c *x509.Certificate) []string { return c.Subject.OrganizationalUnit },
	"subject_serial":      func(c *x509.Certificate) []string { return some(c.Subject.SerialNumber) },
}

func some(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// FromCertificate names every certificate by a template of its facts: uri, dns,
// email, common_name, organization, organizational_unit and subject_serial. One
// that lacks a fact, or has it twice, belongs to no caller.
func FromCertificate(template string) (Naming, error) {
	t, err := ParseTemplate(template)
	if err != nil {
		return nil, err
	}
	for _, fact := range t.Facts() {
		if certificateFacts[fact] == nil {
			known := make([]string, 0, len(certificateFacts))
			for k := range certificateFacts {
				known = append(known, k)
			}
			slices.Sort(known)
			return nil, fmt.Errorf("template %q: a certificate has no fact %q; it has %s", template, fact, strings.Join(known, ", "))
		}
	}
	return func(cert *x509.Certificate) (string, bool) {
		name, err := t.name(func(fact string) []string { return certificateFacts[fact](cert) })
		return name, err == nil
	}, nil
}
