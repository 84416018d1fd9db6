package atlassian

import (
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
)

func oauthError(code, description string) string {
	return fmt.Sprintf(`{"error":%q,"error_description":%q}`, code, description)
}

// TestListedErrors is the table of the profiles, told from outside: by the
// answers that real servers were seen to give.
func TestListedErrors(t *testing.T) {
	otherClient := "The client associated with this refresh token (A) is different than the one sent in the request (B)."
	hydra := "The request is missing a required parameter. Failed to refresh token because of multiple concurrent requests using the same token, please retry."
	cases := []struct {
		profile, grant string
		status         int
		body           string
		class          family.Class
		code           string
	}{
		{"atlassian", grantRefresh, 403, oauthError("unauthorized_client", "refresh_token is invalid"), family.Refused, "refresh_token_invalid"},
		{"atlassian", grantRefresh, 403, oauthError("invalid_grant", "Unknown or invalid refresh token."), family.Refused, "invalid_grant"},
		{"atlassian", grantRefresh, 403, oauthError("invalid_grant", otherClient), family.Misconfigured, "other_client"},
		{"atlassian", grantRefresh, 401, oauthError("unauthorized_client", "refresh_token is invalid"), family.Misconfigured, "client_unauthorized"},
		{"atlassian", grantRefresh, 401, "<html>", family.Misconfigured, "client_unauthorized"},
		{"atlassian", grantRefresh, 401, "", family.Misconfigured, "client_unauthorized"},
		{"atlassian", grantRefresh, 400, oauthError("invalid_client", ""), family.Misconfigured, "invalid_client"},
		{"atlassian", grantRefresh, 403, oauthError("access_denied", "Incorrect request parameters"), family.Misconfigured, "incorrect_parameters"},
		{"atlassian", grantRefresh, 403, oauthError("unauthorized_client", "The client is not allowed"), family.Misconfigured, "unauthorized_client"},
		{"atlassian", grantRefresh, 403, oauthError("unauthorized_client", "Grant type 'refresh_token' not allowed for the client."), family.Misconfigured, "unauthorized_client"},
		{"atlassian", grantCode, 400, oauthError("invalid_request", "authorization_code is invalid"), family.Refused, "authorization_code_invalid"},
		{"atlassian", grantCode, 403, oauthError("invalid_grant", "Invalid authorization code"), family.Refused, "invalid_grant"},
		{"atlassian", grantRefresh, 400, oauthError("invalid_request", "authorization_code is invalid"), family.InDoubt, "http_400"},
		{"atlassian", grantRefresh, 400, oauthError("invalid_request", hydra), family.Transient, "concurrent_requests"},
		{"atlassian", grantRefresh, 429, "<html>slow down", family.Transient, "rate_limited"},
		{"atlassian", grantRefresh, 400, oauthError("invalid_request", "something else"), family.InDoubt, "http_400"},
		{"atlassian", grantRefresh, 400, oauthError("temporarily_unavailable", ""), family.InDoubt, "http_400"},
		{"atlassian", grantRefresh, 403, `{"code":403,"message":"refresh_token is invalid"}`, family.InDoubt, "http_403"},
		{"atlassian", grantRefresh, 403, `["invalid_grant"]`, family.InDoubt, "http_403"},
		{"atlassian", grantRefresh, 403, `{"error":{"invalid_grant":1}}`, family.InDoubt, "http_403"},
		{"atlassian", grantRefresh, 403, `{"Error":"invalid_grant"}`, family.InDoubt, "http_403"},
		{"atlassian", grantRefresh, 403, `{"error":"INVALID_GRANT"}`, family.InDoubt, "http_403"},
		{"atlassian", grantRefresh, 403, `{"error":"invalid_grant"`, family.InDoubt, "http_403"},
		{"atlassian", grantRefresh, 503, oauthError("invalid_grant", ""), family.InDoubt, "http_503"},
		{"atlassian", grantRefresh, 200, oauthError("invalid_grant", ""), family.InDoubt, "no_access_token"},
		{"atlassian", grantRefresh, 302, oauthError("invalid_grant", ""), family.InDoubt, "http_302"},
		{"oauth2", grantRefresh, 400, oauthError("invalid_grant", ""), family.Refused, "invalid_grant"},
		{"oauth2", grantRefresh, 401, oauthError("invalid_client", ""), family.Misconfigured, "invalid_client"},
		{"oauth2", grantRefresh, 401, "", family.Misconfigured, "client_unauthorized"},
		{"oauth2", grantRefresh, 400, oauthError("unauthorized_client", "refresh_token"), family.Misconfigured, "unauthorized_client"},
		{"oauth2", grantRefresh, 400, oauthError("unsupported_grant_type", ""), family.Misconfigured, "unsupported_grant_type"},
		{"oauth2", grantRefresh, 400, oauthError("invalid_scope", ""), family.Misconfigured, "invalid_scope"},
		{"oauth2", grantRefresh, 400, oauthError("invalid_request", "x"), family.Misconfigured, "invalid_request"},
		{"oauth2", grantRefresh, 400, oauthError("invalid_request", hydra), family.Transient, "concurrent_requests"},
		{"oauth2", grantRefresh, 400, oauthError("server_error", ""), family.InDoubt, "http_400"},
	}
	for _, tc := range cases {
		t.Run(fmt.Sprintf("%s %s %d %.60s", tc.profile, tc.grant, tc.status, tc.body), func(t *testing.T) {
			p := provider(t, at(t, tc.profile, "https://as.example"), Options{})
			out := p.classify(tc.grant, reply{written: true, status: tc.status, body: []byte(tc.body)})
			if out.Class != tc.class || out.Code != tc.code {
				t.Errorf("got %s %q, want %s %q", out.Class, out.Code, tc.class, tc.code)
			}
		})
	}
}

func TestPairs(t *testing.T) {
	const tokens = `"access_token":"a","refresh_token":"r"`
	cases := []struct {
		name, body string
		strict     bool // the profile insists on a refresh token
		class      family.Class
		code       string
		life       time.Duration
	}{
		{"as documented", `{` + tokens + `,"expires_in":3600}`, false, family.Settled, "", time.Hour},
		{"life as a string", `{` + tokens + `,"expires_in":"3600"}`, false, family.Settled, "", time.Hour},
		{"life as a float", `{` + tokens + `,"expires_in":3599.9}`, false, family.Settled, "", 3599 * time.Second},
		{"life with an exponent", `{` + tokens + `,"expires_in":3.6e3}`, false, family.Settled, "", time.Hour},
		{"short life", `{` + tokens + `,"expires_in":1}`, false, family.Settled, "", time.Second},
		{"life in milliseconds", `{` + tokens + `,"expires_in":3600000}`, false, family.Settled, "", 24 * time.Hour},
		{"life beyond a Duration", `{` + tokens + `,"expires_in":1e300}`, false, family.Settled, "", 24 * time.Hour},
		{"life beyond a float", `{` + tokens + `,"expires_in":1e999}`, false, family.Settled, "expires_in_assumed", 15 * time.Minute},
		{"life missing", `{` + tokens + `}`, false, family.Settled, "expires_in_assumed", 15 * time.Minute},
		{"life null", `{` + tokens + `,"expires_in":null}`, false, family.Settled, "expires_in_assumed", 15 * time.Minute},
		{"life negative", `{` + tokens + `,"expires_in":-5}`, false, family.Settled, "expires_in_assumed", 15 * time.Minute},
		{"life zero", `{` + tokens + `,"expires_in":0}`, false, family.Settled, "expires_in_assumed", 15 * time.Minute},
		{"life below a second", `{` + tokens + `,"expires_in":0.5}`, false, family.Settled, "expires_in_assumed", 15 * time.Minute},
		{"life NaN", `{` + tokens + `,"expires_in":"NaN"}`, false, family.Settled, "expires_in_assumed", 15 * time.Minute},
		{"life in words", `{` + tokens + `,"expires_in":"an hour"}`, false, family.Settled, "expires_in_assumed", 15 * time.Minute},
		{"life an object", `{` + tokens + `,"expires_in":{"s":3600}}`, false, family.Settled, "expires_in_assumed", 15 * time.Minute},
		{"no refresh token", `{"access_token":"a","expires_in":3600}`, false, family.Settled, "", time.Hour},
		{"refresh token null", `{"access_token":"a","refresh_token":null,"expires_in":3600}`, false, family.Settled, "", time.Hour},
		{"no refresh token, strict", `{"access_token":"a"}`, true, family.InDoubt, "no_refresh_token", 0},
		{"no access token", `{"refresh_token":"r","expires_in":3600}`, false, family.InDoubt, "no_access_token", 0},
		{"refresh token a number", `{"access_token":"a","refresh_token":7,"expires_in":3600}`, false, family.InDoubt, "malformed_pair", 0},
		{"a line break in a token", `{"access_token":"a\r\nX: y","refresh_token":"r"}`, false, family.InDoubt, "malformed_pair", 0},
		{"a mangled byte in a token", "{\"access_token\":\"a\",\"refresh_token\":\"r\xff\"}", false, family.InDoubt, "malformed_pair", 0},
		{"other letters in the names", `{"Access_Token":"a","refresh_token":"r"}`, false, family.InDoubt, "no_access_token", 0},
		{"an array", `[{` + tokens + `}]`, false, family.InDoubt, "not_json", 0},
		{"null", `null`, false, family.InDoubt, "not_json", 0},
		{"nothing", ``, false, family.InDoubt, "not_json", 0},
		{"two answers in one", `{` + tokens + `}{` + tokens + `}`, false, family.InDoubt, "truncated", 0},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			profile := at(t, "atlassian", "https://as.example")
			profile.AllowMissingRefresh = !tc.strict
			out := provider(t, profile, Options{}).classify(grantRefresh, reply{written: true, status: 200, body: []byte(tc.body)})
			if out.Class != tc.class || out.Code != tc.code || out.Pair.ExpiresIn != tc.life {
				t.Errorf("got %s %q %s, want %s %q %s", out.Class, out.Code, out.Pair.ExpiresIn, tc.class, tc.code, tc.life)
			}
		})
	}
}

// A consent without the offline scope is an answer, not a doubt: the code is
// spent, and asking again cannot help.
func TestExchangeWithoutRefreshTokenSettles(t *testing.T) {
	profile := at(t, "atlassian", "https://as.example")
	profile.AllowMissingRefresh = false
	out := provider(t, profile, Options{}).classify(grantCode, reply{written: true, status: 200, body: []byte(`{"access_token":"a","expires_in":60}`)})
	if out.Class != family.Settled || !out.Pair.Refresh.Empty() {
		t.Errorf("got %s %q", out.Class, out.Code)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, " 30 ": 30 * time.Second, "3600": time.Hour, "86400": time.Hour,
		"99999999999999999999": time.Hour, "-1": 0, "1.5": 0, "soon": 0, "+5": 0,
		"Fri, 20 Nov 2026 12:00:30 GMT": 30 * time.Second, "Friday, 20-Nov-26 12:00:30 GMT": 30 * time.Second,
		"Fri Nov 20 12:00:30 2026": 30 * time.Second, "Fri, 20 Nov 2026 11:00:00 GMT": 0, "Sat, 20 Nov 2027 12:00:00 GMT": time.Hour,
	} {
		if got := parseRetryAfter(header, now); got != want {
			t.Errorf("%q: got %s, want %s", header, got, want)
		}
	}
}

func TestRetryAfterReachesTheOutcome(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for header, want := range map[string]time.Duration{"Retry-After: 7\r\n": 7 * time.Second, "Retry-After: Fri, 20 Nov 2026 12:01:00 GMT\r\n": time.Minute, "": 0} {
		s := newWireServer(t, say(httpAnswer("429 Too Many Requests", header, "")))
		p := provider(t, at(t, "atlassian", s.url()), Options{Now: func() time.Time { return now }})
		if out := p.Refresh(t.Context(), creds, oldRefresh, nil); out.Class != family.Transient || out.RetryAfter != want {
			t.Errorf("%q: got %s %s", header, out.Class, out.RetryAfter)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(200, goodPair)
	f.Add(403, oauthError("invalid_grant", "x"))
	f.Add(200, `{"access_token":"a","expires_in":"Inf"}`)
	f.Add(200, `{"access_token":"a","refresh_token":"r","expires_in":-1e400,"scope":["x"]}`)
	f.Add(500, "<html>")
	profile, err := LoadProfile("atlassian")
	if err != nil {
		f.Fatal(err)
	}
	p, err := New(profile, Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 100 || status > 999 {
			return // net/http lets no such status through
		}
		out := p.classify(grantRefresh, reply{written: true, status: status, body: []byte(body)})
		settled := out.Class == family.Settled
		pair := out.Pair
		switch {
		case settled != !pair.Access.Empty():
			t.Errorf("%s with access token empty %t", out.Class, pair.Access.Empty())
		case settled && (pair.ExpiresIn < time.Second || pair.ExpiresIn > maxLife || pair.ExpiresIn%time.Second != 0):
			t.Errorf("life %s", pair.ExpiresIn)
		case !settled && (!pair.Refresh.Empty() || pair.Scopes != nil):
			t.Errorf("%s with a pair", out.Class)
		case out.Class == family.NotSpent:
			t.Error("not spent, though it was written")
		case (status < 200 || status > 299 && status < 400 || status > 499) && out.Class != family.InDoubt:
			t.Errorf("status %d gives %s", status, out.Class)
		case !settled && !isCode(out.Code):
			t.Errorf("code %q", out.Code)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "1", "99999999999999999999", "Fri, 20 Nov 2026 12:00:30 GMT", "-1", "Fri, 20 Nov 0000 12:00:30 GMT"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		if got := parseRetryAfter(header, time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)); got < 0 || got > maxRetryAfter {
			t.Errorf("%q: %s", header, got)
		}
	})
}
