package web

import (
	"net/http"
	"regexp"
	"time"

	"github.com/holdfast-io/holdfast/secret"
)

const (
	cookiePrefix = "holdfast-consent-"
	// cookieMax bounds a cookie's life whatever the consent's own expiry is.
	cookieMax = time.Hour
	// cookieAfterEnd is how long a finished consent's page stays reloadable.
	// The cookie has no power by then: the broker takes nothing for a consent
	// in a final status.
	cookieAfterEnd = 10 * time.Minute
)

// consentID is what may stand in a cookie's name and in a path.
var consentID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// cookies binds consents to a browser: one cookie per consent, so that two
// consents in two tabs do not push each other out.
type cookies struct {
	secure bool
	now    func() time.Time
}

// name of the consent's cookie. __Host- makes browsers refuse it from a
// subdomain, from another path, and without TLS.
func (c cookies) name(id string) string {
	if c.secure {
		return "__Host-" + cookiePrefix + id
	}
	return cookiePrefix + id
}

// read returns the browser's cookie for the consent; empty: none.
func (c cookies) read(r *http.Request, id string) secret.String {
	if !consentID.MatchString(id) {
		return secret.String{}
	}
	k, err := r.Cookie(c.name(id))
	if err != nil {
		return secret.String{}
	}
	return secret.New(k.Value)
}

// bind sets the cookie until expiry, at most cookieMax from now.
func (c cookies) bind(w http.ResponseWriter, id string, value secret.String, expiry time.Time) {
	life := expiry.Sub(c.now())
	if expiry.IsZero() || life > cookieMax {
		life = cookieMax
	}
	c.set(w, id, value, max(life, time.Second))
}

// wither lets the cookie of a finished consent end soon.
func (c cookies) wither(w http.ResponseWriter, id string, value secret.String) {
	c.set(w, id, value, cookieAfterEnd)
}

func (c cookies) set(w http.ResponseWriter, id string, value secret.String, life time.Duration) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure follows the public URL: plain http is for loopback
		Name: c.name(id), Value: value.Reveal(), Path: "/", MaxAge: int(life / time.Second),
		Secure: c.secure, HttpOnly: true,
		// Lax, not Strict: the callback is a navigation that the provider starts.
		SameSite: http.SameSiteLaxMode,
	})
}
