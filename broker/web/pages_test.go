package web

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/storage"
)

// storedStatuses reads the constants of type ConsentStatus from the source, so that
// a new one without a page cannot be forgotten here as well.
func storedStatuses(t *testing.T) []storage.ConsentStatus {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "../../storage/storage.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []storage.ConsentStatus
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := v.Type.(*ast.Ident); !ok || id.Name != "ConsentStatus" {
			return true
		}
		for _, value := range v.Values {
			s, err := strconv.Unquote(value.(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, storage.ConsentStatus(s))
		}
		return true
	})
	if len(out) < 17 {
		t.Fatalf("found only %d statuses: has the declaration moved?", len(out))
	}
	return out
}

func TestEveryStatusHasItsOwnPage(t *testing.T) {
	codes := map[storage.ConsentStatus]int{
		storage.ConsentPending: 200, storage.ConsentAtProvider: 200, storage.ConsentExchanging: 202, storage.ConsentConfirm: 200,
		storage.ConsentDone: 200, storage.ConsentDenied: 403, storage.ConsentExpired: 410, storage.ConsentNoOfflineAccess: 422,
		storage.ConsentWrongAccount: 409, storage.ConsentWrongProduct: 422, storage.ConsentMissingScopes: 422,
		storage.ConsentCodeRefused: 400, storage.ConsentExchangeInDoubt: 504, storage.ConsentProviderError: 502,
		storage.ConsentMisconfigured: 500, storage.ConsentDiscarded: 200, storage.ConsentSuperseded: 409,
	}
	headings := make(map[string]storage.ConsentStatus)
	for _, status := range storedStatuses(t) {
		t.Run(string(status), func(t *testing.T) {
			r := newRig(t)
			c := r.broker.consents[testLink]
			c.afterExchange = status
			c.outcome.Detail = "A sentence about this very case."
			p := r.browser().consent()
			h := p.heading(t)
			if other, taken := headings[h]; taken || p.StatusCode == http.StatusInternalServerError && status != storage.ConsentMisconfigured {
				t.Fatalf("%d %q: no heading of its own (shared with %q)", p.StatusCode, h, other)
			}
			headings[h] = status
			p.want(t, codes[status], h, "A sentence about this very case.", "acme", "automation")
			if status != storage.ConsentConfirm && !strings.Contains(p.text, "What to do next") {
				t.Error("the page does not say what to do next")
			}
			if strings.Contains(p.text, "reference below") && !strings.Contains(p.text, "Reference cns_7q2m") {
				t.Error("the page names a reference that it does not show")
			}
			if q := r.browser().get("/connect/" + testLink); status != storage.ConsentPending && status != storage.ConsentAtProvider {
				q.want(t, codes[status], h, "This link has been used")
				if strings.Contains(q.text, "reference below") && !strings.Contains(q.text, "Reference cns_7q2m") {
					t.Error("the used link's page names a reference that it does not show")
				}
				if strings.Contains(q.raw, "very case") {
					t.Error("a browser without the cookie reads the detail")
				}
			}
		})
	}
}

func TestAStatusWithoutAPageIsAFaultOfOurs(t *testing.T) {
	r := newRig(t)
	r.broker.consents[testLink].afterExchange = "INVENTED"
	r.browser().consent().want(t, http.StatusInternalServerError, "Something went wrong here")
}

func TestBrokersErrorsHaveTheirPages(t *testing.T) {
	const wrong, stopped, away, busy = "Something went wrong here", "An operator has stopped this", "Not available at the moment", "Too many requests at the moment"
	for _, row := range []struct {
		reason  broker.Reason
		connect string
		code    int
		call    string
		cbCode  int
	}{
		{broker.ReasonGrantNotFound, "This link is not known", 404, "This answer belongs to no consent", 404},
		{broker.ReasonInvalidRequest, "This link cannot be used", 400, "The provider's answer is not complete", 400},
		{broker.ReasonCallerUnauthenticated, "This consent belongs to a different browser", 403, "This consent belongs to a different browser", 403},
		{broker.ReasonGrantRevoked, stopped, 409, stopped, 409},
		{broker.ReasonGrantQuarantined, stopped, 409, stopped, 409},
		{broker.ReasonAppPaused, stopped, 409, stopped, 409},
		{broker.ReasonProviderUnavailable, away, 503, away, 503},
		{broker.ReasonStoreUnavailable, away, 503, away, 503},
		{broker.ReasonKeyUnavailable, away, 503, away, 503},
		{broker.ReasonAuditUnavailable, away, 503, away, 503},
		{broker.ReasonCallerRateLimited, busy, 429, busy, 429},
		{broker.ReasonProviderRateLimited, busy, 429, busy, 429},
		{broker.ReasonInternal, wrong, 500, wrong, 500},
		{broker.ReasonCallerNotAllowed, wrong, 500, wrong, 500},
	} {
		t.Run(string(row.reason), func(t *testing.T) {
			r := newRig(t)
			for _, m := range []string{"ConnectPage", "BeginConsent", "FinishConsent"} {
				r.broker.fail[m] = &broker.Error{Reason: row.reason, Message: "the broker's words"}
			}
			b := r.browser()
			for _, p := range []*reply{b.get("/connect/" + testLink), b.do(http.MethodPost, "/connect/"+testLink, "")} {
				p.want(t, row.code, row.connect)
				if (row.code == 503 || row.code == 429) && p.Header.Get("Retry-After") != "10" {
					t.Error("no Retry-After")
				}
				if row.code == 500 && strings.Contains(p.text, "the broker's words") {
					t.Error("an internal error shows more than the fixed sentence")
				}
			}
			p := b.get("/oauth/callback?code=canary-code&state=s")
			p.want(t, row.cbCode, row.call)
			if row.cbCode != 503 && row.cbCode != 429 && strings.Contains(p.Request.URL.String(), "canary") {
				t.Errorf("the code stayed in the address: %s", p.Request.URL)
			}
		})
	}
}

func TestAnInternalErrorIsLoggedOnceUnderTheReferenceOnThePage(t *testing.T) {
	r := newRig(t)
	r.broker.fail["FinishConsent"] = errPlain
	p := r.browser().get("/oauth/callback?code=canary-code&state=s")
	ref := p.Request.URL.Query().Get("ref")
	p.want(t, http.StatusInternalServerError, "Something went wrong here", "Reference "+ref)
	if strings.Contains(p.raw, errPlain.Error()) {
		t.Error("the cause is on the page")
	}
	if n := strings.Count(r.log.String(), errPlain.Error()); n != 1 || !strings.Contains(r.log.String(), ref) {
		t.Errorf("the cause is in the log %d times: %s", n, r.log)
	}
}

func TestHostileTextIsOnlyText(t *testing.T) {
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	r := newRig(t)
	c := r.broker.consents[testLink]
	c.view.Tenant, c.view.Subject, c.view.Scopes, c.view.ProductName = evil, evil, []string{evil, "read:" + evil + ":jira"}, evil
	c.view.Warning, c.view.ProviderName, c.view.App, c.view.Name = evil, evil, evil, evil
	c.outcome.Address.Tenant, c.outcome.Detail, c.outcome.ReturnURL = evil, evil, "javascript:alert(1)"
	c.outcome.Sites = []storage.Site{{Name: evil, URL: "javascript:alert(2)"}}
	c.outcome.LostSites, c.outcome.LostScopes = c.outcome.Sites, []string{evil}
	b := r.browser()
	for _, p := range []*reply{
		b.get("/connect/" + testLink), b.consent(), b.get("/problems/" + url.PathEscape(evil)),
		b.get("/problems/internal?ref=" + url.QueryEscape(evil)), b.get("/connect/" + url.PathEscape(evil)),
	} {
		if n := len(p.all("script")); n != 0 {
			t.Errorf("%d scripts on %q", n, p.heading(t))
		}
		for _, n := range p.all("img") {
			if attr(n, "onerror") != "" {
				t.Error("markup came through")
			}
		}
		for _, n := range p.all("a") {
			if strings.HasPrefix(attr(n, "href"), "javascript:") {
				t.Error("a javascript: link came through")
			}
		}
	}
	if p := b.get("/connect/" + testLink); !strings.Contains(p.text, "alert(1)") {
		t.Error("the text was dropped instead of escaped")
	}
}

func TestEveryProblemReadsWhole(t *testing.T) {
	headings := make(map[string]problem)
	for status, p := range statusPages {
		headings[p.heading] = problem(status)
	}
	for name, p := range problemTexts {
		if other, taken := headings[p.heading]; taken {
			t.Errorf("%s and %s share a heading", name, other)
		}
		headings[p.heading] = name
		if p.code < 400 || p.lead == "" || (len(p.next) == 0 && name != problemBusy && name != problemUnavailable) {
			t.Errorf("%s: code %d, lead %q, %d steps", name, p.code, p.lead, len(p.next))
		}
		r := newRig(t)
		want := p
		if !p.landing {
			want = problemTexts[problemNotFound]
		}
		r.browser().get("/problems/"+string(name)).want(t, want.code, want.heading)
	}
}

func TestScopesInPlainWords(t *testing.T) {
	got := explainScopes([]string{"offline_access", "manage:jira-webhook", "read:issue-details:jira", "delete:page:confluence", "x:y", "read:thing:unknown", "write", ""})
	want := []scopeWords{
		{"offline_access", "Keep access while you are away, until you or an operator end it", "stays"},
		{"manage:jira-webhook", "Create and delete webhooks in Jira", "changes"},
		{"read:issue-details:jira", "Read issue details in Jira", "reads"},
		{"delete:page:confluence", "Delete page in Confluence", "changes"},
		{"x:y", "", ""},
		{"read:thing:unknown", "", "reads"},
		{"write", "", ""},
		{"", "", ""},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestParseCallback(t *testing.T) {
	for _, row := range []struct{ query, want string }{
		{"state=s&code=c", "s c "},
		{"state=s&error=access_denied&error_description=x", "s  access_denied"},
		{"state=s&error=%0aforged", "s  unreadable_error"},
		{"state=s&error=" + strings.Repeat("e", 65), "s  unreadable_error"},
		{"state=s&code=" + strings.Repeat("c", 64<<10), "s " + strings.Repeat("c", 64<<10) + " "},
		{"state=s", "refused"},
		{"code=c", "refused"},
		{"state=&code=c", "refused"},
		{"state=s&code=c&error=e", "refused"},
		{"state=s&state=t&code=c", "refused"},
		{"state=s&code=c&code=d", "refused"},
		{"state=s&code=c&iss=https%3A%2F%2Fp.example", "s c  https://p.example"},
		{"state=s&code=c&iss=a&iss=b", "refused"},
		{"state=s&code=%zz", "refused"},
		{"state=" + strings.Repeat("s", maxLink+1) + "&code=c", "refused"},
		{"", "refused"},
	} {
		got := "refused"
		if cb, err := parseCallback(row.query); err == nil {
			got = fmt.Sprintf("%s %s %s %s", cb.State, cb.Code.Reveal(), cb.Error, cb.Issuer)
		}
		if got = strings.TrimSuffix(got, " "); got != row.want {
			t.Errorf("%.80s: got %.80q, want %.80q", row.query, got, row.want)
		}
	}
}

func FuzzParseCallback(f *testing.F) {
	f.Add("state=s&code=c")
	f.Add("state=s&error=access_denied;&error=2")
	f.Fuzz(func(t *testing.T, query string) {
		cb, err := parseCallback(query)
		if err == nil && (cb.State == "" || cb.Code.Empty() == (cb.Error == "") || strings.ContainsAny(cb.Error, "\r\n\"\\")) {
			t.Errorf("%q was taken as %q %q", query, cb.State, cb.Error)
		}
	})
}

func TestOnlyAProviderWithSitesTalksOfThem(t *testing.T) {
	view := newFakeBroker().consents[testLink].view
	if !strings.Contains(strings.Join(notes(&view), " "), "one site at Atlassian") {
		t.Error("nothing says that a consent is for one site")
	}
	view.HasSites = false
	if n := notes(&view); len(n) != 0 {
		t.Errorf("got %q for a provider without sites", n)
	}
}
