package identity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/bundle/spiffebundle"
	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/holdfast-io/holdfast/broker"
)

// SPIFFE says which trust domains name callers. The name of such a caller is its
// SPIFFE ID.
type SPIFFE struct {
	// Domains, e.g. "example.org"; at least one.
	Domains []string
	// Groups are patterns of leading path segments, e.g. "/ns/*": a caller whose
	// path begins so belongs to the group "spiffe://example.org/ns/prod". The word
	// "prefixes" stands for every beginning of the path, the trust domain itself
	// included. Empty: no groups.
	Groups []string
}

// everyPrefix is the pattern that stands for all beginnings of a path.
const everyPrefix = "prefixes"

// domains is a SPIFFE that was understood.
type domains struct {
	trusted  map[spiffeid.TrustDomain]bool
	prefixes bool
	patterns [][]string
}

func (c *SPIFFE) compile() (*domains, error) {
	d := &domains{trusted: map[spiffeid.TrustDomain]bool{}}
	if c == nil {
		return d, nil
	}
	var errs []error
	for _, text := range c.Domains {
		td, err := spiffeid.TrustDomainFromString(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("trust domain %q: %w; want a name such as example.org", text, err))
			continue
		}
		d.trusted[td] = true
	}
	if len(c.Domains) == 0 {
		errs = append(errs, errors.New("no trust domain is named; give those whose callers may come"))
	}
	for _, pattern := range c.Groups {
		segments := strings.Split(strings.TrimPrefix(pattern, "/"), "/")
		switch {
		case pattern == everyPrefix:
			d.prefixes = true
		case !strings.HasPrefix(pattern, "/") || spiffeid.ValidatePath(strings.ReplaceAll(pattern, "*", "x")) != nil:
			errs = append(errs, fmt.Errorf("group pattern %q: want %q, or leading segments of a path such as /ns/*", pattern, everyPrefix))
		case strings.Contains(strings.Join(withoutStars(segments), ""), "*"):
			errs = append(errs, fmt.Errorf("group pattern %q: * stands for a whole segment", pattern))
		default:
			d.patterns = append(d.patterns, segments)
		}
	}
	return d, errors.Join(errs...)
}

func withoutStars(segments []string) []string {
	var out []string
	for _, s := range segments {
		if s != "*" {
			out = append(out, s)
		}
	}
	return out
}

// Validate reports everything that is wrong with c.
func (c *SPIFFE) Validate() error {
	_, err := c.compile()
	return err
}

// claims reports whether the certificate says that it is of a trusted domain.
// Such a one is never believed because of another authority.
func (d *domains) claims(cert *x509.Certificate) bool {
	for _, u := range cert.URIs {
		if d.reserves(u.String()) {
			return true
		}
	}
	return false
}

// reserves reports whether the name has the form that only trusted domains give.
func (d *domains) reserves(name string) bool {
	const scheme = "spiffe://"
	if len(name) < len(scheme) || !strings.EqualFold(name[:len(scheme)], scheme) {
		return false
	}
	domain, _, _ := strings.Cut(name[len(scheme):], "/")
	for td := range d.trusted {
		if strings.EqualFold(domain, td.Name()) {
			return true
		}
	}
	return false
}

// identify verifies an X509-SVID against the bundle of its own trust domain.
func (d *domains) identify(s *state, chain []*x509.Certificate, at x509svid.VerifyOption) (*Identity, error) {
	id, chains, err := x509svid.Verify(chain, s.bundles, at)
	if err != nil {
		return nil, refused(fmt.Sprintf("the SPIFFE certificate is not believed (%v); connect again with a valid X509-SVID of a trust domain that the broker is configured for", err))
	}
	if id.Path() == "" {
		return nil, refused("the SPIFFE ID " + id.String() + " names a trust domain and no workload; register the workload under a path")
	}
	groups, err := d.groups(id)
	if err != nil {
		return nil, refused(err.Error() + "; register the workload under a shorter path")
	}
	return &Identity{Mapped: true, Caller: broker.Caller{
		Name: id.String(), Kind: broker.CallerSPIFFE, Groups: groups, NotAfter: lastEnd(chains),
	}}, nil
}

// groups returns the groups of a SPIFFE ID, sorted.
func (d *domains) groups(id spiffeid.ID) ([]string, error) {
	segments := strings.Split(strings.TrimPrefix(id.Path(), "/"), "/")
	if len(segments) > mostGroups {
		return nil, fmt.Errorf("the path of the SPIFFE ID has more than %d segments", mostGroups)
	}
	var all []string
	name := id.TrustDomain().IDString()
	// Each group begins with the one before it, so that they come out sorted.
	for n := 0; n <= len(segments); n++ {
		if n > 0 {
			name += "/" + segments[n-1]
		}
		if d.prefixes && n < len(segments) || d.matches(segments[:n]) {
			all = append(all, name)
		}
	}
	return all, nil
}

func (d *domains) matches(segments []string) bool {
	for _, p := range d.patterns {
		if len(p) != len(segments) {
			continue
		}
		match := true
		for i := range p {
			match = match && (p[i] == "*" || p[i] == segments[i])
		}
		if match {
			return true
		}
	}
	return false
}

// Bundle is what a trust domain's certificates are verified against.
type Bundle = *x509bundle.Bundle

// ParseBundle reads the bundle of a trust domain: certificates in PEM form, or a
// SPIFFE bundle document.
func ParseBundle(domain string, text []byte) (Bundle, error) {
	td, err := spiffeid.TrustDomainFromString(domain)
	if err != nil {
		return nil, fmt.Errorf("trust domain %q: %w", domain, err)
	}
	if strings.HasPrefix(strings.TrimSpace(string(text)), "{") {
		b, err := spiffebundle.Parse(td, text)
		if err != nil {
			return nil, fmt.Errorf("reading the SPIFFE bundle of %s: %w", domain, err)
		}
		return b.X509Bundle(), nil
	}
	b, err := x509bundle.Parse(td, text)
	if err != nil {
		return nil, fmt.Errorf("reading the bundle of %s: %w", domain, err)
	}
	if b.Empty() {
		return nil, fmt.Errorf("reading the bundle of %s: it holds no certificate in PEM form", domain)
	}
	return b, nil
}

// SetBundles begins a new epoch with other bundles of the trusted domains, if
// they differ. A domain without a bundle has no callers; bundles of other domains are ignored.
func (t *Trust) SetBundles(bundles ...Bundle) {
	set := x509bundle.NewSet()
	for _, b := range bundles {
		if t.domains.trusted[b.TrustDomain()] {
			set.Add(b.Clone())
		}
	}
	if !sameBundles(set, t.state.Load().bundles) {
		t.advance(func(s *state) { s.bundles = set })
	}
}

func sameBundles(a, b *x509bundle.Set) bool {
	if a.Len() != b.Len() {
		return false
	}
	for _, one := range a.Bundles() {
		if other, ok := b.Get(one.TrustDomain()); !ok || !one.Equal(other) {
			return false
		}
	}
	return true
}
