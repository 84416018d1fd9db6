package broker_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/family"
)

// wrong is a machine's clock that differs from the true one.
type wrong struct {
	true func() time.Time
	by   atomic.Int64
}

func (c *wrong) Now() time.Time         { return c.true().Add(time.Duration(c.by.Load())) }
func (c *wrong) differ(d time.Duration) { c.by.Store(int64(d)) }

// ownClock gives the broker a clock of its own; the provider keeps the true one.
func ownClock(into *wrong) setting {
	return func(w *world) {
		into.true = w.clock.Now
		w.cfg.Now = into.Now
	}
}

func TestBehindTheStoresNewestTimeNothingIsSpent(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.KeepClock(ctx)
	w.clock.Advance(-2 * time.Hour) // true for the provider too, so that nobody can say who is right
	w.startBroker()
	if _, err := w.ForceRefresh(ctx, op, "", jira); broker.ReasonOf(err) != broker.ReasonStoreUnavailable || !strings.Contains(err.Error(), "clock is 2h0m0s behind") {
		t.Fatalf("got %v, want STORE_UNAVAILABLE that names the clock", err)
	}
	if reasons := w.NotReady(ctx); len(reasons) != 1 || !strings.Contains(reasons[0], "set the clock") {
		t.Errorf("not ready because %q, want the clock", reasons)
	}
	if n := w.refreshes(); n != 0 {
		t.Fatalf("%d spends, want none", n)
	}
	w.clock.Advance(2 * time.Hour)
	if _, err := w.ForceRefresh(ctx, op, "", jira); err != nil {
		t.Fatalf("once the clock is right again: %v", err)
	}
}

func TestAMarkOfAClockThatRanAheadIsCorrectedByTheProvidersTime(t *testing.T) {
	var c wrong
	w := newWorld(t, ownClock(&c))
	w.consent(jira)
	c.differ(400 * 24 * time.Hour)
	w.KeepClock(ctx)
	c.differ(0)
	w.startBroker()
	if _, err := w.ForceRefresh(ctx, op, "", jira); broker.ReasonOf(err) != broker.ReasonStoreUnavailable {
		t.Fatalf("before the provider was asked: got %v, want STORE_UNAVAILABLE", err)
	}
	w.KeepClock(ctx)
	if info, err := w.ForceRefresh(ctx, op, "", jira); err != nil || info.Generation != 2 {
		t.Fatalf("after the provider was asked: got %v, %v", info, err)
	}
	w.startBroker()
	if reasons := w.NotReady(ctx); len(reasons) != 0 {
		t.Fatalf("the correction does not outlive a restart: %q", reasons)
	}
}

func TestATokenAnnouncedInTheFutureIsNotBelievedToBeInsideItsLeeway(t *testing.T) {
	var c wrong
	w := newWorld(t, ownClock(&c))
	w.consent(jira)
	c.differ(24 * time.Hour)
	w.loseAnswer()
	if _, err := w.ForceRefresh(ctx, op, "", jira); broker.ReasonOf(err) != broker.ReasonProviderUnavailable {
		t.Fatalf("got %v, want a lost answer", err)
	}
	w.KeepClock(ctx)
	c.differ(0)
	w.clock.Advance(30 * time.Minute) // the true leeway is over, and by the announcement it has not begun
	w.startBroker()
	w.KeepClock(ctx)
	w.Sweep(ctx)
	if _, err := w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira}); broker.ReasonOf(err) != broker.ReasonProviderUnavailable {
		t.Errorf("got %v, want PROVIDER_UNAVAILABLE", err)
	}
	w.neverLate()
}

func TestNoFamilyEndsByALeewayThatOnlyAWrongClockBelievesToBeOver(t *testing.T) {
	var c wrong
	w := newWorld(t, ownClock(&c), func(w *world) { w.cfg.Timing.InDoubt = family.InDoubtLapse })
	w.consent(jira)
	w.loseAnswer()
	if _, err := w.ForceRefresh(ctx, op, "", jira); broker.ReasonOf(err) != broker.ReasonProviderUnavailable {
		t.Fatalf("got %v, want a lost answer", err)
	}
	if _, err := w.sim.AddFault(atlassiansim.Fault{Kind: atlassiansim.FaultStatus, Status: 503, KeepToken: true, GrantType: "refresh_token"}); err != nil {
		t.Fatal(err)
	}
	c.differ(24 * time.Hour)
	for range 3 {
		w.Sweep(ctx)
		w.KeepClock(ctx)
		if g := w.grant(jira); g.State.Phase == family.Lapsed {
			t.Fatal("the family lapsed, and its leeway was not over")
		}
	}
	c.differ(0)
	w.startBroker()
	w.KeepClock(ctx) // the mark was wrong
	w.KeepClock(ctx) // and now the provider vouches
	w.clock.Advance(9 * time.Minute)
	w.Sweep(ctx)
	if g := w.grant(jira); g.State.Phase == family.Lapsed {
		t.Fatal("the family lapsed inside its leeway")
	}
	w.clock.Advance(2 * time.Minute)
	w.Sweep(ctx)
	if g := w.grant(jira); g.State.Phase != family.Lapsed || g.State.Lapse != family.LapseLostInDoubt {
		t.Fatalf("got %v (%s), want lapsed with LOST_IN_DOUBT once the leeway is truly over", g.State.Phase, g.State.Lapse)
	}
}

// TestWhatAWrongClockPutOffIsNotPutOffForItsError: the circuit that opened while
// the clock was hours ahead is probed in seconds once the clock is right.
func TestWhatAWrongClockPutOffIsNotPutOffForItsError(t *testing.T) {
	var c wrong
	w := newWorld(t, ownClock(&c))
	as := w.consentMany(4)
	c.differ(6 * time.Hour)
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultStatus, Status: 503, KeepToken: true})
	w.drawInTurn(as)
	w.KeepClock(ctx)
	w.sim.ClearFaults()
	c.differ(0)
	w.KeepClock(ctx) // the provider says that the clock is right now
	for range 90 {
		w.clock.Advance(10 * time.Second)
		if _, err := w.AccessToken(ctx, svc, broker.TokenRequest{Address: as[3]}); err == nil {
			return
		}
	}
	t.Error("a grant that was never in doubt is not served 15 minutes after the clock was set right")
}
