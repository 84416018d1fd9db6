package broker_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/storage"
)

// front restarts the broker against a server that asks hook before the
// simulator; a hook that answered returns true.
func (w *world) front(hook func(rw http.ResponseWriter, r *http.Request) bool) {
	w.t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !hook(rw, r) {
			w.provider(rw, r)
		}
	}))
	w.t.Cleanup(s.Close)
	w.simURL = s.URL
	// The broker before counted the real time too: the next one must not be behind it.
	w.clock.Advance(time.Minute)
	w.startBroker()
}

// meeting lets the first n token requests go on only once all of them are there.
func (w *world) meeting(n int) {
	w.t.Helper()
	var mu sync.Mutex
	arrived, all := 0, make(chan struct{})
	w.front(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/oauth/token" {
			return false
		}
		mu.Lock()
		if arrived++; arrived == n {
			close(all)
		}
		mu.Unlock()
		select {
		case <-all:
		case <-r.Context().Done():
		}
		return false
	})
}

// consentMany makes n grants of the Jira app whose tokens have expired.
func (w *world) consentMany(n int) []storage.Address {
	w.t.Helper()
	var out []storage.Address
	for i := range n {
		a := mustAddress(fmt.Sprintf("acme/s%d/jira", i))
		w.consent(a)
		out = append(out, a)
	}
	w.clock.Advance(2 * time.Hour)
	return out
}

// drawAll draws from all grants at once and returns the errors.
func (w *world) drawAll(as []storage.Address) []error {
	errs := make([]error, len(as))
	var wg sync.WaitGroup
	for i, a := range as {
		wg.Go(func() { _, errs[i] = w.AccessToken(ctx, svc, broker.TokenRequest{Address: a}) })
	}
	wg.Wait()
	return errs
}

func TestGrantsThatMeetASecretRotationTogetherDoNotPauseTheApp(t *testing.T) {
	w := newWorld(t)
	as := w.consentMany(8)
	w.setSecrets("jira", "rotated-away", "secret-jira")
	w.meeting(len(as)) // all are refused the first secret before any answer is known
	for i, err := range w.drawAll(as) {
		if err != nil {
			t.Errorf("%s: %v", as[i], err)
		}
	}
}

func TestABurstOfRefusedClientsIsOneStepOfTheBackoff(t *testing.T) {
	w := newWorld(t)
	as := w.consentMany(8)
	w.setSecrets("jira", "wrong")
	w.meeting(len(as))
	for i, err := range w.drawAll(as) {
		if broker.ReasonOf(err) != broker.ReasonAppPaused {
			t.Errorf("%s: got %v, want APP_PAUSED", as[i], err)
		}
	}
	if e := w.refused(as[0], broker.ReasonAppPaused); e.RetryAfter > 5*time.Second {
		t.Fatalf("tried again in %v, want the first step of 5 s", e.RetryAfter)
	}
}

func TestAPausedAppIsProbedByOneAttemptAtATime(t *testing.T) {
	w := newWorld(t)
	as := w.consentMany(8)
	w.setSecrets("jira", "wrong")
	w.refused(as[0], broker.ReasonAppPaused)
	w.clock.Advance(6 * time.Second) // the first step is over
	posts := w.sim.Ledger().TokenPosts
	// Answered only after everybody has asked.
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultDelayRequest, DelayMillis: 300})
	for i, err := range w.drawAll(as) {
		if broker.ReasonOf(err) != broker.ReasonAppPaused {
			t.Errorf("%s: got %v, want APP_PAUSED", as[i], err)
		}
	}
	if got := w.sim.Ledger().TokenPosts - posts; got != 1 {
		t.Fatalf("%d attempts probed the paused app, want 1", got)
	}
	e := w.refused(as[0], broker.ReasonAppPaused)
	if e.RetryAfter <= 5*time.Second || e.RetryAfter > 10*time.Second {
		t.Fatalf("tried again in %v, want the second step of 10 s", e.RetryAfter)
	}
}

func TestANewSecretFileEndsThePauseAtOnce(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	w.setSecrets("jira", "wrong")
	w.refused(jira, broker.ReasonAppPaused)
	w.setSecrets("jira", "secret-jira")
	if answer := w.token(jira); answer.Generation != 2 {
		t.Fatalf("generation %d", answer.Generation)
	}
}

func TestAGrantOfAForeignClientHoldsBackItselfAlone(t *testing.T) {
	w := newWorld(t)
	bad, good, later := mustAddress("acme/bad/jira"), mustAddress("acme/good/jira"), mustAddress("acme/later/jira")
	w.consent(bad)
	foreign := w.sim.Ledger().Families[0].ID
	w.consent(good)
	w.consent(later)
	w.clock.Advance(2 * time.Hour)
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultOAuthError, Family: foreign, Status: 403, Error: "invalid_grant",
		ErrorDescription: "The client associated with this refresh token (A) is different than the one sent in the request (B)."})
	w.refused(bad, broker.ReasonProviderUnavailable)
	w.token(good)
	for range 5 { // again and again
		posts := w.sim.Ledger().TokenPosts
		w.refused(bad, broker.ReasonProviderUnavailable)
		if w.sim.Ledger().TokenPosts != posts {
			t.Fatal("the provider was asked again at once")
		}
		w.clock.Advance(61 * time.Second)
		w.refused(bad, broker.ReasonProviderUnavailable)
	}
	w.token(later)
	status, err := w.Status(ctx, op)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range status.Apps {
		if a.Paused != "" {
			t.Errorf("app %s is paused: %s", a.ID, a.Paused)
		}
	}
}

// TestADoubtWhoseLeewayEndsProbesAPausedApp: the client was mended at the
// provider, of which nobody tells the broker, and the next probe would come too
// late for a lost answer.
func TestADoubtWhoseLeewayEndsProbesAPausedApp(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	w.loseAnswer()
	w.refused(jira, broker.ReasonProviderUnavailable)
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultOAuthError, Status: 401, Error: "invalid_client", ForSeconds: 520})
	posts := w.sim.Ledger().TokenPosts
	w.live(590*time.Second, 5*time.Second)
	if g := w.grant(jira); g.State.Generation != 2 || g.State.Doubt != nil {
		t.Errorf("generation %d, in doubt %v: its leeway was over before the app was tried again", g.State.Generation, g.State.Doubt)
	}
	if got := w.sim.Ledger().TokenPosts - posts; got > 14 {
		t.Errorf("%d requests in ten minutes", got)
	}
	w.neverLate()
}
