package e2e

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// The other tests prove something only if the counterpart does what it is said
// to do: every refresh rotates, and a spent token ends the grant.
func TestCounterpartRotatesAndEndsTheGrantOnReuse(t *testing.T) {
	callbacks := make(chan url.Values, 1)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/callback" {
			http.NotFound(w, r) // the browser's favicon
			return
		}
		callbacks <- r.URL.Query()
		_, _ = io.WriteString(w, `<title>Done</title><p id="done">thank you</p>`)
	}))
	t.Cleanup(front.Close)
	app := client{ID: "plain-client", Secret: "plain-secret-of-a-test"}
	p := startProvider(t, front.URL+"/callback", []string{"read:jira-work"}, nil, app)
	b := startBrowser(t)

	verifier := rand.Text() + rand.Text() // RFC 7636 section 4.1: at least 43 characters
	sum := sha256.Sum256([]byte(verifier))
	b.do(t, "opening the authorize URL", chromedp.Navigate(p.issuer+"/auth?"+url.Values{
		"client_id": {app.ID}, "redirect_uri": {front.URL + "/callback"}, "response_type": {"code"},
		"scope": {"openid offline_access read:jira-work"}, "prompt": {"consent"}, "state": {"s"},
		"code_challenge_method": {"S256"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])},
	}.Encode()))
	b.allow(t, "ada", "#done")

	callback := <-callbacks
	if callback.Get("code") == "" {
		t.Fatalf("the callback got no code, but error %q: %s", callback.Get("error"), callback.Get("error_description"))
	}
	first := p.token(t, app, url.Values{"grant_type": {"authorization_code"}, "code": {callback.Get("code")},
		"redirect_uri": {front.URL + "/callback"}, "code_verifier": {verifier}})
	if first.Refresh == "" || !strings.Contains(first.Scope, "read:jira-work") {
		t.Fatalf("code exchange answered status %d, error %q, scope %q; want a refresh token and the scope", first.Status, first.Error, first.Scope)
	}
	second := p.refresh(t, app, first.Refresh)
	if second.Refresh == "" || second.Refresh == first.Refresh {
		t.Fatal("a refresh did not rotate the refresh token")
	}
	if status, who := p.subject(t, second.Access); status != http.StatusOK || who != "ada" {
		t.Errorf("userinfo answered %d, %q; want 200, \"ada\"", status, who)
	}
	if reused := p.refresh(t, app, first.Refresh); reused.Error != "invalid_grant" {
		t.Errorf("a spent refresh token answered error %q, want invalid_grant", reused.Error)
	}
	if after := p.refresh(t, app, second.Refresh); after.Error != "invalid_grant" {
		t.Errorf("after a reuse the newest refresh token answered error %q, want invalid_grant: the grant must be gone", after.Error)
	}
	if n := len(p.exchanges(t, app.ID)); n != 4 {
		t.Errorf("the ledger shows %d token requests, want 4", n)
	}
	if n := p.grantsRevoked(t); n != 1 {
		t.Errorf("the ledger shows %d ended grants, want 1", n)
	}
}
