package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/holdfast-io/holdfast/broker"
)

// longestToken that is looked at, in bytes.
const longestToken = 16 << 10

// ErrUnknownKey is returned by Bearer for a token whose key is not known yet but
// may be after the issuer's keys were read again: AwaitBearer waits for that.
var ErrUnknownKey = errors.New("identity: the token's key has not been read yet")

// Tokens reports whether bearer tokens name callers at all.
func (t *Trust) Tokens() bool { return len(t.issuers) > 0 }

// Run keeps the issuers' keys fresh until ctx ends; without it no token is believed.
func (t *Trust) Run(ctx context.Context) {
	done := make(chan struct{})
	for _, i := range t.issuers {
		go func() {
			defer func() { done <- struct{}{} }()
			i.keys.run(ctx)
		}()
	}
	<-ctx.Done()
	for range t.issuers {
		<-done
	}
}

// Bearer returns who shows the value of an authorization header. It never
// blocks. The error is ErrUnknownKey or a *broker.Error that says what is wrong,
// and holds nothing of the token.
func (t *Trust) Bearer(header string, now time.Time) (*Identity, error) {
	raw, err := bearerToken(header)
	if err != nil {
		return nil, err
	}
	key, epoch := tokenKey(raw), t.Epoch()
	id := t.cache.get(key, epoch)
	if id == nil {
		if id, err = t.verifyToken(raw, now); err != nil {
			return nil, err
		}
		t.cache.put(key, epoch, id)
	}
	if now.After(id.NotAfter) {
		return nil, refused("the token has expired; fetch a new one and call again")
	}
	return id, nil
}

// AwaitBearer is Bearer, but waits for the issuer's keys to be read if the
// token's key is unknown, until ctx ends, for 20 seconds at most.
func (t *Trust) AwaitBearer(ctx context.Context, header string, now time.Time) (*Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*keysTimeout)
	defer cancel()
	id, err := t.Bearer(header, now)
	for range 2 { // a read that was under way already may be too old
		if !errors.Is(err, ErrUnknownKey) {
			return id, err
		}
		raw, _ := bearerToken(header) // it was read above
		iss, _, _, malformed := t.peek(raw)
		if malformed != nil {
			return nil, malformed
		}
		if read := iss.keys.want(); read != nil {
			select {
			case <-read:
			case <-ctx.Done():
				return nil, keysUnavailable()
			}
		}
		id, err = t.Bearer(header, now)
	}
	if errors.Is(err, ErrUnknownKey) {
		return nil, unknownKey()
	}
	return id, err
}

func keysUnavailable() error {
	return &broker.Error{Reason: broker.ReasonKeyUnavailable, RetryAfter: keysGap,
		Message: "the keys of the token's issuer cannot be read now, so that the token cannot be verified; try again later"}
}

func unknownKey() error {
	return refused("the token is signed with a key that its issuer does not publish; fetch a new token, and see that the broker's jwks_url is that of the issuer")
}

// bearerToken cuts the token out of the header. The scheme's name is case-insensitive.
func bearerToken(header string) (string, error) {
	const scheme = "bearer "
	if len(header) < len(scheme) || !strings.EqualFold(header[:len(scheme)], scheme) {
		return "", refused("the authorization header is no bearer token; send \"Bearer\" and the token")
	}
	raw := header[len(scheme):]
	if len(raw) > longestToken {
		return "", refused(fmt.Sprintf("the token is longer than %d bytes; ask its issuer for one with fewer claims", longestToken))
	}
	return raw, nil
}

// peek reads what the token says of itself, of which nothing is believed yet,
// to find the issuer, the algorithm and the key that it must be verified with.
func (t *Trust) peek(raw string) (_ *issuer, alg, kid string, _ error) {
	malformed := refused("the authorization header holds no JSON Web Token; send \"Bearer\" and a signed token of a configured issuer")
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return nil, "", "", malformed
	}
	var head struct{ Alg, Kid string }
	var body struct {
		Issuer string `json:"iss"`
	}
	for i, into := range []any{&head, &body} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(text, into) != nil {
			return nil, "", "", malformed
		}
	}
	for _, i := range t.issuers {
		if i.URL == body.Issuer {
			return i, head.Alg, head.Kid, nil
		}
	}
	return nil, "", "", refused("the token is of an issuer that the broker is not configured for; fetch one of another issuer, or ask an operator")
}

// verifyToken verifies a token and makes its identity.
func (t *Trust) verifyToken(raw string, now time.Time) (*Identity, error) {
	iss, alg, kid, err := t.peek(raw)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(iss.Algorithms, alg) {
		return nil, refused("the token is not signed with an algorithm that the broker allows for its issuer; use one of " + strings.Join(iss.Algorithms, ", "))
	}
	set := iss.keys.known.Load()
	a := attempt{keys: set.keys, alg: alg, kid: kid}
	token, err := oidc.NewVerifier(iss.URL, &a, &oidc.Config{
		SupportedSigningAlgs: iss.Algorithms,
		// Looked at below, where a refusal can say what to do.
		SkipClientIDCheck: true, SkipExpiryCheck: true,
	}).Verify(context.Background(), raw)
	switch {
	case a.unknown && iss.keys.want() != nil:
		return nil, ErrUnknownKey
	case a.unknown && iss.keys.known.Load() != set:
		return t.verifyToken(raw, now) // they were read meanwhile, which happens every keysGap at most
	case a.unknown && len(a.keys) == 0:
		return nil, keysUnavailable()
	case a.unknown:
		return nil, unknownKey()
	case err != nil:
		return nil, refused("the token's signature or its form is wrong; fetch a new token")
	}
	return iss.identify(token, now)
}

// attempt is the oidc.KeySet of one verification.
type attempt struct {
	keys     []jose.JSONWebKey
	alg, kid string
	// unknown: no key that it may be signed with is among keys.
	unknown bool
}

// VerifySignature implements oidc.KeySet.
func (a *attempt) VerifySignature(_ context.Context, raw string) ([]byte, error) {
	jws, err := jose.ParseSigned(raw, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(a.alg)})
	if err != nil {
		return nil, err
	}
	a.unknown = true
	for i := range a.keys {
		key := &a.keys[i]
		if a.kid != "" && key.KeyID != a.kid || key.Algorithm != "" && key.Algorithm != a.alg {
			continue
		}
		payload, err := jws.Verify(key)
		if err == nil {
			a.unknown = false
			return payload, nil
		}
		a.unknown = a.unknown && a.kid == "" // else the key is known, and the signature not its own
	}
	return nil, errors.New("no key of the issuer verifies the signature")
}

// verifies reports whether a key is a public one, strong enough and meant to verify signatures.
func verifies(key *jose.JSONWebKey) bool {
	if !key.IsPublic() || !key.Valid() || key.Use != "" && key.Use != "sig" {
		return false
	}
	switch k := key.Key.(type) {
	case *rsa.PublicKey:
		return k.N.BitLen() >= leastRSA
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}

// identify makes the identity of a token whose signature was verified.
func (i *issuer) identify(token *oidc.IDToken, now time.Time) (*Identity, error) {
	var c claims
	if err := token.Claims(&c); err != nil {
		return nil, refused("the token's claims cannot be read; fetch a new token")
	}
	switch nbf, iat := c.time("nbf"), c.time("iat"); {
	case !slices.Contains(token.Audience, i.Audience):
		return nil, refused(fmt.Sprintf("the token is for another audience; fetch one for %q", i.Audience))
	case token.Expiry.IsZero() || token.Expiry.Unix() == 0:
		return nil, refused("the token never expires (it has no exp), which is not accepted; fetch one with an end")
	case now.After(token.Expiry.Add(i.Leeway)):
		return nil, refused("the token has expired; fetch a new one and call again")
	case now.Add(i.Leeway).Before(nbf), now.Add(i.Leeway).Before(iat):
		return nil, refused(fmt.Sprintf("the token is not valid yet by more than %v; compare the clocks of its issuer and of the broker", i.Leeway))
	}
	name, err := i.name.name(c.strings)
	if err != nil {
		return nil, refused(fmt.Sprintf("the token's claims make no caller's name: claim %v; ask an operator to compare them with the issuer's name in the broker's configuration", err))
	}
	groups, err := together(i.groups, c.strings)
	if err != nil {
		return nil, refused(fmt.Sprintf("the token's claims make no groups: claim %v; ask an operator to compare them with the issuer's groups in the broker's configuration", err))
	}
	return &Identity{Mapped: true, Caller: broker.Caller{
		Name: name, Kind: broker.CallerJWT, Groups: groups, NotAfter: token.Expiry.Add(i.Leeway),
	}}, nil
}

// claims of a token.
type claims map[string]any

// time is the NumericDate of a claim; zero if there is none.
func (c claims) time(name string) time.Time {
	seconds, ok := c[name].(float64)
	if !ok || seconds <= 0 || seconds > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}

// strings are the texts of the claim that a fact names: a claim of the top
// level, or a JSON pointer (RFC 6901) where it begins with a slash.
func (c claims) strings(fact string) []string {
	var at any = map[string]any(c)
	path := []string{fact}
	if strings.HasPrefix(fact, "/") {
		path = strings.Split(fact[1:], "/")
		for i, p := range path {
			path[i] = strings.ReplaceAll(strings.ReplaceAll(p, "~1", "/"), "~0", "~")
		}
	}
	for _, p := range path {
		object, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = object[p]
	}
	switch v := at.(type) {
	case string:
		return []string{v}
	case []any:
		var all []string
		for _, one := range v {
			text, ok := one.(string)
			if !ok {
				return nil
			}
			all = append(all, text)
		}
		return all
	}
	return nil
}
