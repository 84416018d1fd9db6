package atlassian

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/secret"
)

func TestAuthorizeURL(t *testing.T) {
	// The verifier and challenge of RFC 7636 appendix B.
	verifier := secret.New("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
	const challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
	request := AuthorizeRequest{ClientID: "c 1", RedirectURI: "https://here/cb?x=1", State: "s&t",
		Scopes: []string{"read:jira-work", "offline_access"}, Verifier: verifier}
	base := url.Values{"client_id": {"c 1"}, "redirect_uri": {"https://here/cb?x=1"}, "response_type": {"code"},
		"scope": {"read:jira-work offline_access"}, "state": {"s&t"}, "prompt": {"consent"}}
	pkce := url.Values{"code_challenge": {challenge}, "code_challenge_method": {"S256"}}
	audience := url.Values{"audience": {"api.atlassian.com"}}
	cases := []struct {
		profile string
		pkce    bool
		with    []url.Values
	}{
		{"atlassian", true, []url.Values{base, pkce, audience}},
		{"atlassian", false, []url.Values{base, audience}},
		{"oauth2", true, []url.Values{base, pkce}},
	}
	for _, tc := range cases {
		profile := at(t, tc.profile, "https://as.example")
		profile.PKCE = tc.pkce
		got, err := url.Parse(provider(t, profile, Options{}).AuthorizeURL(request))
		if err != nil {
			t.Fatal(err)
		}
		want := url.Values{}
		for _, part := range tc.with {
			for k, v := range part {
				want[k] = v
			}
		}
		if diff := cmp.Diff(want, got.Query()); diff != "" || got.Host+got.Path != "as.example/authorize" {
			t.Errorf("%s, PKCE %t: %s%s", tc.profile, tc.pkce, got, diff)
		}
	}
}

func TestVerifiersDiffer(t *testing.T) {
	a, b := NewVerifier(), NewVerifier()
	if a.Equal(b) || a.Len() < 43 {
		t.Errorf("lengths %d and %d, equal %t", a.Len(), b.Len(), a.Equal(b))
	}
}

func TestProductsOfScopes(t *testing.T) {
	p := provider(t, at(t, "atlassian", "https://as.example"), Options{})
	for scopes, want := range map[string]string{
		"read:jira-work":                              "jira",
		"read:issue:jira":                             "jira",
		"write:servicedesk-request":                   "jira",
		"read:cmdb-object:jira":                       "jira",
		"read:confluence-space.summary":               "confluence",
		"read:page:confluence offline_access":         "confluence",
		"search:confluence manage:jira-configuration": "confluence jira",
		"read:me offline_access":                      "",
		"read:jirafeau":                               "",
		"":                                            "",
	} {
		if got := strings.Join(p.Products(strings.Fields(scopes)), " "); got != want {
			t.Errorf("%s: got %q, want %q", scopes, got, want)
		}
	}
}

func TestSitesOfProduct(t *testing.T) {
	sites := []Resource{
		{ID: "c1", Scopes: []string{"read:jira-work"}},
		{ID: "c2", Scopes: []string{"read:confluence-content.all", "read:jira-work"}},
		{ID: "c3", Scopes: []string{"read:page:confluence"}},
	}
	ids := func(rs []Resource) string {
		var out []string
		for _, r := range rs {
			out = append(out, r.ID)
		}
		return strings.Join(out, " ")
	}
	atl := provider(t, at(t, "atlassian", "https://as.example"), Options{})
	generic := provider(t, at(t, "oauth2", "https://as.example"), Options{})
	got := []string{ids(atl.SitesOf("jira", sites)), ids(atl.SitesOf("confluence", sites)), ids(atl.SitesOf("trello", sites)), ids(generic.SitesOf("jira", sites))}
	if diff := cmp.Diff([]string{"c1 c2", "c2 c3", "", "c1 c2 c3"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAPIBaseURL(t *testing.T) {
	p, err := LoadProfile("atlassian")
	if err != nil {
		t.Fatal(err)
	}
	atl := provider(t, p, Options{})
	p.Products = map[string]Product{"crm": {APIBase: "https://crm.example/api"}}
	other := provider(t, p, Options{})
	got := []string{
		atl.APIBaseURL("jira", "c1"), atl.APIBaseURL("confluence", "c1"), atl.APIBaseURL("jira", "../x?"),
		atl.APIBaseURL("jira", ""), atl.APIBaseURL("trello", "c1"), other.APIBaseURL("crm", ""),
	}
	want := []string{
		"https://api.atlassian.com/ex/jira/c1", "https://api.atlassian.com/ex/confluence/c1", "https://api.atlassian.com/ex/jira/..%2Fx%3F",
		"", "", "https://crm.example/api",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestNewRefusesBadOptions(t *testing.T) {
	p := at(t, "atlassian", "https://as.example")
	for name, o := range map[string]Options{
		"negative timeout": {HTTPTimeout: -1},
		"SOCKS proxy":      {ProxyURL: &url.URL{Scheme: "socks5", Host: "x:1", User: url.UserPassword("u", canary)}},
		"empty proxy":      {ProxyURL: &url.URL{}},
	} {
		_, err := New(p, o)
		if err == nil {
			t.Errorf("%s was accepted", name)
		}
		assertSilent(t, err)
	}
}
