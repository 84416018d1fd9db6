package broker

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/storage"
)

// link is what a connect link says. It is signed and expires, and making one
// writes nothing: a storm of CONSENT_REQUIRED errors leaves no trace in the store.
type link struct {
	ID      string          `json:"i"`
	Address storage.Address `json:"a"`
	App     string          `json:"p"`
	Scopes  []string        `json:"s"`
	Expires int64           `json:"e"` // Unix seconds
	Made    int64           `json:"m"` // Unix milliseconds
	By      string          `json:"b,omitempty"`
	Return  string          `json:"r,omitempty"`
}

// linkPurpose separates this use of the store's link key from any other.
const linkPurpose = "holdfast connect link v1\x00"

var b64 = base64.RawURLEncoding

func (b *Broker) signLink(l link) (string, error) {
	body, err := json.Marshal(l)
	if err != nil {
		return "", err
	}
	return b64.EncodeToString(body) + "." + b64.EncodeToString(b.linkMAC(body)), nil
}

func (b *Broker) linkMAC(body []byte) []byte {
	mac := hmac.New(sha256.New, b.store.LinkKey())
	mac.Write([]byte(linkPurpose))
	mac.Write(body)
	return mac.Sum(nil)
}

// openLink verifies a link's signature and expiry.
func (b *Broker) openLink(text string) (link, error) {
	bad := invalid("link", "this link is broken or was not made by this broker: ask for a new one")
	body64, mac64, ok := strings.Cut(text, ".")
	if !ok || len(text) > 16<<10 {
		return link{}, bad
	}
	body, err := b64.DecodeString(body64)
	if err != nil {
		return link{}, bad
	}
	mac, err := b64.DecodeString(mac64)
	if err != nil || !hmac.Equal(mac, b.linkMAC(body)) {
		return link{}, bad
	}
	var l link
	if err := json.Unmarshal(body, &l); err != nil {
		return link{}, bad
	}
	if b.now().After(time.Unix(l.Expires, 0)) {
		return link{}, invalid("link", "this link has expired: ask for a new one")
	}
	return l, nil
}

func (b *Broker) linkURL(l link) (string, error) {
	l.Made = b.now().UnixMilli()
	text, err := b.signLink(l)
	if err != nil {
		return "", internal("signing a connect link", err)
	}
	return b.cfg.PublicURL.JoinPath("connect", text).String(), nil
}

// linkFor makes a link for a new consent of an existing grant, for an error. It
// asks for what the grant has and what the app is configured for, never for
// what a caller wishes. Empty if the app is not configured any more. The union
// that a shared app needs is added when the link is opened: an error must not
// cost a listing.
func (b *Broker) linkFor(g *storage.Grant, by string) string {
	a := b.apps[g.App]
	if a == nil {
		return ""
	}
	url, err := b.linkURL(link{
		ID: newConsentID(), Address: g.Address, App: g.App, By: by,
		Scopes:  b.cfg.Provider.Profile().ConsentScopes(union(g.State.Access.Scopes, a.Scopes[g.Address.Product])),
		Expires: b.now().Add(b.cfg.LinkTTL).Unix(),
	})
	if err != nil {
		return ""
	}
	return url
}

func newConsentID() string { return "cns_" + strings.ToLower(rand.Text()) }

// union keeps the order of a and appends what only b has.
func union(a, b []string) []string {
	return append(append([]string(nil), a...), without(b, a)...)
}
