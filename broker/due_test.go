package broker_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

func sweeping(w *world) { w.cfg.SweepEvery = 5 * time.Millisecond }

func TestALostAnswerIsRepeatedThoughNobodyCalls(t *testing.T) {
	w := newWorld(t, sweeping)
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultDropBeforeAnswer, Count: 1})
	_, _ = w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira})
	waitFor(t, func() bool { return w.refreshes() == 1 })
	w.clock.Advance(10 * time.Second)
	waitFor(t, func() bool {
		g, err := w.store.Grant(ctx, jira.GrantID())
		return err == nil && g.State.Generation == 2 && g.State.Doubt == nil
	})
}

func TestIdleFamiliesAreKeptAlive(t *testing.T) {
	w := newWorld(t, sweeping)
	w.consent(jira)
	w.clock.Advance(39 * 24 * time.Hour)
	if n := w.refreshes(); n != 0 {
		t.Fatalf("%d refreshes long before half of the idle limit", n)
	}
	w.clock.Advance(12 * 24 * time.Hour)
	waitFor(t, func() bool { return w.refreshes() == 1 })
	if w.token(jira).Generation != 2 {
		t.Fatal("the family was not refreshed")
	}
}

func TestARefusalIsConfirmedThoughNobodyCalls(t *testing.T) {
	w := newWorld(t, sweeping)
	w.consent(jira)
	if _, err := w.sim.RevokeAccess(atlassiansim.DefaultAccounts()[0].ID, "client-jira"); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(2 * time.Hour)
	_, _ = w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira})
	w.clock.Advance(39 * time.Second)
	waitFor(t, func() bool {
		_, err := w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira})
		return broker.ReasonOf(err) == broker.ReasonConsentRequired
	})
}

func TestADueGrantThatCanNotBeHelpedIsLeftAloneForAWhile(t *testing.T) {
	w := newWorld(t, sweeping)
	w.consent(jira)
	w.consent(wiki)
	w.setSecrets("jira", "wrong")
	before := w.sim.Ledger().TokenPosts
	w.clock.Advance(51 * 24 * time.Hour)
	// Both have had their turn: the one is refreshed, the other was refused, and is asked again after 5 s and 10 more.
	waitFor(t, func() bool {
		g, _, _ := w.Grant(ctx, op, "", wiki)
		return g != nil && g.Generation == 2 && w.sim.Ledger().TokenPosts >= before+2
	})
	posts := w.sim.Ledger().TokenPosts
	swaps := w.backend.swapCount()
	waitFor(t, func() bool { w.clock.Advance(time.Second); return w.clock.Now().Unix()%20 == 0 })
	if got := w.sim.Ledger().TokenPosts - posts; got > 2 {
		t.Fatalf("%d POSTs of a paused app within 20 s", got)
	}
	if got := w.backend.swapCount() - swaps; got > 6 {
		t.Fatalf("%d swaps within 20 s", got)
	}
}

func TestAnAttemptOfAnEarlierProcessIsResolvedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	// The process dies between the announcement and the spend.
	w.backend.onSwap(func(c []storage.Change) error {
		if err := w.backend.Backend.Swap(ctx, c, nil); err != nil {
			t.Error(err)
		}
		return storage.ErrUnavailable
	})
	w.refused(jira, broker.ReasonStoreUnavailable)
	w.backend.onSwap(nil)
	if err := w.Close(ctx); err != nil {
		t.Fatal(err)
	}
	w.startBroker()
	if n, err := w.TakeOver(ctx); n != 1 || err != nil {
		t.Fatalf("took over %d, %v", n, err)
	}
	if answer := w.token(jira); answer.Generation != 2 || !w.works(answer) {
		t.Fatalf("generation %d: the caller would have waited out a dead lease", answer.Generation)
	}
	if n, err := w.TakeOver(ctx); n != 0 || err != nil {
		t.Fatalf("took over %d more, %v", n, err)
	}
}

func TestNoAdminActIsDoneThatCanNotBeAudited(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	if err := w.cfg.Audit.Close(); err != nil {
		t.Fatal(err)
	}
	_, refresh := w.ForceRefresh(ctx, op, "", jira)
	_, revoke := w.Revoke(ctx, op, "", jira, "")
	_, reauth := w.Reauth(ctx, op, "", jira)
	_, consent := w.StartConsent(ctx, op, broker.ConsentRequest{Address: wiki})
	for name, err := range map[string]error{"ForceRefresh": refresh, "Revoke": revoke, "Reauth": reauth, "StartConsent": consent} {
		if broker.ReasonOf(err) != broker.ReasonAuditUnavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	g, err := w.store.Grant(ctx, jira.GrantID())
	if err != nil || g.State.Generation != 1 || g.ReauthAllowed || w.refreshes() != 0 {
		t.Fatalf("an act was done all the same: %+v, %v", g.State, err)
	}
}

// plant stores n grants of an app as if they had been consented long ago, with
// tokens that nobody ever gave.
func (w *world) plant(n int, app, product string) {
	w.t.Helper()
	long := w.clock.Now().Add(-60 * 24 * time.Hour)
	var wg sync.WaitGroup // the backend syncs what comes at once together
	defer wg.Wait()
	room := make(chan struct{}, 64)
	for i := range n {
		a := mustAddress(fmt.Sprintf("planted/s%d/%s", i, product))
		pair := family.Pair{Refresh: secret.New("refresh"), Access: secret.New("access"), ExpiresIn: time.Hour}
		g := storage.Grant{ID: a.GrantID(), Address: a, App: app, Account: "nobody", CreatedAt: long}
		var events []family.Event
		g.State, events = family.Start(long, long, pair)
		g.Due = g.State.AttemptDue(w.cfg.Timing, g.ID)
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			if err := w.store.Swap(ctx, storage.Update{Grant: &g, Events: events}); err != nil {
				w.t.Error(err)
			}
		})
	}
}

// TestGrantsThatCanNotBeHelpedStarveNoOther: thousands of an app that is
// paused are due for weeks; the answer that another app's grant has lost today
// is due after all of them.
func TestGrantsThatCanNotBeHelpedStarveNoOther(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.consent(wiki)
	w.setSecrets("confluence", "wrong")
	w.clock.Advance(2 * time.Hour)
	w.refused(wiki, broker.ReasonAppPaused)
	w.plant(2001, "confluence", "confluence")
	w.loseAnswer()
	w.refused(jira, broker.ReasonProviderUnavailable)
	w.clock.Advance(30 * time.Second)
	posts := w.sim.Ledger().TokenPosts
	w.Sweep(ctx)
	if g := w.grant(jira); g.State.Generation != 2 || g.State.Doubt != nil {
		t.Fatalf("generation %d: the lost answer was not found", g.State.Generation)
	}
	w.clock.Advance(10 * time.Second) // the pause may be probed
	for range 5 {
		w.Sweep(ctx)
	}
	if got := w.sim.Ledger().TokenPosts - posts; got > 3 {
		t.Errorf("%d POSTs, want the repeat and a probe or two of the paused app", got)
	}
}

// TestRecoveryComesBeforeKeepAlive: the provider sees the repeat first,
// although the idle families have been due for longer.
func TestRecoveryComesBeforeKeepAlive(t *testing.T) {
	w := newWorld(t)
	as := w.consentMany(6)
	w.clock.Advance(51 * 24 * time.Hour)
	w.loseAnswer()
	w.refused(as[5], broker.ReasonProviderUnavailable)
	w.clock.Advance(3 * time.Second)
	w.cfg.Load = broker.Load{Concurrency: 2} // one by one
	w.clock.Advance(time.Minute)
	w.startBroker()
	before := w.sim.Ledger().TokenPosts
	w.Sweep(ctx)
	for _, f := range w.sim.Ledger().Families {
		for _, e := range f.Exchanges {
			if e.Request == before+1 && e.Reuse != atlassiansim.ReuseInsideLeeway {
				t.Errorf("the first request of the sweep was of %s, a keep-alive", f.ID)
			}
		}
	}
	if after := w.sim.Ledger().TokenPosts; after <= before {
		t.Fatal("nothing was sent")
	}
}

// TestSuspectedGrantsDelayNoRepeat: after a wave more families want to be asked
// again than a round of the sweep takes up; the answer that is lost now is due
// after all of them, and has ten minutes.
func TestSuspectedGrantsDelayNoRepeat(t *testing.T) {
	w := newWorld(t, inMemory, unhurried)
	w.consent(jira)
	w.plant(700, "jira", "jira")
	grants, err := w.store.Grants(ctx, storage.Filter{Tenant: "planted", Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	now := w.clock.Now()
	for i := range grants {
		g := &grants[i]
		g.State.Phase, g.State.Suspicion = family.Suspected, &family.Suspicion{Last: now, Held: 1}
		g.State.NotBefore, g.Due = now, now
		if err := w.store.Swap(ctx, storage.Update{Grant: g}); err != nil {
			t.Fatal(err)
		}
	}
	w.clock.Advance(2 * time.Hour)
	w.loseAnswer()
	w.refused(jira, broker.ReasonProviderUnavailable)
	w.clock.Advance(10 * time.Second)
	w.Sweep(ctx)
	if g := w.grant(jira); g.State.Generation != 2 || g.State.Doubt != nil {
		t.Errorf("generation %d, in doubt %v: the lost answer was not repeated", g.State.Generation, g.State.Doubt)
	}
}
