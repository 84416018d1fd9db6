package atlassian

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/secret"
)

var access = secret.New(canary + "-access-1")

// answering returns a Provider whose every request gets status and body, and
// the last request it made.
func answering(t *testing.T, profile string, status int, body string) (*Provider, *http.Request) {
	t.Helper()
	last := &http.Request{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		*last = *r
		w.Header().Set("Location", "/me")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return provider(t, at(t, profile, s.URL), Options{}), last
}

func TestResourcesAreMergedAndOrdered(t *testing.T) {
	body := `[
	 {"id":"c2","name":"Two","url":"https://two.atlassian.net","scopes":["write:jira-work","read:jira-work"],"avatarUrl":"x"},
	 {"id":"c1","name":"One","url":"https://one.atlassian.net","scopes":["read:confluence-content.all"]},
	 {"id":"","name":"Nameless","scopes":["read:jira-work"]},
	 {"id":"c1","name":"One","url":"https://one.atlassian.net","scopes":["read:jira-work","read:confluence-content.all"]}]`
	p, last := answering(t, "atlassian", 200, body)
	got, err := p.Resources(t.Context(), access)
	if err != nil {
		t.Fatal(err)
	}
	want := []Resource{
		{ID: "c1", Name: "One", URL: "https://one.atlassian.net", Scopes: []string{"read:confluence-content.all", "read:jira-work"}},
		{ID: "c2", Name: "Two", URL: "https://two.atlassian.net", Scopes: []string{"read:jira-work", "write:jira-work"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if last.URL.Path != "/oauth/token/accessible-resources" || last.Header.Get("Authorization") != "Bearer "+access.Reveal() {
		t.Errorf("asked %s", last.URL.Path)
	}
}

func TestResourcesWithoutSites(t *testing.T) {
	p, _ := answering(t, "atlassian", 200, `[]`)
	if got, err := p.Resources(t.Context(), access); err != nil || got == nil || len(got) != 0 {
		t.Errorf("no sites: got %v, %v", got, err)
	}
	p, last := answering(t, "oauth2", 200, `[{"id":"x"}]`)
	if got, err := p.Resources(t.Context(), access); err != nil || got != nil || last.URL != nil {
		t.Errorf("a provider without sites: got %v, %v", got, err)
	}
}

func TestAccount(t *testing.T) {
	cases := []struct {
		profile, body string
		want          Account
	}{
		{"atlassian", `{"account_id":"557058:1","name":"Ann","email":"ann@x","sub":"no"}`, Account{"557058:1", "Ann"}},
		{"atlassian", `{"account_id":"557058:1"}`, Account{"557058:1", ""}},
		{"oauth2", `{"sub":"u1","name":"Ann","account_id":"no"}`, Account{"u1", "Ann"}},
	}
	for _, tc := range cases {
		p, _ := answering(t, tc.profile, 200, tc.body)
		if got, err := p.Account(t.Context(), access); err != nil || got != tc.want {
			t.Errorf("%s: got %v, %v", tc.body, got, err)
		}
	}
}

// TestReadsFailInOurOwnWords: bad answers are errors, say what to look at, and
// quote nothing.
func TestReadsFailInOurOwnWords(t *testing.T) {
	for _, tc := range []struct {
		status         int
		body           string
		accountMention string
	}{
		{200, `{"` + canary + `":"x"}`, "account_id_field"},
		{200, `{"account_id":7,"x":"` + canary + `"}`, "account_id_field"},
		{200, "<html>" + canary, "not the JSON"},
		{200, `["` + canary, "not the JSON"},
		{200, `[{"id":{"` + canary + `":1}}]`, "not the JSON"},
		{200, strings.Repeat(" ", maxRead) + "[]", "larger than"},
		{302, canary, "HTTP 302"},
		{401, canary, "HTTP 401"},
		{404, canary, "HTTP 404"},
		{500, canary, "HTTP 500"},
	} {
		p, _ := answering(t, "atlassian", tc.status, tc.body)
		_, err := p.Resources(t.Context(), access)
		if err == nil {
			t.Errorf("%d %.30s: resources were accepted", tc.status, tc.body)
		}
		assertSilent(t, err)
		assertSilent(t, fmt.Sprint(err))
		_, err = p.Account(t.Context(), access)
		if err == nil || !strings.Contains(err.Error(), tc.accountMention) {
			t.Errorf("%d %.30s: got %v", tc.status, tc.body, err)
		}
		assertSilent(t, fmt.Sprint(err))
	}
}

func TestReadsDescribeConnectionFailures(t *testing.T) {
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	quiet(secure)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	talking := newWireServer(t, sayAndClose(canary+"\r\n\r\n"))
	closing := newWireServer(t, sayAndClose(""))
	for name, tc := range map[string]struct {
		base, want string
		options    Options
	}{
		"unknown authority": {secure.URL, "certificate signed by unknown authority", Options{}},
		"not HTTP":          {talking.url(), "no answer: broken", Options{}},
		"closed":            {closing.url(), "no answer: closed", Options{}},
		"no proxy": {"https://x.invalid", "no connection: proxy: ", Options{
			ProxyURL: &url.URL{Scheme: "http", Host: "127.0.0.1:1", User: url.UserPassword("u", canary)}}},
	} {
		p := provider(t, at(t, "atlassian", tc.base), tc.options)
		_, err := p.Account(t.Context(), access)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
		assertSilent(t, fmt.Sprint(err))
	}
}

func TestOnlyA401IsRejected(t *testing.T) {
	cases := []struct {
		status int
		body   string
		want   Verdict
	}{
		{200, `[]`, Accepted}, {200, `<html>`, Unclear}, {401, `{"code":401}`, Rejected}, {401, ``, Rejected},
		{403, ``, Unclear}, {404, ``, Unclear}, {429, ``, Unclear}, {500, ``, Unclear}, {302, ``, Unclear},
	}
	for _, profile := range []string{"atlassian", "oauth2"} {
		for _, tc := range cases {
			p, last := answering(t, profile, tc.status, tc.body)
			if got := p.Probe(t.Context(), access); got != tc.want {
				t.Errorf("%s: HTTP %d %q: got %d, want %d", profile, tc.status, tc.body, got, tc.want)
			}
			want := map[string]string{"atlassian": "/oauth/token/accessible-resources", "oauth2": "/me"}[profile]
			if last.URL.Path != want {
				t.Errorf("%s asked %s", profile, last.URL.Path)
			}
		}
	}
	if got := provider(t, at(t, "atlassian", "http://127.0.0.1:1"), Options{}).Probe(t.Context(), access); got != Unclear {
		t.Errorf("nobody there: got %d", got)
	}
}

func TestRevoke(t *testing.T) {
	cases := []struct {
		mode   RevokeMode
		status int
		want   Revocation
		asked  bool
	}{
		{RevokeNone, 200, RevocationNotOffered, false},
		{RevokeUnverified, 200, RevocationUnverified, true},
		{RevokeEffective, 200, RevocationDone, true},
		{RevokeEffective, 400, RevocationUnverified, true},
		{RevokeEffective, 404, RevocationUnverified, true},
		{RevokeEffective, 302, RevocationUnverified, true},
		{RevokeEffective, 503, RevocationUnverified, true},
	}
	for _, tc := range cases {
		plain, last := answering(t, "atlassian", tc.status, "")
		profile := plain.Profile()
		profile.Revoke = tc.mode
		p := provider(t, profile, Options{})
		if got := p.Revoke(t.Context(), creds, oldRefresh); got != tc.want {
			t.Errorf("%s, HTTP %d: got %s, want %s", tc.mode, tc.status, got, tc.want)
		}
		if asked := last.URL != nil; asked != tc.asked {
			t.Errorf("%s: asked %t", tc.mode, asked)
		}
		if !tc.asked {
			continue
		}
		want := url.Values{"client_id": {"client-1"}, "client_secret": {creds.Secret.Reveal()},
			"token": {oldRefresh.Reveal()}, "token_type_hint": {"refresh_token"}}
		if diff := cmp.Diff(want, last.PostForm); diff != "" {
			t.Error(diff)
		}
	}
}
