package broker_test

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

func (w *world) pause(b *broker.Broker, reason string) {
	w.t.Helper()
	if _, err := b.PauseApp(ctx, op, "jira", reason); err != nil {
		w.t.Fatal(err)
	}
}

// idle wants nothing to be sent for a Jira grant, and callers to be told why.
func (w *world) idle(b *broker.Broker, a storage.Address) {
	w.t.Helper()
	posts := w.sim.Ledger().TokenPosts
	_, err := b.AccessToken(ctx, svc, broker.TokenRequest{Address: a})
	if broker.ReasonOf(err) != broker.ReasonAppPaused || !strings.Contains(err.Error(), "paused by op") || !strings.Contains(err.Error(), "holdfast apps resume jira") {
		w.t.Errorf("got %v, want APP_PAUSED with who paused it, and what ends that", err)
	}
	if n := w.sim.Ledger().TokenPosts - posts; n != 0 {
		w.t.Errorf("%d requests were sent for a paused app", n)
	}
}

// TestAppEventsAreNewestFirstWhoeverRecordedThem: the broker's own events are
// recorded with the next exchange between replicas, an operator's at once.
func TestAppEventsAreNewestFirstWhoeverRecordedThem(t *testing.T) {
	w := newWorld(t)
	addr := w.consentMany(1)[0]
	w.setSecrets("jira", "wrong")
	w.refused(addr, broker.ReasonAppPaused)
	w.clock.Advance(time.Second)
	w.pause(w.Broker, "a look")
	w.ShareApps(ctx)
	events := appOf(t, w.Broker).Events
	if len(events) != 2 || events[0].Type != storage.AppPaused || events[1].Type != storage.AppMisconfigured {
		t.Errorf("events: %+v, want the pause before what happened earlier", events)
	}
}

func TestAnOperatorsPauseStopsSpendingUntilItIsResumed(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.consent(wiki)
	w.pause(w.Broker, "the provider asked for it")
	if w.token(jira).Generation != 1 {
		t.Error("a valid token is not served on")
	}
	w.clock.Advance(2 * time.Hour)
	w.idle(w.Broker, jira)
	if _, err := w.ForceRefresh(ctx, op, "", jira); broker.ReasonOf(err) != broker.ReasonAppPaused {
		t.Errorf("a forced refresh: %v", err)
	}
	w.token(wiki) // the other app
	w.clock.Advance(time.Hour)
	w.idle(w.Broker, jira) // it does not resume by itself
	a := appOf(t, w.Broker)
	if !a.PausedByOperator || !strings.Contains(a.Paused, "the provider asked for it") {
		t.Errorf("%+v", a)
	}
	s, n, err := w.ResumeApp(ctx, op, "jira", 0)
	if err != nil || n != 0 || s.Paused != "" || s.PausedByOperator {
		t.Fatalf("resumed: %+v, %d, %v", s, n, err)
	}
	w.token(jira)
	if got := []storage.AppEventType{s.Events[0].Type, s.Events[1].Type}; !slices.Equal(got, []storage.AppEventType{storage.AppResumed, storage.AppPaused}) {
		t.Errorf("events, newest first: %v", got)
	}
}

func TestAPauseBindsOtherReplicasAndTheNextStart(t *testing.T) {
	w := newWorld(t)
	as := w.consentMany(3)
	other := w.replica()
	if _, err := other.AccessToken(ctx, svc, broker.TokenRequest{Address: as[0]}); err != nil {
		t.Fatal(err)
	}
	w.pause(w.Broker, "")
	w.clock.Advance(15 * time.Second)
	w.idle(other, as[1])
	w.idle(w.replica(), as[2]) // a new start knows it before its first spend
	if _, _, err := other.ResumeApp(ctx, op, "jira", 0); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(15 * time.Second)
	w.token(as[1])
}

func TestResumingEndsTheBrokersOwnPauseOnAllReplicas(t *testing.T) {
	w := newWorld(t)
	as := w.consentMany(2)
	var wrong atomic.Bool
	w.front(func(rw http.ResponseWriter, r *http.Request) bool {
		if wrong.Load() && r.URL.Path == "/oauth/token" {
			rw.WriteHeader(http.StatusUnauthorized) // the client is misconfigured at the provider
			return true
		}
		return false
	})
	other := w.replica()
	draw := func(b *broker.Broker, a storage.Address) error {
		_, err := b.AccessToken(ctx, svc, broker.TokenRequest{Address: a})
		return err
	}
	wrong.Store(true)
	for range 4 { // some steps of the backoff
		for i, b := range []*broker.Broker{w.Broker, other} {
			if err := draw(b, as[i]); broker.ReasonOf(err) != broker.ReasonAppPaused {
				t.Fatalf("replica %d: %v", i, err)
			}
		}
		w.clock.Advance(time.Minute)
	}
	for i, b := range []*broker.Broker{w.Broker, other} {
		_ = draw(b, as[i])
	}
	wrong.Store(false)
	if err := draw(other, as[1]); broker.ReasonOf(err) != broker.ReasonAppPaused {
		t.Fatalf("before its time: %v", err)
	}
	if _, _, err := w.ResumeApp(ctx, op, "jira", 0); err != nil {
		t.Fatal(err)
	}
	if err := draw(w.Broker, as[0]); err != nil {
		t.Errorf("at once: %v", err)
	}
	other.ShareApps(ctx)
	if err := draw(other, as[1]); err != nil {
		t.Errorf("on the other replica: %v", err)
	}
}

func TestOnlyAnAdminActsOnApps(t *testing.T) {
	w := newWorld(t)
	_, err := w.PauseApp(ctx, svc, "jira", "")
	if broker.ReasonOf(err) != broker.ReasonCallerNotAllowed {
		t.Errorf("a service pauses: %v", err)
	}
	if _, _, err := w.ResumeApp(ctx, svc, "jira", 0); broker.ReasonOf(err) != broker.ReasonCallerNotAllowed {
		t.Errorf("a service resumes: %v", err)
	}
	if _, err := w.Apps(ctx, svc); broker.ReasonOf(err) != broker.ReasonCallerNotAllowed {
		t.Errorf("a service lists: %v", err)
	}
	for _, act := range []func(string) error{
		func(id string) error { _, err := w.PauseApp(ctx, op, id, ""); return err },
		func(id string) error { _, _, err := w.ResumeApp(ctx, op, id, 0); return err },
	} {
		if err := act("nope"); broker.ReasonOf(err) != broker.ReasonInvalidRequest || !strings.Contains(err.Error(), "confluence, jira") {
			t.Errorf("an app that is not configured: %v", err)
		}
	}
	if a := appOf(t, w.Broker); len(a.Events) != 0 {
		t.Errorf("something was recorded: %+v", a.Events)
	}
	w.pause(w.Broker, "why")
	lines := w.auditLines()
	var outcomes []string
	for _, l := range lines {
		if l["method"] == "PauseApp" && l["caller"] == "op" && l["detail"] == "app jira: why" {
			outcomes = append(outcomes, l["outcome"].(string))
		}
	}
	if !slices.Equal(outcomes, []string{"begun", "ok"}) {
		t.Errorf("audited: %v, want the intent and the act", outcomes)
	}
}

func TestFamiliesThatLapsedWronglyComeBackTogether(t *testing.T) {
	w := newWorld(t, unhurried)
	const n, hit = 60, 4 // few are refused: too few to hold verdicts
	as := w.consentMany(n)
	families := w.sim.Ledger().Families
	for _, f := range families[:hit] {
		w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultRefuse, Family: f.ID, ForSeconds: 300})
	}
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultRefuse, Family: families[hit].ID}) // really dead
	w.drawAll(as)
	w.live(5*time.Minute, 10*time.Second)
	if p := w.phases(); p[family.Lapsed] != hit+1 {
		t.Fatalf("%v, want %d lapsed", p, hit+1)
	}
	if _, err := w.Revoke(ctx, op, "", as[n-1], ""); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(2 * time.Hour)
	if _, got, err := w.ResumeApp(ctx, op, "jira", time.Hour); err != nil || got != 0 {
		t.Errorf("%d asked about again (%v), all lapsed longer ago", got, err)
	}
	posts := w.sim.Ledger().TokenPosts
	if _, got, err := w.ResumeApp(ctx, op, "jira", 24*time.Hour); err != nil || got != hit+1 {
		t.Fatalf("%d asked about again (%v), want %d", got, err, hit+1)
	}
	w.Sweep(ctx)
	if p := w.phases(); p[family.Suspected] != 1 || p[family.Lapsed] != 0 || p[family.Revoked] != 1 || p[family.Active] != n-2 {
		t.Fatalf("after one sweep: %v", p)
	}
	w.live(10*time.Minute, 10*time.Second)
	if p := w.phases(); p[family.Lapsed] != 1 || p[family.Active] != n-2 {
		t.Errorf("in the end: %v, want the dead one lapsed and the others active", p)
	}
	if asked := w.sim.Ledger().TokenPosts - posts; asked != hit+2 {
		t.Errorf("%d requests, want one for each that lives and two for the dead one", asked)
	}
	if e := w.journal(as[0]); !slices.ContainsFunc(e, func(e family.Event) bool { return e.Type == family.EventAskedAgain && e.Detail == "by op" }) {
		t.Errorf("journal: %+v", e)
	}
}

// TestManyThatAreAskedAboutAgainHoldNoVerdicts: that they are refused once more
// says nothing new about the provider.
func TestManyThatAreAskedAboutAgainHoldNoVerdicts(t *testing.T) {
	w := newWorld(t, unhurried)
	as := w.consentMany(16)
	for _, f := range w.sim.Ledger().Families[:8] {
		w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultRefuse, Family: f.ID})
	}
	for _, a := range as[:8] { // one after the other
		_, _ = w.AccessToken(ctx, svc, broker.TokenRequest{Address: a})
		w.live(10*time.Minute, 30*time.Second)
	}
	if p := w.phases(); p[family.Lapsed] != 8 {
		t.Fatalf("%v, want 8 lapsed", p)
	}
	if _, n, err := w.ResumeApp(ctx, op, "jira", 24*time.Hour); err != nil || n != 8 {
		t.Fatalf("%d, %v", n, err)
	}
	w.live(5*time.Minute, 10*time.Second)
	if p := w.phases(); p[family.Lapsed] != 8 || appOf(t, w.Broker).VerdictsHeld {
		t.Errorf("%v, held %v", p, appOf(t, w.Broker).VerdictsHeld)
	}
}

func TestAPauseLetsALostAnswerBeRepeatedInsideItsLeeway(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.loseAnswer()
	if _, err := w.ForceRefresh(ctx, op, "", jira); broker.ReasonOf(err) != broker.ReasonProviderUnavailable {
		t.Fatalf("got %v, want a lost answer", err)
	}
	w.pause(w.Broker, "a look at the app")
	w.clock.Advance(time.Minute)
	w.Sweep(ctx)
	if g := w.grant(jira); g.State.Doubt != nil || g.State.Generation != 2 {
		t.Fatalf("generation %d, doubt %v: the family ends with its leeway", g.State.Generation, g.State.Doubt)
	}
	w.clock.Advance(2 * time.Hour)
	w.idle(w.Broker, jira) // and nothing new is spent
}
