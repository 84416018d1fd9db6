package broker_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// unhurried lets many grants be refreshed at once: these tests are not about load.
func unhurried(w *world) { w.cfg.Load = broker.Load{Rate: 1000, Burst: 1000, Concurrency: 16} }

// phases counts the grants by phase.
func (w *world) phases() map[family.Phase]int {
	w.t.Helper()
	grants, err := w.store.Grants(ctx, storage.Filter{Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	n := map[family.Phase]int{}
	for i := range grants {
		n[grants[i].State.Phase]++
	}
	return n
}

// live sweeps every step of a time, and shares what is known of the apps.
func (w *world) live(length, step time.Duration) {
	w.t.Helper()
	for range int(length / step) {
		w.clock.Advance(step)
		w.Sweep(ctx)
		w.ShareApps(ctx)
	}
}

// appOf is how the Jira app fares, as a broker tells.
func appOf(t *testing.T, b *broker.Broker) broker.AppStatus {
	t.Helper()
	list, err := b.Apps(ctx, op)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if a.ID == "jira" {
			return a
		}
	}
	t.Fatalf("app jira is not among %v", list)
	return broker.AppStatus{}
}

// happened counts the app's events of a type.
func happened(a broker.AppStatus, typ storage.AppEventType) int {
	n := 0
	for _, e := range a.Events {
		if e.Type == typ {
			n++
		}
	}
	return n
}

func TestAWaveOfRefusalsLapsesNobody(t *testing.T) {
	w := newWorld(t, unhurried)
	const n = 50
	as := w.consentMany(n)
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultRefuse, FamilyPercent: 30, ForSeconds: 600})
	w.drawAll(as)
	w.live(590*time.Second, 10*time.Second)
	during := w.phases()
	if during[family.Suspected] < 5 || during[family.Lapsed] != 0 || !appOf(t, w.Broker).VerdictsHeld {
		t.Fatalf("during the wave: %v, held %v; want some suspected, none lapsed", during, appOf(t, w.Broker).VerdictsHeld)
	}
	w.toldOfTheWave(as)
	// The provider recovers, and nobody touches anything.
	w.live(35*time.Minute, 20*time.Second)
	if after := w.phases(); after[family.Active] != n {
		t.Fatalf("after the wave: %v, want all %d active", after, n)
	}
	a := appOf(t, w.Broker)
	if a.VerdictsHeld || happened(a, storage.AppVerdictsHeld) == 0 || happened(a, storage.AppVerdictsReleased) != happened(a, storage.AppVerdictsHeld) {
		t.Errorf("held %v, events %+v", a.VerdictsHeld, a.Events)
	}
	if lost := w.lostFamilies(); lost != 0 {
		t.Errorf("the provider ended %d families", lost)
	}
}

// TestAWaveThatFollowsMuchTrafficLapsesNobody: what the provider took before
// must not hide that it refuses everything now, until the first are believed dead.
func TestAWaveThatFollowsMuchTrafficLapsesNobody(t *testing.T) {
	for _, percent := range []int{100, 40} {
		t.Run(fmt.Sprint(percent, " percent"), func(t *testing.T) {
			w := newWorld(t, inMemory, unhurried)
			const n = 120
			as := w.consentMany(n)
			for i := range 300 { // of traffic, one a second
				if _, err := w.ForceRefresh(ctx, op, "", as[i%10]); err != nil {
					t.Fatal(err)
				}
				w.clock.Advance(time.Second)
			}
			w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultRefuse, FamilyPercent: percent, ForSeconds: 600})
			for _, a := range as[10:] { // which goes on
				_, _ = w.AccessToken(ctx, svc, broker.TokenRequest{Address: a})
				w.clock.Advance(time.Second)
				w.Sweep(ctx)
			}
			if p := w.phases(); p[family.Lapsed] != 0 || p[family.Suspected] < 10 {
				t.Errorf("in the wave: %v", p)
			}
		})
	}
}

// toldOfTheWave wants the callers of a held grant to be told why they wait.
func (w *world) toldOfTheWave(as []storage.Address) {
	w.t.Helper()
	for _, err := range w.drawAll(as) {
		if err != nil && (broker.ReasonOf(err) != broker.ReasonProviderUnavailable || !strings.Contains(err.Error(), "so many grants of app")) {
			w.t.Fatalf("during the wave a caller is told %v", err)
		}
	}
}

// lostFamilies counts what the provider ended.
func (w *world) lostFamilies() int {
	n := 0
	for _, f := range w.sim.Ledger().Families {
		if !f.EndedAt.IsZero() {
			n++
		}
	}
	return n
}

// TestALongWaveOverASmallAppLapsesNobody: a few families that are asked ever more
// seldom make few refusals in five minutes, which is not the provider's recovery.
func TestALongWaveOverASmallAppLapsesNobody(t *testing.T) {
	w := newWorld(t, unhurried)
	as := w.consentMany(6)
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultRefuse, ForSeconds: 3 * 3600})
	w.drawAll(as)
	w.live(3*time.Hour-time.Minute, 30*time.Second)
	if during := w.phases(); during[family.Suspected] != len(as) {
		t.Fatalf("during the wave: %v", during)
	}
	w.live(30*time.Minute, 30*time.Second)
	if after := w.phases(); after[family.Active] != len(as) {
		t.Fatalf("after the wave: %v", after)
	}
}

func TestASingleDeathInQuietTimesIsBelievedAfterTheDelay(t *testing.T) {
	w := newWorld(t, unhurried)
	as := w.consentMany(10)
	dead := w.sim.Ledger().Families[3].ID
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultRefuse, Family: dead})
	w.drawAll(as)
	if p := w.phases(); p[family.Suspected] != 1 || p[family.Active] != 9 {
		t.Fatalf("after the first refusal: %v", p)
	}
	w.live(2*time.Minute, 10*time.Second)
	if p := w.phases(); p[family.Lapsed] != 1 || p[family.Active] != 9 {
		t.Fatalf("after the delay: %v", p)
	}
	// Then nothing is sent for it any more, however often it is asked for.
	posts := w.sim.Ledger().TokenPosts
	for range 20 {
		w.clock.Advance(time.Minute)
		w.Sweep(ctx)
		w.refused(as[3], broker.ReasonConsentRequired)
	}
	if got := w.sim.Ledger().TokenPosts; got != posts {
		t.Errorf("%d requests for a lapsed family", got-posts)
	}
	g, err := w.store.Grant(ctx, as[3].GrantID())
	if err != nil || g.State.Refresh.Empty() {
		t.Errorf("its last generation was deleted (%v)", err)
	}
}

// replica is a second broker over the same store.
func (w *world) replica() *broker.Broker {
	w.t.Helper()
	b, err := broker.New(w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := b.Close(context.Background()); err != nil {
			w.t.Error(err)
		}
	})
	return b
}

func TestReplicasHoldVerdictsTogether(t *testing.T) {
	w := newWorld(t, unhurried)
	as := w.consentMany(6)
	other := w.replica()
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultRefuse})
	w.drawAll(as[:3])
	w.ShareApps(ctx)
	if a := appOf(t, w.Broker); a.VerdictsHeld || a.RecentRefusals != 3 {
		t.Fatalf("%+v: three refusals are few", a)
	}
	for i, a := range as[3:] {
		_, err := other.AccessToken(ctx, svc, broker.TokenRequest{Address: a})
		if broker.ReasonOf(err) != broker.ReasonProviderUnavailable {
			t.Fatalf("%s: %v", a, err)
		}
		events, want := w.journal(a), i >= 1 // from the fifth refusal of both together on
		if got := events[0].Type == family.EventVerdictHeld; got != want {
			t.Errorf("refusal %d: held %v, want %v", i+4, got, want)
		}
	}
	other.ShareApps(ctx)
	if a := appOf(t, w.Broker); !a.VerdictsHeld || a.RecentRefusals != 6 || a.RecentAttempts != 6 {
		t.Errorf("%+v: want what both counted", a)
	}
}

// journal of a grant, newest first.
func (w *world) journal(a storage.Address) []family.Event {
	w.t.Helper()
	events, err := w.store.Events(ctx, a.GrantID(), 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return events
}

func TestAReplicaThatCanNotShareHoldsByItsOwnCounts(t *testing.T) {
	w := newWorld(t, unhurried)
	as := w.consentMany(8)
	w.backend.onSwap(func(changes []storage.Change) error {
		if changes[0].Item.Key.Kind == storage.KindApp {
			return storage.ErrUnavailable
		}
		return nil
	})
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultRefuse, ForSeconds: 300})
	w.drawAll(as)
	w.live(290*time.Second, 10*time.Second)
	if p := w.phases(); p[family.Suspected] != len(as) {
		t.Fatalf("during the wave: %v", p)
	}
	w.live(30*time.Minute, 20*time.Second)
	if p := w.phases(); p[family.Active] != len(as) {
		t.Fatalf("after the wave: %v", p)
	}
	w.backend.onSwap(nil)
}

func TestALastTryIsNotMadeWhileVerdictsAreHeld(t *testing.T) {
	for _, wave := range []bool{false, true} {
		w := newWorld(t, unhurried, func(w *world) { w.cfg.Timing.Leeway, w.cfg.Timing.InDoubt = 0, family.InDoubtLastTry })
		w.consent(jira)
		var others []storage.Address // of another account
		for i := range 7 {
			a := mustAddress(fmt.Sprintf("acme/s%d/jira", i))
			if o := w.visit(w.link(a).URL, "&sim_account="+url.QueryEscape(atlassiansim.DefaultAccounts()[1].ID)).finish(); o.Status != storage.ConsentDone {
				t.Fatal(o.Status)
			}
			others = append(others, a)
		}
		w.clock.Advance(2 * time.Hour)
		w.loseAnswer()
		w.refused(jira, broker.ReasonProviderUnavailable)
		w.clock.Advance(10 * time.Second)
		if wave {
			for _, f := range w.sim.Ledger().Families[2:] {
				w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultRefuse, Family: f.ID})
			}
			w.drawAll(others[1:])
		}
		w.token(others[0]) // the provider is there, and takes one
		posts := w.sim.Ledger().TokenPosts
		_, err := w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira})
		if sent := w.sim.Ledger().TokenPosts > posts; sent == wave {
			t.Errorf("in a wave %v: last try sent %v (the caller got %v)", wave, sent, err)
		}
	}
}

func TestAMisconfiguredAppIsAnEventAndSoIsItsRecovery(t *testing.T) {
	w := newWorld(t)
	as := w.consentMany(3)
	w.setSecrets("jira", "wrong")
	for range 3 {
		w.refused(as[0], broker.ReasonAppPaused)
		w.clock.Advance(6 * time.Minute)
	}
	w.ShareApps(ctx)
	a := appOf(t, w.Broker)
	if happened(a, storage.AppMisconfigured) != 1 || happened(a, storage.AppRecovered) != 0 || a.Paused == "" || a.PausedByOperator {
		t.Errorf("one pause is one event: %+v", a)
	}
	if p := w.phases(); p[family.Active] != 3 {
		t.Errorf("a wrong secret touched families: %v", p)
	}
	w.setSecrets("jira", "secret-jira")
	for _, addr := range as {
		w.token(addr)
	}
	w.ShareApps(ctx)
	if a := appOf(t, w.Broker); happened(a, storage.AppRecovered) != 1 || a.Paused != "" {
		t.Errorf("recovered: %+v", a)
	}
}

// TestNothingIsSpentForAnAppWhoseRecordDoesNotOpen: whoever can damage it must
// not be able to end an operator's pause by that.
func TestNothingIsSpentForAnAppWhoseRecordDoesNotOpen(t *testing.T) {
	w := newWorld(t)
	as := w.consentMany(1)
	w.ShareApps(ctx)
	key := storage.Key{Kind: storage.KindApp, ID: "jira"}
	it, err := w.backend.Get(ctx, key)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		t.Fatal(err)
	}
	junk := storage.Change{Old: it.Version, Item: storage.Item{Key: key, Public: []byte{10, 4, 'j', 'i', 'r', 'a'}, Sealed: []byte{1, 2, 3}}}
	if err := w.backend.Swap(ctx, []storage.Change{junk}, nil); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(time.Minute)
	posts := w.sim.Ledger().TokenPosts
	if _, err := w.AccessToken(ctx, svc, broker.TokenRequest{Address: as[0]}); err == nil || w.sim.Ledger().TokenPosts != posts {
		t.Errorf("error %v, %d requests", err, w.sim.Ledger().TokenPosts-posts)
	}
}

func TestTheCircuitsChangesAreEventsOfTheApp(t *testing.T) {
	w := newWorld(t, unhurried)
	as := w.consentMany(12)
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultStatus, Status: 503, ForSeconds: 120})
	w.drawAll(as)
	w.live(time.Minute, 5*time.Second)
	a := appOf(t, w.Broker)
	if !a.CircuitOpen || happened(a, storage.AppCircuitOpened) != 1 || happened(a, storage.AppCircuitClosed) != 0 {
		t.Fatalf("during the outage: open %v, events %+v", a.CircuitOpen, a.Events)
	}
	w.live(10*time.Minute, 10*time.Second)
	a = appOf(t, w.Broker)
	if a.CircuitOpen || happened(a, storage.AppCircuitClosed) != 1 {
		t.Errorf("after it: open %v, events %+v", a.CircuitOpen, a.Events)
	}
}
