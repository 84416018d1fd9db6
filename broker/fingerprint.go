package broker

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"

	"github.com/holdfast-io/holdfast/secret"
)

// fingerprintPrefix names the way a fingerprint is made, so that another one may follow.
const fingerprintPrefix = "hf1:"

// fingerprint names an access token without giving it away: "hf1:" and the
// first 128 bits of an HMAC-SHA256 in lower-case hexadecimal digits. Its key
// comes from the store's root key: who has the audit record alone can not test
// whether a token that he guesses was handed out.
func (b *Broker) fingerprint(t secret.String) string {
	m := hmac.New(sha256.New, b.store.FingerprintKey())
	m.Write([]byte(t.Reveal()))
	return fingerprintPrefix + hex.EncodeToString(m.Sum(nil)[:16])
}

// printed is a fingerprint and the token that it is of.
type printed struct {
	of   secret.String
	text string
}

// fingerprintOf is the fingerprint of a token of the entry, made once: a token
// is handed out many times.
func (b *Broker) fingerprintOf(e *entry, t secret.String) string {
	// The same pointer is the same text, and a miss costs no more than an HMAC.
	if p := e.printed.Load(); p != nil && p.of == t {
		return p.text
	}
	p := &printed{of: t, text: b.fingerprint(t)}
	e.printed.Store(p)
	return p.text
}
