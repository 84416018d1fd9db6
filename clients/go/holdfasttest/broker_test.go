package holdfasttest_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
	"github.com/holdfast-io/holdfast/clients/go/holdfasttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const grant = "acme/automation/jira"

func mustToken(t *testing.T, s *holdfast.TokenSource, want string) {
	t.Helper()
	if got, err := s.Token(); err != nil || got.AccessToken != want {
		t.Fatalf("got %v, %v, want %s", got, err, want)
	}
}

// direct is a transport into a handler, so that no test needs a network.
type direct struct{ handler http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, r)
	return w.Result(), nil
}

func TestAnExpiredTokenGoesUnnoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := holdfasttest.New(t)
		api := b.API(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) }))
		jira := &http.Client{Transport: &holdfast.Transport{
			Source: b.Client().TokenSource(t.Context(), grant), Base: direct{api}, Relative: true,
		}}
		get := func() int {
			resp, err := jira.Get("/rest/api/3/myself")
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			return resp.StatusCode
		}
		old := b.Token(grant)
		if got := get(); got != 200 {
			t.Errorf("status %d", got)
		}
		b.Expire(grant)
		if got := get(); got != 200 {
			t.Errorf("after the expiry: status %d", got)
		}
		if d := cmp.Diff(holdfasttest.Calls{Tokens: 2, Reports: 1}, b.Calls(grant)); d != "" {
			t.Errorf("calls (-want +got):\n%s", d)
		}
		for token, want := range map[string]int{"": 401, "invented": 401, old: 401, b.Token(grant): 200} {
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			r.Header.Set("Authorization", "Bearer "+token)
			if api.ServeHTTP(w, r); w.Code != want {
				t.Errorf("%q: status %d, want %d", token, w.Code, want)
			}
		}
	})
}

func TestARefusalArrivesAsItWasGiven(t *testing.T) {
	for _, want := range []*holdfast.Error{
		{Reason: holdfast.ConsentRequired, Message: "m", Why: "REFUSED", Link: "https://holdfast.example.com/c", RequestID: "r"},
		{Reason: holdfast.ScopeNotGranted, Message: "m", Missing: []string{"read:jira-work", "read:me"}},
		{Reason: holdfast.SiteAmbiguous, Message: "m", Sites: "one, two"},
		{Reason: holdfast.InvalidRequest, Message: "m", Field: "purpose"},
		{Reason: holdfast.GrantNotFound, Message: "m"},
		{Reason: holdfast.CallerNotAllowed, Message: "m"},
		{Reason: holdfast.CallerUnauthenticated, Message: "m"},
		{Reason: holdfast.Internal, Message: "m"},
		{Reason: holdfast.StoreUnavailable, Message: "m", RetryAfter: 3 * time.Second},
		{Reason: holdfast.CallerRateLimited, Message: "m", RetryAfter: 3 * time.Second},
	} {
		t.Run(string(want.Reason), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := holdfasttest.New(t)
				b.Refuse(grant, want)
				s := b.Client().TokenSource(t.Context(), grant)
				_, err := s.Token()
				got, ok := errors.AsType[*holdfast.Error](err)
				if !ok {
					t.Fatalf("got %v", err)
				}
				if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(holdfast.Error{}), cmpopts.IgnoreFields(holdfast.Error{}, "Code"), cmpopts.EquateEmpty()); d != "" {
					t.Errorf("refusal (-want +got):\n%s", d)
				}
				if got.Temporary() != want.Temporary() {
					t.Errorf("temporary: %v", got.Temporary())
				}
				b.Refuse(grant, nil)
				<-time.After(4 * time.Second) // in virtual time: what the refusal named has to pass
				mustToken(t, s, b.Token(grant))
			})
		})
	}
}

func TestAWatchedSourceLearnsOfEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := holdfasttest.New(t)
		s := b.Client().TokenSource(t.Context(), grant, holdfast.Watch())
		mustToken(t, s, b.Token(grant))
		synctest.Wait()
		b.Rotate(grant)
		synctest.Wait()
		mustToken(t, s, "holdfasttest."+grant+".2")
		b.Refuse(grant, &holdfast.Error{Reason: holdfast.GrantRevoked})
		synctest.Wait()
		if _, err := s.Token(); err == nil {
			t.Error("a revoked grant has a token")
		}
		b.Refuse(grant, nil)
		synctest.Wait()
		mustToken(t, s, "holdfasttest."+grant+".3")
		if d := cmp.Diff(holdfasttest.Calls{Tokens: 2, Watches: 1}, b.Calls(grant)); d != "" {
			t.Errorf("calls (-want +got):\n%s", d)
		}
	})
}

func TestTokensAreRenewedAndOutliveTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := holdfasttest.New(t)
		b.SetLife(2 * time.Minute)
		b.SetAPIBase(grant, "https://api.example.com/ex/jira/1/")
		b.Rotate(grant)
		s := b.Client().TokenSource(t.Context(), grant)
		mustToken(t, s, "holdfasttest."+grant+".2")
		if base, err := s.APIBase(t.Context()); base != "https://api.example.com/ex/jira/1" || err != nil {
			t.Errorf("base %s, %v", base, err)
		}
		<-time.After(111 * time.Second)
		mustToken(t, s, "holdfasttest."+grant+".2") // renewed in the background
		synctest.Wait()
		mustToken(t, s, "holdfasttest."+grant+".3")
		b.SetAway(true)
		<-time.After(119 * time.Second)
		mustToken(t, s, "holdfasttest."+grant+".3")
		<-time.After(time.Second)
		var e *holdfast.Error
		if _, err := s.Token(); !errors.As(err, &e) || e.Reason != holdfast.Unreachable {
			t.Errorf("got %v, want UNREACHABLE", err)
		}
	})
}
