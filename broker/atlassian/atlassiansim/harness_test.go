package atlassiansim

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-io/holdfast/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	jiraID, jiraSecret = "jira-client", "jira-secret-1"
	confID, confSecret = "conf-client", "conf-secret-1"
	callback           = "http://broker.example/oauth/callback"
	jiraScopes         = "read:jira-work read:me offline_access"
)

var start = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// testConfig has two apps, automatic consent and a clock that stands still
// until it is advanced.
func testConfig() Config {
	return Config{
		Apps: []App{
			{ClientID: jiraID, Name: "Acme Jira", Secrets: []secret.String{secret.New(jiraSecret)}, CallbackURL: callback,
				Scopes: []string{"read:jira-work", "write:jira-work", "read:me", "read:space:confluence"}, ServiceAccount: DefaultAccounts()[1].ID},
			{ClientID: confID, Name: "Acme Confluence", Secrets: []secret.String{secret.New(confSecret)}, CallbackURL: callback,
				Scopes: []string{"read:space:confluence", "read:me"}, Level: ResourceLevel},
		},
		Now:         func() time.Time { return start },
		AutoConsent: true,
	}
}

// bench is a simulator behind real HTTP and a client that does not follow redirects.
type bench struct {
	t    *testing.T
	sim  *Sim
	url  string
	http *http.Client
}

func newBench(t *testing.T, change ...func(*Config)) *bench {
	t.Helper()
	cfg := testConfig()
	for _, c := range change {
		c(&cfg)
	}
	sim, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(sim)
	client := &http.Client{
		Transport:     &http.Transport{DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(func() {
		sim.Close()
		client.CloseIdleConnections()
		srv.Close()
	})
	return &bench{t, sim, srv.URL, client}
}

// withBehaviour changes the switches of a bench.
func withBehaviour(set func(*Behaviour)) func(*Config) {
	return func(c *Config) {
		b := DefaultBehaviour()
		set(&b)
		c.Behaviour = &b
	}
}

// reply is an answer that was read to its end; err is what broke it.
type reply struct {
	status int
	header http.Header
	body   []byte
	err    error
}

func (b *bench) do(req *http.Request) reply {
	b.t.Helper()
	resp, err := b.http.Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, body, err}
}

func (b *bench) request(method, path, contentType, body string) reply {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return b.do(req)
}

// get calls an API endpoint with an access token.
func (b *bench) get(path, token string) reply {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.url+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return b.do(req)
}

// post sends a JSON token request.
func (b *bench) post(values map[string]string) reply {
	b.t.Helper()
	raw, err := json.Marshal(values)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.request(http.MethodPost, "/oauth/token", "application/json", string(raw))
}

// pair is a successful token answer.
type pair struct {
	Access    string          `json:"access_token"`
	Refresh   string          `json:"refresh_token"`
	ExpiresIn json.RawMessage `json:"expires_in"`
	Type      string          `json:"token_type"`
	Scope     string          `json:"scope"`
}

func (r reply) pair(t *testing.T) pair {
	t.Helper()
	var p pair
	if r.err != nil || r.status != http.StatusOK || json.Unmarshal(r.body, &p) != nil {
		t.Fatalf("want a token answer, got %d %s, error %v", r.status, r.body, r.err)
	}
	return p
}

// authorizeQuery is a valid authorization request.
func authorizeQuery(client, scope string) url.Values {
	return url.Values{
		"audience": {"api.atlassian.com"}, "client_id": {client}, "scope": {scope}, "redirect_uri": {callback},
		"response_type": {"code"}, "prompt": {"consent"}, "state": {"state-1"},
	}
}

// authorize sends an authorization request and returns where it leads.
func (b *bench) authorize(q url.Values) *url.URL {
	b.t.Helper()
	r := b.request(http.MethodGet, "/authorize?"+q.Encode(), "", "")
	u, err := url.Parse(r.header.Get("Location"))
	if r.err != nil || r.status != http.StatusFound || err != nil {
		b.t.Fatalf("want a redirect, got %d %s, error %v", r.status, r.body, r.err)
	}
	return u
}

func secretOf(client string) string {
	if client == confID {
		return confSecret
	}
	return jiraSecret
}

func codeRequest(client, code string) map[string]string {
	return map[string]string{
		"grant_type": "authorization_code", "client_id": client, "client_secret": secretOf(client),
		"code": code, "redirect_uri": callback,
	}
}

func refreshRequest(client, token string) map[string]string {
	return map[string]string{
		"grant_type": "refresh_token", "client_id": client, "client_secret": secretOf(client), "refresh_token": token,
	}
}

// consent makes a family of the Jira app.
func (b *bench) consent() pair {
	b.t.Helper()
	return b.consentOf(jiraID, authorizeQuery(jiraID, jiraScopes))
}

func (b *bench) consentOf(client string, q url.Values) pair {
	b.t.Helper()
	return b.post(codeRequest(client, b.authorize(q).Query().Get("code"))).pair(b.t)
}

func (b *bench) refresh(token string) reply {
	b.t.Helper()
	return b.post(refreshRequest(jiraID, token))
}

func (b *bench) advance(d time.Duration) {
	b.t.Helper()
	if err := b.sim.Advance(d); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) arm(f Fault) string {
	b.t.Helper()
	id, err := b.sim.AddFault(f)
	if err != nil {
		b.t.Fatal(err)
	}
	return id
}

// onlyFamily is the ledger's entry if there is exactly one.
func (b *bench) onlyFamily() FamilyEntry {
	b.t.Helper()
	l := b.sim.Ledger()
	if len(l.Families) != 1 {
		b.t.Fatalf("want one family, got %d", len(l.Families))
	}
	return l.Families[0]
}

// last exchange of a family.
func last(f FamilyEntry) Exchange { return f.Exchanges[len(f.Exchanges)-1] }

// wantRefused asserts today's usual answer for a dead refresh token.
func wantRefused(t *testing.T, r reply) {
	t.Helper()
	want := `{"error":"unauthorized_client","error_description":"refresh_token is invalid"}`
	if r.status != http.StatusForbidden || string(r.body) != want {
		t.Fatalf("want 403 %s, got %d %s, error %v", want, r.status, r.body, r.err)
	}
}

func contains(haystack []byte, needles ...string) bool {
	return !slices.ContainsFunc(needles, func(n string) bool { return !bytes.Contains(haystack, []byte(n)) })
}
