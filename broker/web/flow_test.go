package web

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/storage"
)

func TestConnectPageSaysWhatIsGrantedAndChangesNothing(t *testing.T) {
	r := newRig(t)
	c := r.broker.consents[testLink]
	c.view.Warning, c.view.Reconsent = "The app is shared with Confluence.", true
	b := r.browser()
	p := b.get("/connect/" + testLink)
	p.want(t, http.StatusOK, "Allow access to Jira?",
		"acme", "automation", "jira-app", "Atlassian", "Create and edit issues in Jira", "write:jira-work",
		"Keep access while you are away", "the refresh token, belongs to this Holdfast server",
		"The app is shared with Confluence.", "A permission for this exists already",
		strings.TrimPrefix(r.broker.provider, "http://"), "3 November 2026, 14:30 UTC")
	forms := p.all("form")
	if len(forms) != 1 || attr(forms[0], "method") != "post" || attr(forms[0], "action") != "/connect/"+testLink {
		t.Fatalf("want one form that posts to the link: %s", p.raw)
	}
	if buttons := p.all("button"); len(buttons) != 1 || textOf(buttons[0]) != "Continue to Atlassian" {
		t.Fatal("want one button, Continue to Atlassian")
	}
	if h := b.do(http.MethodHead, "/connect/"+testLink, ""); h.StatusCode != http.StatusOK || h.raw != "" || len(h.Cookies()) != 0 {
		t.Errorf("HEAD gave %d with %d bytes", h.StatusCode, len(h.raw))
	}
	if r.broker.begun != 0 || len(p.Cookies()) != 0 {
		t.Error("looking at the connect page began a consent")
	}
}

func TestConsentEndsOnAPageWithoutCodeAndStateAndReloadsExchangeOnce(t *testing.T) {
	r := newRig(t)
	r.broker.consents[testLink].outcome.Sites = []storage.Site{{CloudID: "c1", Name: "Acme", URL: "https://acme.atlassian.net"}}
	r.broker.consents[testLink].outcome.ReturnURL = "https://portal.acme.example/done"
	r.broker.consents[testLink].outcome.Account = "5b10a2844c20165700ede21g"
	b := r.browser()
	p := b.consent()
	p.want(t, http.StatusOK, "Permission granted", "acme", "automation", "Jira", "https://acme.atlassian.net", "Account that consented", "5b10a2844c20165700ede21g")
	if got, want := p.Request.URL.String(), r.base+"/consents/cns_7q2m"; got != want {
		t.Errorf("the browser ended at %s, want %s", got, want)
	}
	if a := p.all("a"); len(a) != 1 || attr(a[0], "href") != "https://portal.acme.example/done" {
		t.Error("the return link is missing")
	}
	b.get("/consents/cns_7q2m").want(t, http.StatusOK, "Permission granted")
	b.get("/oauth/callback?code=canary-code&state=canary-state-1").want(t, http.StatusOK, "Permission granted")
	if r.broker.exchanged != 1 {
		t.Errorf("%d exchanges, want 1", r.broker.exchanged)
	}
	b.get("/connect/"+testLink).want(t, http.StatusOK, "Permission granted", "This link has been used")
}

func TestAUsedLinkBeginsNothing(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	b.consent()
	p := b.consent()
	p.want(t, http.StatusBadRequest, "This link cannot be used", "this link was used already")
	if a := p.all("a"); len(a) != 1 || attr(a[0], "href") != "/connect/"+testLink || r.broker.begun != 1 {
		t.Error("want a way back to the link and no second consent")
	}
}

func TestDecliningAtTheProviderGrantsNothing(t *testing.T) {
	r := newRig(t)
	r.answer = "error=access_denied&error_description=%3Cscript%3E"
	p := r.browser().consent()
	p.want(t, http.StatusForbidden, "Nothing was granted")
	if strings.Contains(p.raw, "access_denied") || strings.Contains(p.raw, "script") {
		t.Error("the provider's words are on the page")
	}
}

func TestAnotherBrowserSeesNeitherCallbackNorResult(t *testing.T) {
	r := newRig(t)
	r.broker.consents[testLink].outcome.Account = "5b10a2844c20165700ede21g"
	victim := r.browser()
	if res := victim.stay().consent(); res.StatusCode != http.StatusSeeOther {
		t.Fatalf("got %d", res.StatusCode)
	}
	stranger := r.browser()
	p := stranger.get("/oauth/callback?code=canary-code&state=canary-state-1")
	p.want(t, http.StatusForbidden, "This consent belongs to a different browser", "did not press Continue yourself")
	if u := p.Request.URL.String(); strings.Contains(u, "canary") {
		t.Errorf("code or state stayed in the address: %s", u)
	}
	asked := r.broker.asked
	known, unknown := stranger.get("/consents/cns_7q2m"), stranger.get("/consents/cns_none")
	known.want(t, http.StatusForbidden, "This consent belongs to a different browser")
	unknown.want(t, http.StatusForbidden, "This consent belongs to a different browser")
	stranger.do(http.MethodPost, "/consents/cns_7q2m/confirm", "decision=accept").
		want(t, http.StatusForbidden, "This consent belongs to a different browser")
	if strings.Contains(known.raw, "acme") || strings.Contains(known.raw, "5b10") || r.broker.asked != asked || r.broker.exchanged != 0 {
		t.Error("a browser without the cookie reached the broker or learnt whose consent it is")
	}
}

func TestAForgedCookieIsTheBrokersToRefuse(t *testing.T) {
	r := newRig(t)
	r.browser().stay().consent()
	p := r.browser().do(http.MethodGet, "/consents/cns_7q2m", "", "Cookie", "__Host-holdfast-consent-cns_7q2m=forged")
	p.want(t, http.StatusForbidden, "This consent belongs to a different browser")
}

func TestConfirmationListsTheLossAndTakesEitherAnswer(t *testing.T) {
	for _, row := range []struct {
		decision string
		code     int
		heading  string
	}{
		{"accept", http.StatusOK, "Permission granted"},
		{"discard", http.StatusOK, "The new permission was discarded"},
	} {
		r := newRig(t)
		c := r.broker.consents[testLink]
		c.afterExchange = storage.ConsentConfirm
		c.outcome.LostScopes = []string{"write:jira-work"}
		c.outcome.LostSites = []storage.Site{{CloudID: "c2", Name: "Acme Labs", URL: "https://labs.atlassian.net"}}
		b := r.browser()
		p := b.consent()
		p.want(t, http.StatusOK, "Confirm what would be lost", "Create and edit issues in Jira", "Acme Labs", "Nothing has changed yet")
		var values []string
		for _, n := range p.all("button") {
			values = append(values, attr(n, "name")+"="+attr(n, "value"))
		}
		if d := cmp.Diff([]string{"decision=discard", "decision=accept"}, values); d != "" {
			t.Errorf("buttons: %s", d)
		}
		action := attr(p.all("form")[0], "action")
		b.do(http.MethodPost, action, "").want(t, http.StatusBadRequest, "The decision did not arrive")
		b.do(http.MethodPost, action, "decision=accept&x="+strings.Repeat("x", 2*maxBody)).
			want(t, http.StatusBadRequest, "The decision did not arrive")
		b.do(http.MethodPost, action, "decision="+row.decision).want(t, row.code, row.heading)
		// A second press, of either button, changes nothing any more.
		b.do(http.MethodPost, action, "decision=discard").want(t, row.code, row.heading)
		b.do(http.MethodPost, action, "decision=accept").want(t, row.code, row.heading)
		r.broker.fail["ConfirmConsent"] = &broker.Error{Reason: broker.ReasonInvalidRequest, Message: "not now"}
		b.do(http.MethodPost, action, "decision=accept").want(t, http.StatusConflict, "There is nothing to decide any more")
	}
}

func TestAnExchangeUnderWayRefreshesItself(t *testing.T) {
	r := newRig(t)
	r.broker.consents[testLink].afterExchange = storage.ConsentExchanging
	b := r.browser()
	p := b.consent()
	p.want(t, http.StatusAccepted, "Still working")
	if !refreshes(p) {
		t.Error("the page does not load itself again")
	}
	r.broker.consents[testLink].setStatus(storage.ConsentDone)
	if p = b.get("/consents/cns_7q2m"); refreshes(p) {
		t.Error("a finished consent's page goes on loading itself")
	}
	p.want(t, http.StatusOK, "Permission granted")
}

func refreshes(p *reply) bool {
	for _, m := range p.all("meta") {
		if attr(m, "http-equiv") == "refresh" {
			return true
		}
	}
	return false
}

func TestAnUnavailableBrokerKeepsTheCallbackForAnotherTry(t *testing.T) {
	r := newRig(t)
	r.broker.fail["FinishConsent"] = &broker.Error{Reason: broker.ReasonStoreUnavailable, Message: "the store is away", RetryAfter: 2500e6}
	b := r.browser()
	p := b.consent()
	p.want(t, http.StatusServiceUnavailable, "Not available at the moment", "tries again by itself")
	if p.Header.Get("Retry-After") != "3" || !refreshes(p) || p.Request.URL.Path != "/oauth/callback" {
		t.Errorf("Retry-After %q at %s", p.Header.Get("Retry-After"), p.Request.URL.Path)
	}
	delete(r.broker.fail, "FinishConsent")
	b.get(p.Request.URL.RequestURI()).want(t, http.StatusOK, "Permission granted")
}
