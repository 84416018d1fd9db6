package atlassiansim

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestFaults hits one refresh with each fault. What the client sees is one
// side; whether the token was spent is the other.
func TestFaults(t *testing.T) {
	broken := func(t *testing.T, r reply) {
		if r.err == nil {
			t.Errorf("want a broken connection, got %d %s", r.status, r.body)
		}
	}
	beforeHeaders := func(t *testing.T, r reply) {
		broken(t, r)
		if r.status != 0 {
			t.Errorf("got status %d before the connection broke", r.status)
		}
	}
	afterHeaders := func(body bool) func(*testing.T, reply) {
		return func(t *testing.T, r reply) {
			broken(t, r)
			if r.status != 200 || (len(r.body) > 0) != body || !errors.Is(r.err, io.ErrUnexpectedEOF) {
				t.Errorf("got status %d and %d bytes, error %v", r.status, len(r.body), r.err)
			}
		}
	}
	says := func(status int, body string) func(*testing.T, reply) {
		return func(t *testing.T, r reply) {
			if r.err != nil || r.status != status || !contains(r.body, body) {
				t.Errorf("got %d %s, error %v; want %d %s", r.status, r.body, r.err, status, body)
			}
		}
	}
	retryAfter := func(want string) func(*testing.T, reply) {
		return func(t *testing.T, r reply) {
			says(429, "Rate limit")(t, r)
			if got := strings.Join(r.header.Values("Retry-After"), ","); got != want {
				t.Errorf("Retry-After %q, want %q", got, want)
			}
		}
	}
	expiresIn := func(want string) func(*testing.T, reply) {
		return func(t *testing.T, r reply) {
			if got := string(r.pair(t).ExpiresIn); got != want {
				t.Errorf("expires_in %s, want %s", got, want)
			}
		}
	}
	cases := []struct {
		name  string
		fault Fault
		sees  func(*testing.T, reply)
		// spent: the provider has spent the token; delivered: the ledger takes
		// the answer for received.
		spent, delivered bool
	}{
		{"dropped before the answer", Fault{Kind: FaultDropBeforeAnswer}, beforeHeaders, true, false},
		{"dropped, not rotated", Fault{Kind: FaultDropBeforeAnswer, KeepToken: true}, beforeHeaders, false, false},
		{"dropped after the headers", Fault{Kind: FaultDropAfterHeaders}, afterHeaders(false), true, false},
		{"dropped in the body", Fault{Kind: FaultDropMidBody}, afterHeaders(true), true, false},
		{"gzip without a label", Fault{Kind: FaultGzipUnlabelled}, func(t *testing.T, r reply) {
			z, err := gzip.NewReader(strings.NewReader(string(r.body)))
			if err != nil || r.header.Get("Content-Encoding") != "" {
				t.Fatalf("not an unlabelled gzip body: %v", err)
			}
			if plain, err := io.ReadAll(z); err != nil || !contains(plain, "refresh_token") {
				t.Errorf("inside is no token answer: %v", err)
			}
		}, true, false},
		{"a gzip label without gzip", Fault{Kind: FaultGzipMislabelled}, func(t *testing.T, r reply) {
			says(200, "refresh_token")(t, r)
			if r.header.Get("Content-Encoding") != "gzip" {
				t.Error("no gzip label")
			}
		}, true, false},
		{"truncated JSON", Fault{Kind: FaultTruncatedJSON}, func(t *testing.T, r reply) {
			says(200, "access_token")(t, r)
			if json.Valid(r.body) {
				t.Error("the JSON is whole")
			}
		}, true, false},
		{"HTML 200", Fault{Kind: FaultHTML}, says(200, "<html>"), true, false},
		{"HTML 200, not rotated", Fault{Kind: FaultHTML, KeepToken: true}, says(200, "<html>"), false, false},
		{"503 after rotating", Fault{Kind: FaultStatus}, says(503, "upstream error"), true, false},
		{"502 without rotating", Fault{Kind: FaultStatus, Status: 502, KeepToken: true}, says(502, "upstream error"), false, false},
		{"hang without rotating", Fault{Kind: FaultHang, KeepToken: true, DelayMillis: 1}, beforeHeaders, false, false},
		{"hang after rotating", Fault{Kind: FaultHang, DelayMillis: 1}, beforeHeaders, true, false},
		{"answer delayed", Fault{Kind: FaultDelayAnswer, DelayMillis: 1}, says(200, "refresh_token"), true, true},
		{"request delayed", Fault{Kind: FaultDelayRequest, DelayMillis: 1}, says(200, "refresh_token"), true, true},
		{"spurious 403", Fault{Kind: FaultRefuse}, wantRefused, false, true},
		{"OAuth error", Fault{Kind: FaultOAuthError, Error: "invalid_request", ErrorDescription: "multiple concurrent requests, <retry>"},
			says(400, `{"error":"invalid_request","error_description":"multiple concurrent requests, <retry>"}`), false, true},
		{"OAuth error with a status", Fault{Kind: FaultOAuthError, Error: "x", Status: 403}, says(403, `{"error":"x","error_description":""}`), false, true},
		{"429, seconds", Fault{Kind: FaultRateLimit, RetryAfterSeconds: 30}, retryAfter("30"), false, true},
		{"429, date", Fault{Kind: FaultRateLimit, RetryAfterSeconds: 30, RetryAfterForm: "date"}, retryAfter("Sun, 01 Nov 2026 12:00:30 GMT"), false, true},
		{"429, no Retry-After", Fault{Kind: FaultRateLimit, RetryAfterForm: "none"}, retryAfter(""), false, true},
		{"no refresh token", Fault{Kind: FaultNoRefreshToken}, func(t *testing.T, r reply) {
			if p := r.pair(t); p.Refresh != "" || p.Access == "" {
				t.Errorf("got %d and %d bytes", len(p.Refresh), len(p.Access))
			}
		}, false, true},
		{"same refresh token", Fault{Kind: FaultSameRefreshToken}, func(t *testing.T, r reply) {
			if r.pair(t).Refresh == "" {
				t.Error("no refresh token")
			}
		}, false, true},
		{"64 KiB tokens", Fault{Kind: FaultTokenBytes, TokenBytes: 65536}, func(t *testing.T, r reply) {
			if p := r.pair(t); len(p.Refresh) != 65536 || len(p.Access) != 65536 {
				t.Errorf("got %d and %d bytes", len(p.Refresh), len(p.Access))
			}
		}, true, true},
		{"short life", Fault{Kind: FaultExpiresIn, ExpiresIn: "5"}, expiresIn("5"), true, true},
		{"expires_in missing", Fault{Kind: FaultExpiresIn, ExpiresIn: "missing"}, expiresIn(""), true, true},
		{"expires_in a string", Fault{Kind: FaultExpiresIn, ExpiresIn: "string"}, expiresIn(`"3600"`), true, true},
		{"expires_in negative", Fault{Kind: FaultExpiresIn, ExpiresIn: "negative"}, expiresIn("-1"), true, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			p := b.consent()
			c.fault.Count = 1
			b.arm(c.fault)
			c.sees(t, b.refresh(p.Refresh))
			f := b.onlyFamily()
			e := last(f)
			got := []any{f.LiveRefresh[0] != "refresh-4", e.Delivered, e.Fault, len(f.Exchanges)}
			if d := cmp.Diff([]any{c.spent, c.delivered, c.fault.Kind, 2}, got); d != "" {
				t.Fatalf("spent, delivered, fault, exchanges (-want +got):\n%s", d)
			}
			// Whatever happened, the token sent is good for another try inside
			// the leeway, and the fault is over.
			b.refresh(p.Refresh).pair(t)
		})
	}
}

func TestAKeptRefreshTokenStaysGoodForEver(t *testing.T) {
	for _, kind := range []FaultKind{FaultNoRefreshToken, FaultSameRefreshToken} {
		b := newBench(t)
		p := b.consent()
		b.arm(Fault{Kind: kind, GrantType: "refresh_token"})
		for range 3 {
			b.advance(time.Hour)
			if got := b.refresh(p.Refresh).pair(t).Refresh; got != "" && got != p.Refresh {
				t.Fatalf("%s: another refresh token came back", kind)
			}
		}
		if f := b.onlyFamily(); last(f).Outcome != OutcomeKept || last(f).Reuse != "" {
			t.Errorf("%s: the ledger says %+v", kind, last(f))
		}
	}
}

func TestAShortLifeIsTrue(t *testing.T) {
	b := newBench(t)
	b.arm(Fault{Kind: FaultExpiresIn, ExpiresIn: "5"})
	p := b.consent()
	b.advance(5 * time.Second)
	if r := b.get("/me", p.Access); r.status != 401 {
		t.Fatalf("after its life the token answers %d", r.status)
	}
}

// TestClientThatGaveUp: the client leaves while the answer is held back; the
// rotation happened, and the ledger knows that nobody got the pair.
func TestClientThatGaveUp(t *testing.T) {
	for _, kind := range []FaultKind{FaultHang, FaultDelayAnswer, FaultDelayRequest} {
		t.Run(string(kind), func(t *testing.T) {
			b := newBench(t)
			p := b.consent()
			b.arm(Fault{Kind: kind, DelayMillis: 60_000, Count: 1})
			// A server of its own tells when it has seen the client leave.
			gone := make(chan struct{})
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				context.AfterFunc(r.Context(), func() { close(gone) })
				b.sim.ServeHTTP(w, r)
			}))
			defer srv.Close()
			ctx, cancel := context.WithCancel(t.Context())
			body, err := json.Marshal(refreshRequest(jiraID, p.Refresh))
			if err != nil {
				t.Fatal(err)
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL+"/oauth/token", strings.NewReader(string(body)))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			answered := make(chan reply)
			go func() { answered <- b.do(req) }()
			b.until(func(l Ledger) bool { return l.Posts() == 2 }) // it has arrived
			cancel()
			if r := <-answered; !errors.Is(r.err, context.Canceled) {
				t.Fatalf("got %d, error %v", r.status, r.err)
			}
			<-gone
			b.sim.Close() // ends a request's delay, which does not care for the client
			b.until(func(l Ledger) bool {
				f := l.Families[0]
				return len(f.Exchanges) == 2 && last(f).Outcome == OutcomeRotated && !last(f).Delivered
			})
			b.advance(10 * time.Minute)
			if lost := b.sim.Ledger().LostFamilies(); len(lost) != 1 || !lost[0].Stranded {
				t.Fatalf("want the family stranded, got %+v", lost)
			}
		})
	}
}

// until polls the ledger: what a handler does for a client that has gone can
// be seen nowhere else.
func (b *bench) until(ok func(Ledger) bool) {
	b.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok(b.sim.Ledger()) {
		if time.Now().After(deadline) {
			b.t.Fatalf("the ledger does not get there: %+v", b.sim.Ledger())
		}
		select {
		case <-b.t.Context().Done():
			b.t.Fatal(b.t.Context().Err())
		case <-time.After(time.Millisecond):
		}
	}
}

func TestFaultsHitWhatTheyAreFor(t *testing.T) {
	b := newBench(t)
	mine, other := b.consent(), b.consent()
	q := authorizeQuery(jiraID, jiraScopes)
	q.Set("sim_account", DefaultAccounts()[1].ID)
	ada := b.consentOf(jiraID, q)
	conf := b.consentOf(confID, authorizeQuery(confID, "read:space:confluence offline_access"))
	l := b.sim.Ledger()
	tries := map[string]func() int{
		"mine":  func() int { return b.refresh(mine.Refresh).status },
		"other": func() int { return b.refresh(other.Refresh).status },
		"ada":   func() int { return b.refresh(ada.Refresh).status },
		"conf":  func() int { return b.post(refreshRequest(confID, conf.Refresh)).status },
		"code": func() int {
			return b.post(codeRequest(jiraID, b.authorize(authorizeQuery(jiraID, jiraScopes)).Query().Get("code"))).status
		},
		"me": func() int { return b.get("/me", mine.Access).status },
	}
	for _, c := range []struct {
		name  string
		fault Fault
		hits  []string
	}{
		{"family", Fault{Family: l.Families[0].ID}, []string{"mine"}},
		{"token", Fault{Token: l.Families[1].LiveRefresh[0]}, []string{"other"}},
		{"account", Fault{AccountID: DefaultAccounts()[1].ID}, []string{"ada"}},
		{"client", Fault{ClientID: confID}, []string{"conf"}},
		{"grant type", Fault{GrantType: "authorization_code"}, []string{"code"}},
		{"endpoint", Fault{Endpoint: EndpointMe}, []string{"me"}},
		{"every token request", Fault{}, []string{"mine", "other", "ada", "conf", "code"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.fault.Kind, c.fault.Status, c.fault.KeepToken = FaultStatus, 599, true
			id := b.arm(c.fault)
			got := map[string]bool{}
			for name, try := range tries {
				if try() == 599 {
					got[name] = true
				}
			}
			want := map[string]bool{}
			for _, name := range c.hits {
				want[name] = true
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("hits (-want +got):\n%s", d)
			}
			if !b.sim.RemoveFault(id) {
				t.Error("the fault was not armed any more")
			}
		})
	}
}

func TestSkipAndCount(t *testing.T) {
	b := newBench(t)
	p := b.consent()
	b.arm(Fault{Kind: FaultRefuse, Skip: 1, Count: 2})
	b.arm(Fault{Kind: FaultStatus, KeepToken: true, Count: 1})
	var got []int
	for range 5 {
		got = append(got, b.refresh(p.Refresh).status)
	}
	// The second fault takes the request that the first one lets pass.
	if d := cmp.Diff([]int{503, 403, 403, 200, 200}, got); d != "" {
		t.Fatalf("statuses (-want +got):\n%s", d)
	}
	if left := b.sim.Faults(); len(left) != 0 {
		t.Fatalf("spent faults are still armed: %+v", left)
	}
}

func TestPercentageIsSeeded(t *testing.T) {
	run := func(seed uint64) (hits []bool) {
		b := newBench(t, func(c *Config) { c.Seed = seed })
		b.arm(Fault{Kind: FaultStatus, KeepToken: true, Percent: 30})
		for range 200 {
			hits = append(hits, b.post(map[string]string{}).status == 503)
		}
		return hits
	}
	first, again, other := run(7), run(7), run(8)
	n := 0
	for _, hit := range first {
		if hit {
			n++
		}
	}
	if n < 35 || n > 85 {
		t.Errorf("30%% of 200 hit %d times", n)
	}
	if !cmp.Equal(first, again) || cmp.Equal(first, other) {
		t.Error("the seed does not decide which requests are hit")
	}
}

func TestFaultValidation(t *testing.T) {
	for _, f := range []Fault{
		{Kind: "sneeze"},
		{Kind: FaultHang, DelayMillis: 15*60*1000 + 1},
		{Kind: FaultDelayAnswer},
		{Kind: FaultStatus, Status: 99},
		{Kind: FaultStatus, Percent: 101},
		{Kind: FaultStatus, Count: -1},
		{Kind: FaultStatus, Endpoint: "moon"},
		{Kind: FaultRefuse, KeepToken: true},
		{Kind: FaultNoRefreshToken, Endpoint: EndpointMe},
		{Kind: FaultOAuthError},
		{Kind: FaultRateLimit, RetryAfterForm: "soon"},
		{Kind: FaultTokenBytes, TokenBytes: 65537},
		{Kind: FaultExpiresIn, ExpiresIn: "later"},
	} {
		b := newBench(t)
		if _, err := b.sim.AddFault(f); err == nil || len(b.sim.Faults()) != 0 {
			t.Errorf("accepted: %+v", f)
		}
	}
}
