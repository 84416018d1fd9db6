package atlassiansim

import (
	"crypto/sha256"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWrongAuthorizationEndsOnTheProvidersErrorPage(t *testing.T) {
	cases := []struct{ name, field, value, description string }{
		{"unknown client", "client_id", "nobody", "Unknown client: nobody"},
		{"other callback", "redirect_uri", callback + "/", "Callback URL mismatch. " + callback + "/ is not in the list of allowed callback URLs"},
		{"other audience", "audience", "", `Parameter audience is "", want "api.atlassian.com"`},
		{"other response type", "response_type", "token", `Parameter response_type is "token", want "code"`},
		{"other prompt", "prompt", "none", `Parameter prompt is "none", want "consent"`},
		{"no state", "state", "", "Missing required parameter: state"},
		{"no scope", "scope", "", "Missing required parameter: scope"},
		{"scope of another app", "scope", "read:jira-work manage:everything", "Invalid scope: manage:everything"},
		{"openid", "scope", "read:jira-work openid", "Invalid scope: openid"},
		{"profile", "scope", "profile", "Invalid scope: profile"},
		{"email", "scope", "email", "Invalid scope: email"},
		{"half of PKCE", "code_challenge", "abc", "code_challenge and code_challenge_method (S256 or plain) belong together"},
		{"no fitting site", "sim_site", "nowhere", "No account has access to a fitting site"},
	}
	b := newBench(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			q := authorizeQuery(jiraID, jiraScopes)
			q.Set(c.field, c.value)
			u := b.authorize(q)
			want := url.Values{"error": {"unauthorized_client"}, "error_description": {c.description}}
			if d := cmp.Diff(want, u.Query()); d != "" || u.Path != "/error" || u.Host != "" {
				t.Fatalf("ended at %s (-want +got):\n%s", u, d)
			}
			page := b.request(http.MethodGet, u.String(), "", "")
			if page.status != http.StatusBadRequest || !contains([]byte(html.UnescapeString(string(page.body))), c.description) {
				t.Fatalf("the page does not show the description: %d %s", page.status, page.body)
			}
		})
	}
}

func TestManyScopesBreakTheGateway(t *testing.T) {
	b := newBench(t)
	q := authorizeQuery(jiraID, strings.Repeat("read:jira-work ", 80))
	r := b.request(http.MethodGet, "/authorize?"+q.Encode(), "", "")
	if r.status != http.StatusBadRequest || !strings.HasPrefix(r.header.Get("Content-Type"), "text/html") {
		t.Fatalf("want an HTML 400, got %d %s", r.status, r.header)
	}
}

func TestAutomaticConsent(t *testing.T) {
	b := newBench(t)
	q := authorizeQuery(jiraID, jiraScopes)
	u := b.authorize(q)
	if !strings.HasPrefix(u.String(), callback+"?") || u.Query().Get("state") != "state-1" || len(u.Query().Get("code")) != 1024 {
		t.Fatalf("ended at %s", u)
	}
	q.Set("sim_account", DefaultAccounts()[1].ID)
	q.Set("sim_site", DefaultSites()[2].CloudID)
	b.consentOf(jiraID, q)
	f := b.onlyFamily()
	got := []any{f.AccountID, slices.Contains(f.Sites, DefaultSites()[2].CloudID), f.ClientID, f.ConsentedAt}
	if d := cmp.Diff([]any{DefaultAccounts()[1].ID, true, jiraID, start}, got); d != "" {
		t.Fatalf("family (-want +got):\n%s", d)
	}
	q.Set("sim_consent", "deny")
	want := url.Values{"error": {"access_denied"}, "error_description": {"User did not authorize the request"}, "state": {"state-1"}}
	if d := cmp.Diff(want, b.authorize(q).Query()); d != "" {
		t.Fatalf("denied (-want +got):\n%s", d)
	}
	q.Set("sim_consent", "ask")
	if r := b.request(http.MethodGet, "/authorize?"+q.Encode(), "", ""); r.status != http.StatusOK || !contains(r.body, `id="accept"`) {
		t.Fatalf("sim_consent=ask does not ask: %d", r.status)
	}
	q.Set("sim_consent", "perhaps")
	if r := b.request(http.MethodGet, "/authorize?"+q.Encode(), "", ""); r.status != http.StatusBadRequest {
		t.Fatalf("an unknown sim_consent answers %d", r.status)
	}
}

func TestConsentHeader(t *testing.T) {
	b := newBench(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+"/authorize?"+authorizeQuery(jiraID, jiraScopes).Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Sim-Consent", "deny")
	if r := b.do(req); !strings.Contains(r.header.Get("Location"), "access_denied") {
		t.Fatalf("got %d %s", r.status, r.header.Get("Location"))
	}
}

func TestForgedDecisionEndsOnTheErrorPage(t *testing.T) {
	b := newBench(t)
	for field, value := range map[string]string{"redirect_uri": "http://evil.example/", "sim_account": "nobody", "sim_site": "nowhere"} {
		form := authorizeQuery(jiraID, jiraScopes)
		form.Set("decision", "accept")
		form.Set("sim_account", DefaultAccounts()[0].ID)
		form.Set("sim_site", DefaultSites()[0].CloudID)
		form.Set(field, value)
		r := b.request(http.MethodPost, "/authorize", "application/x-www-form-urlencoded", form.Encode())
		if !strings.HasPrefix(r.header.Get("Location"), "/error?") {
			t.Errorf("%s: got %d %s", field, r.status, r.header.Get("Location"))
		}
	}
}

// input matches the name and value of a hidden or radio input.
var input = regexp.MustCompile(`<input[^>]* name="([^"]+)"[^>]* value="([^"]*)"`)

// formOf collects the values of a page's form, radio buttons by their first.
func formOf(page []byte) url.Values {
	v := url.Values{}
	for _, m := range input.FindAllStringSubmatch(string(page), -1) {
		if name := m[1]; !v.Has(name) {
			v.Set(name, html.UnescapeString(m[2]))
		}
	}
	return v
}

func TestConsentByThePages(t *testing.T) {
	for _, c := range []struct {
		name, decision, site string
		want                 func(u *url.URL) bool
	}{
		{"accept", "accept", DefaultSites()[1].CloudID, func(u *url.URL) bool { return u.Query().Get("code") != "" }},
		{"deny", "deny", DefaultSites()[1].CloudID, func(u *url.URL) bool { return u.Query().Get("error") == "access_denied" }},
		{"site without the product", "accept", DefaultSites()[2].CloudID, func(u *url.URL) bool { return u.Path == "/error" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, func(c *Config) { c.AutoConsent = false })
			first := b.request(http.MethodGet, "/authorize?"+authorizeQuery(confID, "read:space:confluence offline_access").Encode(), "", "")
			if !contains(first.body, `id="account-0"`, `id="account-1"`, `id="continue"`, "Acme Confluence", "Ada Lovelace") {
				t.Fatalf("the account page lacks something: %s", first.body)
			}
			second := b.request(http.MethodGet, "/authorize?"+formOf(first.body).Encode(), "", "")
			if !contains(second.body, `id="site"`, `id="accept"`, `id="deny"`, "read:space:confluence", "Acme Automation", "https://acme.atlassian.net") ||
				contains(second.body, "acme-support") {
				t.Fatalf("the consent page lacks something, or offers a site without Confluence: %s", second.body)
			}
			form := formOf(second.body)
			form.Set("decision", c.decision)
			form.Set("sim_site", c.site)
			r := b.request(http.MethodPost, "/authorize", "application/x-www-form-urlencoded", form.Encode())
			u, err := url.Parse(r.header.Get("Location"))
			if err != nil || r.status != http.StatusFound || !c.want(u) {
				t.Fatalf("ended at %d %s", r.status, u)
			}
		})
	}
}

func TestPagesOfOtherOriginsCannotConsentOrTurnTheClock(t *testing.T) {
	b := newBench(t)
	for _, path := range []string{"/authorize", "/_sim/clock/advance"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+path, strings.NewReader(`{"by":"1h"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		if r := b.do(req); r.status != http.StatusForbidden {
			t.Errorf("%s answers %d", path, r.status)
		}
	}
	if !b.sim.Now().Equal(start) {
		t.Error("the clock moved")
	}
}

func TestPKCE(t *testing.T) {
	const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	sum := sha256.Sum256([]byte(verifier))
	for _, c := range []struct {
		name, method, challenge, verifier string
		status                            int
	}{
		{"S256", "S256", enc(sum[:]), verifier, 200},
		{"S256 with a wrong verifier", "S256", enc(sum[:]), verifier + "x", 403},
		{"S256 without verifier", "S256", enc(sum[:]), "", 403},
		{"plain", "plain", verifier, verifier, 200},
		{"none needed", "", "", verifier, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			q := authorizeQuery(jiraID, jiraScopes)
			if c.method != "" {
				q.Set("code_challenge", c.challenge)
				q.Set("code_challenge_method", c.method)
			}
			req := codeRequest(jiraID, b.authorize(q).Query().Get("code"))
			req["code_verifier"] = c.verifier
			if r := b.post(req); r.status != c.status {
				t.Fatalf("got %d %s, want %d", r.status, r.body, c.status)
			}
		})
	}
}

func TestLevelSaysHowManySitesAGrantHas(t *testing.T) {
	for _, c := range []struct {
		name   string
		level  Level
		sites  int
		second int
	}{
		{"account level: sites add up, for the older family too", AccountLevel, 2, 2},
		{"resource level: only the chosen one", ResourceLevel, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t, func(cfg *Config) { cfg.Apps[0].Level = c.level })
			older := b.consent()
			q := authorizeQuery(jiraID, jiraScopes)
			q.Set("sim_site", DefaultSites()[2].CloudID)
			newer := b.consentOf(jiraID, q)
			if got := len(siteIDs(t, b.get("/oauth/token/accessible-resources", older.Access))); got != c.sites {
				t.Errorf("the older family reaches %d sites, want %d", got, c.sites)
			}
			if got := len(siteIDs(t, b.get("/oauth/token/accessible-resources", newer.Access))); got != c.second {
				t.Errorf("the newer family reaches %d sites, want %d", got, c.second)
			}
		})
	}
}

func TestSecondConsentIsIndependent(t *testing.T) {
	b := newBench(t)
	first, second := b.consent(), b.consent()
	b.advance(time.Minute)
	first = b.refresh(first.Refresh).pair(t)
	b.advance(20 * time.Minute)
	b.refresh(second.Refresh).pair(t)
	b.refresh(first.Refresh).pair(t)
}
