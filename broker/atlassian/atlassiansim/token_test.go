package atlassiansim

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/secret"
)

// TestDocumentedErrors: the answers at the token endpoint, byte for byte.
func TestDocumentedErrors(t *testing.T) {
	const day = 24 * time.Hour
	dead := func(b *bench) map[string]string {
		first := b.consent()
		b.refresh(first.Refresh).pair(b.t)
		b.advance(10 * time.Minute)
		return refreshRequest(jiraID, first.Refresh)
	}
	live := func(b *bench) map[string]string { return refreshRequest(jiraID, b.consent().Refresh) }
	with := func(of func(*bench) map[string]string, field, value string) func(*bench) map[string]string {
		return func(b *bench) map[string]string {
			v := of(b)
			v[field] = value
			return v
		}
	}
	later := func(of func(*bench) map[string]string, d time.Duration) func(*bench) map[string]string {
		return func(b *bench) map[string]string {
			v := of(b)
			b.advance(d)
			return v
		}
	}
	freshCode := func(b *bench) map[string]string {
		return codeRequest(jiraID, b.authorize(authorizeQuery(jiraID, jiraScopes)).Query().Get("code"))
	}
	invalidGrant := func(b *Behaviour) { b.Refusal = "invalid_grant" }
	const refused = `{"error":"unauthorized_client","error_description":"refresh_token is invalid"}`
	const badCode = `{"error":"invalid_request","error_description":"authorization_code is invalid"}`
	cases := []struct {
		name   string
		set    func(*Behaviour)
		req    func(*bench) map[string]string
		status int
		body   string
	}{
		{"spent after the leeway", nil, dead, 403, refused},
		{"spent, documented dialect", invalidGrant, dead, 403, `{"error":"invalid_grant","error_description":"Unknown or invalid refresh token."}`},
		{"unknown token", nil, with(live, "refresh_token", "invented"), 403, refused},
		{"90 days idle", nil, later(live, 90*day), 403, refused},
		{"revoked by the user", nil, func(b *bench) map[string]string {
			v := live(b)
			if n, err := b.sim.RevokeAccess(DefaultAccounts()[0].ID, jiraID); n != 1 || err != nil {
				b.t.Fatalf("ended %d families, error %v", n, err)
			}
			return v
		}, 403, refused},
		{"another client's token", nil, func(b *bench) map[string]string { return refreshRequest(confID, b.consent().Refresh) }, 403,
			`{"error":"invalid_grant","error_description":"The client associated with this refresh token (jira-client) is different than the one sent in the request (conf-client)."}`},
		{"wrong secret", nil, with(live, "client_secret", "wrong"), 401, `{"error":"access_denied","error_description":"Unauthorized"}`},
		{"no secret", nil, with(live, "client_secret", ""), 401, `{"error":"access_denied","error_description":"Unauthorized"}`},
		{"unknown client", nil, with(live, "client_id", "nobody"), 401, `{"error":"access_denied","error_description":"Unauthorized"}`},
		{"wrong secret, invalid_client", func(b *Behaviour) { b.BadClient = "invalid_client" }, with(live, "client_secret", "wrong"), 401,
			`{"error":"invalid_client","error_description":"Client authentication failed"}`},
		{"wrong secret, incorrect parameters", func(b *Behaviour) { b.BadClient = "incorrect_parameters" }, with(live, "client_secret", "wrong"), 400,
			`{"error":"invalid_request","error_description":"Incorrect request parameters"}`},
		{"unknown grant type", nil, with(live, "grant_type", "password"), 403,
			`{"error":"unauthorized_client","error_description":"Grant type 'password' not allowed for the client."}`},
		{"client credentials not allowed", nil, func(*bench) map[string]string {
			return map[string]string{"grant_type": "client_credentials", "client_id": confID, "client_secret": confSecret}
		}, 403, `{"error":"unauthorized_client","error_description":"Grant type 'client_credentials' not allowed for the client."}`},
		{"invented code", nil, with(freshCode, "code", "invented"), 400, badCode},
		{"late code", nil, later(freshCode, 5*time.Minute), 400, badCode},
		{"used code", nil, func(b *bench) map[string]string {
			v := freshCode(b)
			b.post(v).pair(b.t)
			return v
		}, 400, badCode},
		{"code of another client", nil, func(b *bench) map[string]string {
			v := freshCode(b)
			v["client_id"], v["client_secret"] = confID, confSecret
			return v
		}, 400, badCode},
		{"code with another callback", nil, with(freshCode, "redirect_uri", callback+"?x=1"), 400, badCode},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			set := c.set
			if set == nil {
				set = func(*Behaviour) {}
			}
			b := newBench(t, withBehaviour(set))
			r := b.post(c.req(b))
			if r.status != c.status || string(r.body) != c.body || r.header.Get("Content-Type") != "application/json" {
				t.Fatalf("got %d %s\nwant %d %s", r.status, r.body, c.status, c.body)
			}
		})
	}
}

func TestRefusalsThatAreNotTheTokensLeaveTheFamilyAlone(t *testing.T) {
	b := newBench(t)
	p := b.consent()
	for field, value := range map[string]string{"client_secret": "wrong", "client_id": "nobody", "grant_type": "password"} {
		v := refreshRequest(jiraID, p.Refresh)
		v[field] = value
		b.post(v)
	}
	b.post(refreshRequest(confID, p.Refresh))
	b.refresh(p.Refresh).pair(t)
}

func TestBodies(t *testing.T) {
	form := func(v map[string]string) string {
		q := url.Values{}
		for k, x := range v {
			q.Set(k, x)
		}
		return q.Encode()
	}
	b := newBench(t)
	v := refreshRequest(jiraID, b.consent().Refresh)
	for _, c := range []struct {
		name, contentType, body string
		status                  int
	}{
		{"form", "application/x-www-form-urlencoded", form(v), 200},
		{"form with a charset", "application/x-www-form-urlencoded; charset=utf-8", form(v), 200},
		{"form with a parameter twice", "application/x-www-form-urlencoded", form(v) + "&client_id=x", 400},
		{"broken form", "application/x-www-form-urlencoded", "%zz", 400},
		{"broken JSON", "application/json", `{"grant_type":`, 400},
		{"no content type", "", form(v), 400},
		{"too long", "application/json", `{"x":"` + strings.Repeat("x", maxBody) + `"}`, 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := b.request(http.MethodPost, "/oauth/token", c.contentType, c.body); r.status != c.status {
				t.Fatalf("got %d %s, want %d", r.status, r.body, c.status)
			}
		})
	}
	if r := b.request(http.MethodGet, "/oauth/token", "", ""); r.status != http.StatusMethodNotAllowed {
		t.Errorf("GET answers %d", r.status)
	}
	if got := b.sim.Ledger().Posts(); got != 8 {
		t.Errorf("the ledger counts %d POSTs, want 8", got)
	}
}

func TestOfflineAccessYieldsTheRefreshToken(t *testing.T) {
	b := newBench(t)
	p := b.consentOf(jiraID, authorizeQuery(jiraID, "read:jira-work"))
	if p.Refresh != "" || p.Access == "" || p.Scope != "read:jira-work" {
		t.Fatalf("got a refresh token of %d bytes, scope %q", len(p.Refresh), p.Scope)
	}
	if f := b.onlyFamily(); f.Stranded || len(f.LiveRefresh) != 0 {
		t.Fatalf("got %+v", f)
	}
}

func TestClientCredentials(t *testing.T) {
	b := newBench(t)
	p := b.post(map[string]string{"grant_type": "client_credentials", "client_id": jiraID, "client_secret": jiraSecret}).pair(t)
	if p.Refresh != "" || string(p.ExpiresIn) != "3600" {
		t.Fatalf("got a refresh token of %d bytes, expires_in %s", len(p.Refresh), p.ExpiresIn)
	}
	if r := b.get("/me", p.Access); !contains(r.body, DefaultAccounts()[1].ID) {
		t.Fatalf("the token is not the service account's: %s", r.body)
	}
	if ids := siteIDs(t, b.get("/oauth/token/accessible-resources", p.Access)); len(ids) != 3 {
		t.Fatalf("got sites %v", ids)
	}
}

func TestTwoSecretsAreValidInTurn(t *testing.T) {
	b := newBench(t)
	p := b.consent()
	use := func(s string) reply {
		v := maps.Clone(refreshRequest(jiraID, p.Refresh))
		v["client_secret"] = s
		return b.post(v)
	}
	if err := b.sim.SetSecrets(jiraID, secret.New(jiraSecret), secret.New("jira-secret-2")); err != nil {
		t.Fatal(err)
	}
	use(jiraSecret).pair(t)
	use("jira-secret-2").pair(t)
	if err := b.sim.SetSecrets(jiraID, secret.New("jira-secret-2")); err != nil {
		t.Fatal(err)
	}
	if r := use(jiraSecret); r.status != http.StatusUnauthorized {
		t.Fatalf("the old secret answers %d", r.status)
	}
	use("jira-secret-2").pair(t)
}

func TestLifetimeLimits(t *testing.T) {
	const day = 24 * time.Hour
	cases := []struct {
		name  string
		set   func(*Behaviour)
		gaps  []time.Duration
		alive bool
		why   string
	}{
		{"exchanges reset the idle limit", nil, []time.Duration{89 * day, 89 * day}, true, ""},
		{"idle for 90 days", nil, []time.Duration{89 * day, 90 * day}, false, EndIdle},
		{"idle limit off", func(b *Behaviour) { b.IdleSeconds = 0 }, []time.Duration{364 * day}, true, ""},
		{"rotation does not extend the absolute limit", nil, []time.Duration{80 * day, 80 * day, 80 * day, 80 * day, 45 * day}, false, EndAbsolute},
		{"absolute limit off", func(b *Behaviour) { b.AbsoluteSeconds = 0 }, []time.Duration{80 * day, 80 * day, 80 * day, 80 * day, 80 * day}, true, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			set := c.set
			if set == nil {
				set = func(*Behaviour) {}
			}
			b := newBench(t, withBehaviour(set))
			token, r := b.consent().Refresh, reply{}
			for i, gap := range c.gaps {
				b.advance(gap)
				if r = b.refresh(token); i < len(c.gaps)-1 {
					token = r.pair(t).Refresh
				}
			}
			if c.alive {
				r.pair(t)
			} else {
				wantRefused(t, r)
			}
			if why := b.onlyFamily().EndedWhy; why != c.why {
				t.Fatalf("ended by %q, want %q", why, c.why)
			}
		})
	}
}

func TestLateReuseEndsWhatTheSwitchSays(t *testing.T) {
	for _, c := range []struct {
		late  string
		alive bool
	}{{"family", true}, {"client", false}} {
		t.Run(c.late, func(t *testing.T) {
			b := newBench(t, withBehaviour(func(x *Behaviour) { x.LateReuse = c.late }))
			first, sibling := b.consent(), b.consent()
			other := b.consentOf(confID, authorizeQuery(confID, "read:space:confluence offline_access"))
			q := authorizeQuery(jiraID, jiraScopes)
			q.Set("sim_account", DefaultAccounts()[1].ID)
			stranger := b.consentOf(jiraID, q)
			b.refresh(first.Refresh).pair(t)
			b.advance(11 * time.Minute)
			wantRefused(t, b.refresh(first.Refresh))
			if r := b.refresh(sibling.Refresh); (r.status == http.StatusOK) != c.alive {
				t.Errorf("the other family of that account and client answers %d", r.status)
			}
			b.post(refreshRequest(confID, other.Refresh)).pair(t)
			b.refresh(stranger.Refresh).pair(t)
		})
	}
}

func TestTokenSizes(t *testing.T) {
	for _, n := range []int{256, 1024, 65536} {
		b := newBench(t, withBehaviour(func(x *Behaviour) { x.TokenBytes = n }))
		p := b.refresh(b.consent().Refresh).pair(t)
		if len(p.Access) != n || len(p.Refresh) != n || strings.Count(p.Access, ".") != 2 {
			t.Errorf("want %d bytes in three parts, got %d and %d", n, len(p.Access), len(p.Refresh))
		}
		if r := b.get("/me", p.Access); r.status != http.StatusOK {
			t.Errorf("a token of %d bytes answers %d at the API", n, r.status)
		}
	}
}
