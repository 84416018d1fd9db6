package identity

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Defaults and bounds of an Issuer.
const (
	DefaultLeeway = 30 * time.Second
	MaxLeeway     = 5 * time.Minute
	// DefaultKeysMaxAge bounds how long keys are believed that cannot be read again.
	DefaultKeysMaxAge = time.Hour
	MinKeysMaxAge     = 10 * time.Minute
	MaxKeysMaxAge     = 24 * time.Hour
)

// Algorithms that a token may be signed with if an Issuer allows them. All are
// asymmetric: who can verify a token can not make one.
var Algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// DefaultAlgorithms are those of an Issuer that names none.
var DefaultAlgorithms = []string{"RS256", "ES256"}

// Issuer is one whose bearer tokens name callers.
type Issuer struct {
	// URL as it stands in the claim iss. Required.
	URL string
	// Audience that a token must name: this broker. Required, since a token for
	// somebody else would otherwise let its receiver in here.
	Audience string
	// KeysURL of the issuer's JSON Web Key Set; empty: found by discovery at
	// URL/.well-known/openid-configuration. https only.
	KeysURL string
	// Client fetches the keys; nil: http.DefaultClient. It must not follow redirects to other schemes.
	Client *http.Client
	// Algorithms that tokens may be signed with; empty: DefaultAlgorithms.
	Algorithms []string
	// Name is the template of the caller's name. A fact is a claim's name, or a
	// JSON pointer (RFC 6901) to it. It begins with a text that no other issuer's does. Required.
	Name string
	// Groups are templates too; a claim that is a list makes a group of each member.
	Groups []string
	// Leeway is how far clocks may differ; 0: DefaultLeeway.
	Leeway time.Duration
	// KeysMaxAge is how long keys are believed while they cannot be fetched
	// again; 0: DefaultKeysMaxAge.
	KeysMaxAge time.Duration
}

// issuer is an Issuer that was understood.
type issuer struct {
	Issuer
	name   *Template
	groups []*Template
	keys   *keys
}

// reserves reports whether only this issuer makes names that begin like name.
func (i *issuer) reserves(name string) bool { return strings.HasPrefix(name, i.name.Prefix()) }

// Validate reports everything that is wrong with the issuers, each for itself
// and together.
func Validate(issuers []Issuer) error {
	_, err := compile(issuers)
	return err
}

func compile(list []Issuer) ([]*issuer, error) {
	var out []*issuer
	var errs []error
	for _, one := range list {
		i, err := one.compile()
		if err != nil {
			errs = append(errs, fmt.Errorf("issuer %q: %w", one.URL, err))
			continue
		}
		for _, other := range out {
			if err := apart(i, other); err != nil {
				errs = append(errs, err)
			}
		}
		out = append(out, i)
	}
	return out, errors.Join(errs...)
}

func (i Issuer) compile() (*issuer, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if i.URL == "" {
		bad("its URL is missing: give what stands in the claim iss")
	}
	if i.Audience == "" {
		bad("audience is missing: give the text that tokens for this broker carry, e.g. holdfast")
	}
	switch {
	case i.KeysURL != "" && !https(i.KeysURL):
		bad("jwks_url %q: want an https URL", i.KeysURL)
	case i.KeysURL == "" && !https(i.URL):
		bad("its URL is no https URL, so that its keys cannot be discovered: give jwks_url")
	}
	if len(i.Algorithms) == 0 {
		i.Algorithms = DefaultAlgorithms
	}
	for _, a := range i.Algorithms {
		if !slices.Contains(Algorithms, a) {
			bad("algorithm %q: want some of %s; others prove nothing, or to whoever can verify only", a, strings.Join(Algorithms, ", "))
		}
	}
	if i.Leeway == 0 {
		i.Leeway = DefaultLeeway
	}
	if i.Leeway < 0 || i.Leeway > MaxLeeway {
		bad("leeway %v: want at most %v", i.Leeway, MaxLeeway)
	}
	if i.KeysMaxAge == 0 {
		i.KeysMaxAge = DefaultKeysMaxAge
	}
	if i.KeysMaxAge < MinKeysMaxAge || i.KeysMaxAge > MaxKeysMaxAge {
		bad("keys_max_age %v: want %v to %v", i.KeysMaxAge, MinKeysMaxAge, MaxKeysMaxAge)
	}
	out := &issuer{Issuer: i}
	var err error
	if out.name, err = ownTemplate(i.Name); err != nil {
		errs = append(errs, err)
	}
	for _, g := range i.Groups {
		t, err := ownTemplate(g)
		if err != nil {
			errs = append(errs, err)
		}
		out.groups = append(out.groups, t)
	}
	return out, errors.Join(errs...)
}

// ownTemplate reads a template whose names cannot be mistaken for another source's.
func ownTemplate(text string) (*Template, error) {
	t, err := ParseTemplate(text)
	switch {
	case err != nil:
		return nil, err
	case t.Prefix() == "":
		return nil, fmt.Errorf("template %q: want a text of this issuer's own in front, such as \"ci:{sub}\", so that no caller of another kind has the same name", text)
	case alike(strings.ToLower(t.Prefix()), "spiffe:") || alike(t.Prefix(), UnmappedPrefix):
		return nil, fmt.Errorf("template %q: names that begin so are not an issuer's alone (SPIFFE IDs begin with %q, callers that nobody configured with %q); choose another text in front, such as \"ci:{sub}\"",
			text, "spiffe:", UnmappedPrefix)
	}
	return t, nil
}

// alike reports whether names behind a and behind b could be the same.
func alike(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }

// apart reports templates of two issuers that could make one name.
func apart(a, b *issuer) error {
	if a.URL == b.URL {
		return fmt.Errorf("issuer %q is listed twice; an issuer has one audience and one way to name its callers", a.URL)
	}
	for _, x := range append([]*Template{a.name}, a.groups...) {
		for _, y := range append([]*Template{b.name}, b.groups...) {
			if alike(x.Prefix(), y.Prefix()) {
				return fmt.Errorf("issuers %q and %q: templates %q and %q could make the same name; let neither begin like the other", a.URL, b.URL, x.text, y.text)
			}
		}
	}
	return nil
}

func https(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil
}
