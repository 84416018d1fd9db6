package web

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

func TestEveryAnswerHasTheSecurityHeaders(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	provider := r.broker.provider
	for _, row := range []struct{ path, formAction string }{
		{"/connect/" + testLink, "'self' " + provider},
		{"/connect/unknown", "'self'"},
		{"/oauth/callback", "'self'"},
		{"/consents/cns_7q2m", "'self'"},
		{"/problems/internal", "'self'"},
		{"/nowhere", "'self'"},
		{loadAssets().url("pico.min.css"), "'self'"},
	} {
		p := b.stay().get(row.path)
		want := map[string]string{
			"Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action " + row.formAction +
				"; frame-ancestors 'none'; base-uri 'none'",
			"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
			"Cross-Origin-Opener-Policy": "same-origin", "Strict-Transport-Security": "max-age=31536000",
			"Cache-Control": "no-store",
		}
		if strings.HasPrefix(row.path, "/static/") {
			want["Cache-Control"] = "public, max-age=31536000, immutable"
		}
		got := make(map[string]string)
		for k := range want {
			got[k] = p.Header.Get(k)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", row.path, d)
		}
		if len(p.Header.Get("X-Request-Id")) != 16 {
			t.Errorf("%s: no request id", row.path)
		}
	}
}

// handlerAt is the handler for another public URL and provider, called without a listener.
func handlerAt(t testing.TB, public, provider string) (http.Handler, *fakeBroker) {
	t.Helper()
	u, err := url.Parse(public)
	if err != nil {
		t.Fatal(err)
	}
	f := newFakeBroker()
	f.provider = provider
	return New(Config{Broker: f, PublicURL: u, ProviderOrigin: provider, Now: func() time.Time { return testNow }}), f
}

func TestAProviderOnHTTPSMaySignInThroughOtherHTTPSOrigins(t *testing.T) {
	h, _ := handlerAt(t, "https://hold.example", "https://auth.atlassian.com")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "https://hold.example/connect/"+testLink, nil))
	if got := w.Header().Get("Content-Security-Policy"); !strings.Contains(got, "form-action 'self' https://auth.atlassian.com https:;") {
		t.Error(got)
	}
}

func TestCookieBindsTheConsentToOneBrowser(t *testing.T) {
	for _, row := range []struct{ public, begin, end string }{
		{
			"https://hold.example",
			"__Host-holdfast-consent-cns_7q2m=canary-cookie-1; Path=/; Max-Age=900; HttpOnly; Secure; SameSite=Lax",
			"__Host-holdfast-consent-cns_7q2m=canary-cookie-1; Path=/; Max-Age=600; HttpOnly; Secure; SameSite=Lax",
		},
		{
			"http://127.0.0.1:8080",
			"holdfast-consent-cns_7q2m=canary-cookie-1; Path=/; Max-Age=900; HttpOnly; SameSite=Lax",
			"holdfast-consent-cns_7q2m=canary-cookie-1; Path=/; Max-Age=600; HttpOnly; SameSite=Lax",
		},
	} {
		h, f := handlerAt(t, row.public, "https://auth.atlassian.com")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, row.public+"/connect/"+testLink, nil))
		if got := w.Header()["Set-Cookie"]; w.Code != http.StatusSeeOther || !cmp.Equal(got, []string{row.begin}) {
			t.Fatalf("%d, cookies %q", w.Code, got)
		}
		if hsts := w.Header().Get("Strict-Transport-Security"); (hsts != "") != strings.HasPrefix(row.public, "https") {
			t.Errorf("HSTS %q at %s", hsts, row.public)
		}
		open := cookieAfter(h, row.public, row.begin)
		f.consents[testLink].setStatus(storage.ConsentDone)
		if ended := cookieAfter(h, row.public, row.begin); open != "" || ended != row.end {
			t.Errorf("after an open consent's page %q, after a finished one's %q", open, ended)
		}
	}
}

func cookieAfter(h http.Handler, public, cookie string) string {
	r := httptest.NewRequest(http.MethodGet, public+"/consents/cns_7q2m", nil)
	r.Header.Set("Cookie", strings.SplitN(cookie, ";", 2)[0])
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Header().Get("Set-Cookie")
}

func TestCookieLifeIsBounded(t *testing.T) {
	for expiry, want := range map[time.Time]string{
		testNow.Add(24 * time.Hour): "Max-Age=3600", {}: "Max-Age=3600", testNow.Add(-time.Hour): "Max-Age=1;",
	} {
		w := httptest.NewRecorder()
		cookies{now: func() time.Time { return testNow }}.bind(w, "x", secret.New("v"), expiry)
		if got := w.Header().Get("Set-Cookie"); !strings.Contains(got, want) {
			t.Errorf("expiry %s: %s", expiry, got)
		}
	}
}

func TestAnotherWebsiteCannotPressTheButtons(t *testing.T) {
	r := newRig(t)
	for _, headers := range [][]string{
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
		{"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
		{"Sec-Fetch-Site", "", "Origin", "null"},
	} {
		for _, path := range []string{"/connect/" + testLink, "/consents/cns_7q2m/confirm"} {
			r.browser().do(http.MethodPost, path, "decision=accept", headers...).
				want(t, http.StatusForbidden, "This request came from a different website")
		}
	}
	if r.broker.asked != 0 {
		t.Error("a cross-origin request reached the broker")
	}
}

func TestThePublicOriginIsTrustedBehindAProxy(t *testing.T) {
	h, _ := handlerAt(t, "https://hold.example", "https://auth.atlassian.com")
	r := httptest.NewRequest(http.MethodPost, "http://10.0.0.7:8080/connect/"+testLink, nil)
	r.Header.Set("Origin", "https://hold.example")
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != http.StatusSeeOther {
		t.Errorf("got %d", w.Code)
	}
}

func TestWrongMethodsAndPathsHavePagesOfTheirOwn(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	for _, row := range []struct{ method, path, allow string }{
		{http.MethodPut, "/connect/" + testLink, "GET, HEAD, POST"},
		{http.MethodPost, "/oauth/callback", "GET, HEAD"},
		{http.MethodDelete, "/consents/cns_7q2m", "GET, HEAD"},
		{http.MethodGet, "/consents/cns_7q2m/confirm", "POST"},
	} {
		p := b.do(row.method, row.path, "", "Sec-Fetch-Site", "same-origin")
		p.want(t, http.StatusMethodNotAllowed, "This page cannot be used that way")
		if got := p.Header.Get("Allow"); got != row.allow {
			t.Errorf("%s %s: Allow %q, want %q", row.method, row.path, got, row.allow)
		}
	}
	for _, path := range []string{"/", "/connect", "/connect/a/b", "/consents/a%20b", "/static/" + loadAssets().version + "/pico.LICENSE.md", "/static/old/pico.min.css"} {
		b.get(path).want(t, http.StatusNotFound, "There is no such page")
	}
	b.get("/connect/"+strings.Repeat("x", maxLink+1)).want(t, http.StatusBadRequest, "This link cannot be used")
	b.get("/oauth/callback?state="+strings.Repeat("x", maxTarget)).want(t, http.StatusRequestURITooLong, "The address is too long")
	if r.broker.asked != 0 {
		t.Error("a malformed request reached the broker")
	}
}

func TestHeadOfTheCallbackSpendsNoCode(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	b.stay().consent()
	p := b.do(http.MethodHead, "/oauth/callback?code=canary-code&state=canary-state-1", "")
	if p.StatusCode != http.StatusOK || r.broker.exchanged != 0 {
		t.Errorf("%d, %d exchanges", p.StatusCode, r.broker.exchanged)
	}
}

func TestLogsHoldNoLinkCodeStateOrCookie(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	b.get("/connect/" + testLink)
	b.consent()
	b.do("CANARY-METHOD", "/connect/"+testLink, "")
	r.browser().get("/oauth/callback?code=canary-code&state=canary-state-1")
	log := r.log.String()
	for _, s := range []string{"canary", "CANARY", testLink, "cns_7q2m"} {
		if strings.Contains(log, s) {
			t.Errorf("the log holds %q: %s", s, log)
		}
	}
	if !strings.Contains(log, `"route":"GET /oauth/callback","status":303`) {
		t.Errorf("the callback is not in the log: %s", log)
	}
}

func TestAPanicEndsOnThePageAndItsValueNowhere(t *testing.T) {
	r := newRig(t)
	r.broker.panics = true
	p := r.browser().get("/connect/" + testLink)
	p.want(t, http.StatusInternalServerError, "Something went wrong here")
	if log := r.log.String(); strings.Contains(log+p.raw, "canary-panic") || !strings.Contains(log, "a page panicked") {
		t.Errorf("log: %s", log)
	}
}

func TestARedirectElsewhereThanTheProviderIsRefused(t *testing.T) {
	for _, where := range []string{"https://evil.example", "http://auth.atlassian.com", "https://auth.atlassian.com@evil.example", "//evil.example"} {
		h, f := handlerAt(t, "https://hold.example", "https://auth.atlassian.com")
		f.provider = where
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "https://hold.example/connect/"+testLink, nil))
		if w.Code != http.StatusInternalServerError || len(w.Header()["Set-Cookie"]) != 0 {
			t.Errorf("%s: %d", where, w.Code)
		}
	}
}

func TestPagesLinkOnlyToAssetsThatExist(t *testing.T) {
	r := newRig(t)
	b := r.browser()
	p := b.get("/connect/" + testLink)
	n := 0
	for _, l := range append(p.all("link"), p.all("img")...) {
		path := attr(l, "href") + attr(l, "src")
		a := b.get(path)
		if a.StatusCode != http.StatusOK || !strings.HasPrefix(path, "/static/") || a.Header.Get("Content-Type") == "" {
			t.Errorf("%s: %d", path, a.StatusCode)
		}
		n++
	}
	if n != 4 {
		t.Errorf("%d assets, want 4", n)
	}
	for _, s := range []string{"<script", " style=", "<style", "onclick"} {
		if strings.Contains(p.raw, s) {
			t.Errorf("the policy forbids %q", s)
		}
	}
}

func TestConfigReportsAllThatIsWrong(t *testing.T) {
	parse := func(s string) *url.URL { u, _ := url.Parse(s); return u }
	for _, row := range []struct {
		name string
		c    Config
		want []string
	}{
		{"right", Config{Broker: newFakeBroker(), PublicURL: parse("https://h.example/"), ProviderOrigin: "https://p.example"}, nil},
		{"empty", Config{}, []string{"Broker is missing", "public URL", "provider origin"}},
		{"path", Config{Broker: newFakeBroker(), PublicURL: parse("https://h.example/x"), ProviderOrigin: "https://p.example"}, []string{"public URL"}},
		{"scheme", Config{Broker: newFakeBroker(), PublicURL: parse("ftp://h.example"), ProviderOrigin: "https://p.example/authorize"}, []string{"public URL", "provider origin"}},
	} {
		err := row.c.Validate()
		if (err == nil) != (row.want == nil) {
			t.Errorf("%s: %v", row.name, err)
		}
		for _, s := range row.want {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%s: %v does not name %s", row.name, err, s)
			}
		}
	}
}

func TestServerRefusesHeadersBeyondItsLimit(t *testing.T) {
	h, _ := handlerAt(t, "http://127.0.0.1:8080", "https://auth.atlassian.com")
	s := httptest.NewUnstartedServer(nil)
	s.Config = NewServer(h, slog.New(slog.DiscardHandler))
	s.Start()
	defer s.Close()
	for size, want := range map[int]int{64 << 10: http.StatusOK, 2 * MaxHeaderBytes: http.StatusRequestHeaderFieldsTooLarge} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/connect/"+testLink, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Padding", strings.Repeat("x", size))
		res, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%d bytes of header: got %d, want %d", size, res.StatusCode, want)
		}
	}
	if c := s.Config; c.ReadHeaderTimeout == 0 || c.ReadTimeout == 0 || c.WriteTimeout == 0 || c.IdleTimeout == 0 {
		t.Error("a timeout is missing: a slow client could hold a connection for ever")
	}
}
