package atlassian_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
)

const callback = "http://broker.example/oauth/callback"

var app = atlassian.Credentials{ClientID: "jira-client", Secret: secret.New("jira-secret")}

// against returns the simulator behind real HTTP and a Provider that has
// Atlassian's profile but for the hosts.
func against(t *testing.T, options atlassian.Options) (*atlassiansim.Sim, *atlassian.Provider) {
	t.Helper()
	sim, err := atlassiansim.New(atlassiansim.Config{AutoConsent: true, Apps: []atlassiansim.App{{
		ClientID: app.ClientID, Secrets: []secret.String{app.Secret}, CallbackURL: callback,
		Scopes: []string{"read:jira-work", "read:me"},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(sim)
	t.Cleanup(s.Close)
	t.Cleanup(sim.Close)
	profile, err := atlassian.LoadProfile("atlassian")
	if err != nil {
		t.Fatal(err)
	}
	profile.AuthorizeURL, profile.TokenURL = s.URL+"/authorize", s.URL+"/oauth/token"
	profile.ResourcesURL, profile.AccountURL = s.URL+"/oauth/token/accessible-resources", s.URL+"/me"
	profile.RevokeURL = s.URL + "/oauth/revoke"
	p, err := atlassian.New(profile, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return sim, p
}

// consent goes the way of a browser whose person accepts, and exchanges the code.
func consent(t *testing.T, p *atlassian.Provider) family.Outcome {
	t.Helper()
	verifier := atlassian.NewVerifier()
	target := p.AuthorizeURL(atlassian.AuthorizeRequest{ClientID: app.ClientID, RedirectURI: callback, State: "s1",
		Scopes: p.Profile().ConsentScopes([]string{"read:jira-work"}), Verifier: verifier})
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(must(http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	back, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || back.Query().Get("state") != "s1" || back.Query().Get("code") == "" {
		t.Fatalf("HTTP %d, sent to %s", resp.StatusCode, resp.Header.Get("Location"))
	}
	return p.Exchange(t.Context(), app, atlassian.Code{
		Code: secret.New(back.Query().Get("code")), Verifier: verifier, RedirectURI: callback}, nil)
}

func must(r *http.Request, err error) *http.Request {
	if err != nil {
		panic(err)
	}
	return r
}

func TestConsentToRevocation(t *testing.T) {
	sim, p := against(t, atlassian.Options{})
	first := consent(t, p)
	if first.Class != family.Settled || first.Pair.Refresh.Empty() {
		t.Fatalf("got %s %q", first.Class, first.Code)
	}
	second := p.Refresh(t.Context(), app, first.Pair.Refresh, nil)
	if second.Class != family.Settled || second.Pair.Refresh.Equal(first.Pair.Refresh) || second.Pair.ExpiresIn != time.Hour {
		t.Fatalf("got %s %q", second.Class, second.Code)
	}
	if diff := cmp.Diff([]string{"jira"}, p.Products(second.Pair.Scopes)); diff != "" {
		t.Error(diff)
	}
	account, err := p.Account(t.Context(), second.Pair.Access)
	if err != nil || account.ID == "" {
		t.Errorf("account %v, %v", account, err)
	}
	sites, err := p.Resources(t.Context(), second.Pair.Access)
	if err != nil || len(p.SitesOf("jira", sites)) != 1 {
		t.Errorf("sites %v, %v", sites, err)
	}
	if v := p.Probe(t.Context(), second.Pair.Access); v != atlassian.Accepted {
		t.Errorf("a live token: verdict %d", v)
	}
	if r := p.Revoke(t.Context(), app, second.Pair.Refresh); r != atlassian.RevocationUnverified {
		t.Errorf("revocation %s", r)
	}
	if v := p.Probe(t.Context(), second.Pair.Access); v != atlassian.Rejected {
		t.Errorf("a revoked token: verdict %d", v)
	}
	if out := p.Refresh(t.Context(), app, second.Pair.Refresh, nil); out.Class != family.Refused {
		t.Errorf("a revoked token: %s %q", out.Class, out.Code)
	}
	if posts := sim.Ledger().TokenPosts; posts != 3 {
		t.Errorf("%d POSTs, want 3", posts)
	}
}

// TestSimulatedFaults asks of each fault its class, one POST, and, wherever
// the outcome leaves the old token to be sent again, that sending it works.
func TestSimulatedFaults(t *testing.T) {
	oauthError := func(status int, code, description string) atlassiansim.Fault {
		return atlassiansim.Fault{Kind: atlassiansim.FaultOAuthError, Status: status, Error: code, ErrorDescription: description}
	}
	cases := []struct {
		name  string
		fault atlassiansim.Fault
		class family.Class
		code  string
	}{
		{"drop before the answer", atlassiansim.Fault{Kind: atlassiansim.FaultDropBeforeAnswer}, family.InDoubt, "closed"},
		{"drop after the headers", atlassiansim.Fault{Kind: atlassiansim.FaultDropAfterHeaders}, family.InDoubt, "closed"},
		{"drop in the body", atlassiansim.Fault{Kind: atlassiansim.FaultDropMidBody}, family.InDoubt, "closed"},
		{"hang", atlassiansim.Fault{Kind: atlassiansim.FaultHang}, family.InDoubt, "timeout"},
		{"gzip without label", atlassiansim.Fault{Kind: atlassiansim.FaultGzipUnlabelled}, family.InDoubt, "not_json"},
		{"truncated", atlassiansim.Fault{Kind: atlassiansim.FaultTruncatedJSON}, family.InDoubt, "truncated"},
		{"HTML", atlassiansim.Fault{Kind: atlassiansim.FaultHTML}, family.InDoubt, "not_json"},
		{"503 after rotating", atlassiansim.Fault{Kind: atlassiansim.FaultStatus}, family.InDoubt, "http_503"},
		{"503 without rotating", atlassiansim.Fault{Kind: atlassiansim.FaultStatus, KeepToken: true}, family.InDoubt, "http_503"},
		{"spurious refusal", atlassiansim.Fault{Kind: atlassiansim.FaultRefuse}, family.Refused, "refresh_token_invalid"},
		{"wrong secret", oauthError(401, "access_denied", "Unauthorized"), family.Misconfigured, "client_unauthorized"},
		{"unlisted error", oauthError(400, "mystery", ""), family.InDoubt, "http_400"},
		{"429", atlassiansim.Fault{Kind: atlassiansim.FaultRateLimit, RetryAfterSeconds: 3}, family.Transient, "rate_limited"},
		{"no refresh token", atlassiansim.Fault{Kind: atlassiansim.FaultNoRefreshToken}, family.Settled, ""},
		{"life missing", atlassiansim.Fault{Kind: atlassiansim.FaultExpiresIn, ExpiresIn: "missing"}, family.Settled, "expires_in_assumed"},
		{"life a string", atlassiansim.Fault{Kind: atlassiansim.FaultExpiresIn, ExpiresIn: "string"}, family.Settled, ""},
		{"64 KiB", atlassiansim.Fault{Kind: atlassiansim.FaultTokenBytes, TokenBytes: 64 << 10}, family.Settled, ""},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			options := atlassian.Options{}
			if tc.code == "timeout" {
				options.HTTPTimeout = 2 * time.Second
			}
			sim, p := against(t, options)
			old := consent(t, p).Pair.Refresh
			tc.fault.Count = 1
			if _, err := sim.AddFault(tc.fault); err != nil {
				t.Fatal(err)
			}
			out := p.Refresh(t.Context(), app, old, nil)
			if out.Class != tc.class || out.Code != tc.code {
				t.Errorf("got %s %q, want %s %q", out.Class, out.Code, tc.class, tc.code)
			}
			if posts := sim.Ledger().TokenPosts; posts != 2 {
				t.Errorf("%d POSTs after one exchange and one refresh", posts)
			}
			next := old
			if !out.Pair.Refresh.Empty() {
				next = out.Pair.Refresh
			}
			if again := p.Refresh(t.Context(), app, next, nil); again.Class != family.Settled {
				t.Errorf("afterwards: %s %q", again.Class, again.Code)
			}
		})
	}
}
