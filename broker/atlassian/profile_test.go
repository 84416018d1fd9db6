package atlassian

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEmbeddedProfiles(t *testing.T) {
	if diff := cmp.Diff([]string{"atlassian", "atlassian-gov", "oauth2"}, Profiles()); diff != "" {
		t.Fatal(diff)
	}
	for _, name := range Profiles() {
		p, err := LoadProfile(name)
		if err != nil {
			t.Fatal(err)
		}
		if p.Name != name || p.Title == "" {
			t.Errorf("profile %s calls itself %q, %q", name, p.Name, p.Title)
		}
		if name == "oauth2" {
			continue
		}
		if err := p.Validate(); err != nil {
			t.Errorf("profile %s: %v", name, err)
		}
	}
}

func TestGovernmentDiffersFromCommercialInHostsOnly(t *testing.T) {
	commercial, _ := LoadProfile("atlassian")
	gov, _ := LoadProfile("atlassian-gov")
	for _, u := range []string{gov.AuthorizeURL, gov.TokenURL, gov.ResourcesURL, gov.AccountURL, gov.RevokeURL,
		gov.AuthorizeParams["audience"], gov.Products["jira"].APIBase, gov.Products["confluence"].APIBase} {
		if strings.Contains(u, "atlassian.com") {
			t.Errorf("%s is a commercial host", u)
		}
	}
	gov.Name, gov.Title = commercial.Name, commercial.Title
	gov.AuthorizeURL, gov.TokenURL, gov.ResourcesURL = commercial.AuthorizeURL, commercial.TokenURL, commercial.ResourcesURL
	gov.AccountURL, gov.RevokeURL = commercial.AccountURL, commercial.RevokeURL
	gov.AuthorizeParams, gov.Products = commercial.AuthorizeParams, commercial.Products
	if diff := cmp.Diff(commercial, gov); diff != "" {
		t.Error(diff)
	}
}

func TestGenericProfileWantsItsURLs(t *testing.T) {
	p, err := LoadProfile("oauth2")
	if err != nil {
		t.Fatal(err)
	}
	err = p.Validate()
	for _, want := range []string{"authorize_url: missing", "token_url: missing", "account_url: missing"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	p, err = p.Override([]byte("authorize_url: https://as/authorize\ntoken_url: https://as/token\naccount_url: https://as/userinfo\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	if p.Leeway != 0 || p.IdleLimit != 0 || p.AbsoluteLimit != 0 || len(p.Products) != 0 {
		t.Errorf("the generic profile assumes something: %+v", p)
	}
}

func TestUnknownProfileNamesTheKnownOnes(t *testing.T) {
	_, err := LoadProfile("../atlassian")
	if err == nil || !strings.Contains(err.Error(), "atlassian, atlassian-gov, oauth2") {
		t.Errorf("got %v", err)
	}
}

func TestOverrideReplacesOnlyWhatItNames(t *testing.T) {
	before, _ := LoadProfile("atlassian")
	after, err := before.Override([]byte("leeway: 3s\nauthorize_params: {prompt: login}\n" +
		"products: {jira: {api_base: https://j}}\nerrors: [{status: 418, class: transient, code: teapot}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	want, _ := LoadProfile("atlassian")
	if diff := cmp.Diff(want, before); diff != "" {
		t.Errorf("Override changed its receiver: %s", diff)
	}
	want.Leeway, want.AuthorizeParams = 3*time.Second, map[string]string{"prompt": "login"}
	want.Products = map[string]Product{"jira": {APIBase: "https://j"}}
	want.Errors = []ErrorRow{{Status: 418, Class: ErrorTransient, Code: "teapot"}}
	if diff := cmp.Diff(want, after); diff != "" {
		t.Error(diff)
	}
	for _, empty := range []string{"", "\n", "# nothing\n", "{}"} {
		if same, err := before.Override([]byte(empty)); err != nil || cmp.Diff(before, same) != "" {
			t.Errorf("%q changed something: %v", empty, err)
		}
	}
}

func TestOverrideIsStrict(t *testing.T) {
	p, _ := LoadProfile("atlassian")
	for _, doc := range []string{"leeeway: 3s", "errors:\n- {staus: 400}", "leeway: 3", "leeway: 3s\nleeway: 4s", "body: [json]"} {
		if _, err := p.Override([]byte(doc)); err == nil {
			t.Errorf("%q was accepted", doc)
		}
	}
	_, err := p.Override([]byte("body: json\nleeeway: 3s"))
	if err == nil || !strings.Contains(err.Error(), "[2:1]") || !strings.Contains(err.Error(), "leeeway") {
		t.Errorf("no line or key in %v", err)
	}
}

func TestValidateReportsAllProblems(t *testing.T) {
	p, _ := LoadProfile("atlassian")
	p.TokenURL = "http://auth.example/token"
	p.AccountURL = "ftp://x/me"
	p.AuthorizeURL = "nonsense"
	p.ResourcesURL = "https://u@x/r#f"
	p.RevokeURL = ""
	p.Body, p.Revoke = "xml", "unverified"
	p.AuthorizeParams = map[string]string{"state": "x"}
	p.AccountIDField, p.Name = "", ""
	p.Leeway, p.AccessGrace, p.IdleLimit, p.AbsoluteLimit = -1, -1, -1, -1
	p.AssumedLife = 25 * time.Hour
	p.Products = map[string]Product{"x": {ScopeWords: []string{"a-b"}, APIBase: "https://x/"}}
	p.Errors = []ErrorRow{{Status: 500, Class: "settled", Code: "No Good", GrantType: "x", DescriptionContains: "UP"}, {Class: ErrorRefused, Code: "all"}}
	err := p.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"token_url: http ", "account_url: scheme", "authorize_url: \"nonsense\"", "resources_url: a user", "revoke_url: missing",
		"body: ", "authorize_params: state", "account_id_field: ", "name: ", "leeway: ", "access_grace: ", "idle_limit: ", "absolute_limit: ", "assumed_life: ",
		"products.x.scope_words", "products.x.api_base", "errors[0].status", "errors[0].class", "errors[0].code", "errors[0].grant_type",
		"errors[0].description_contains", "errors[1]: matches every answer"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing %q", want)
		}
	}
	if _, err := New(p, Options{}); err == nil {
		t.Error("New took it")
	}
}

func TestPlainHTTPOnThisMachineOnly(t *testing.T) {
	for base, ok := range map[string]bool{
		"http://127.0.0.1:1": true, "http://[::1]:1": true, "http://localhost:1": true, "https://x": true,
		"http://sim:8080": false, "http://127.0.0.1.evil": false, "http://localhost.evil": false,
	} {
		p := at(t, "atlassian", base)
		if err := p.Validate(); (err == nil) != ok {
			t.Errorf("%s: %v", base, err)
		}
		p.PlainHTTP = true
		if err := p.Validate(); err != nil {
			t.Errorf("%s with plain_http: %v", base, err)
		}
	}
}

func TestConsentScopesAddWhatTheProviderNeeds(t *testing.T) {
	p, _ := LoadProfile("atlassian")
	in := []string{"read:jira-work", "offline_access", "read:jira-work"}
	want := []string{"read:jira-work", "offline_access", "read:me"}
	if diff := cmp.Diff(want, p.ConsentScopes(in)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"read:jira-work", "offline_access", "read:jira-work"}, in); diff != "" {
		t.Errorf("changed its argument: %s", diff)
	}
}
