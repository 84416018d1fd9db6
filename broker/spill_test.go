package broker_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

func TestANewTokenThatCouldNotBeStoredSurvivesAKill(t *testing.T) {
	for name, backend := range map[string]setting{"in memory": inMemory, "badger": func(w *world) { w.mem = nil }} {
		t.Run(name, func(t *testing.T) {
			w := spilled(t, backend)
			s := w.health()
			if s.OpenSettlements != 1 || s.Ready || !strings.Contains(strings.Join(s.Reasons, "\n"), "1 settlements could not be stored yet and are kept in the spill file") {
				t.Errorf("%d open, ready %v: %v", s.OpenSettlements, s.Ready, s.Reasons)
			}
			n := w.killed(nil)
			if n, err := n.TakeOver(ctx); n != 0 || err != nil {
				t.Errorf("%d attempts were left open, error %v: the spill file was not drained first", n, err)
			}
			if answer := n.token(jira); answer.Generation != 2 || !n.works(answer) {
				t.Errorf("generation %d is served, want the one that was kept", answer.Generation)
			}
			if got := n.refreshes(); got != 1 {
				t.Errorf("%d rotations, want no other", got)
			}
			if s := n.health(); s.OpenSettlements != 0 || !s.Ready {
				t.Errorf("%d open, ready %v: %v", s.OpenSettlements, s.Ready, s.Reasons)
			}
		})
	}
}

func TestWhileANewTokenWaitsNothingIsSpentAndTheSweeperStoresIt(t *testing.T) {
	w := spilled(t, func(w *world) { w.cfg.SweepEvery = 5 * time.Millisecond })
	w.clock.Advance(5 * time.Minute) // beyond the lease: a repeat would be allowed
	w.refused(jira, broker.ReasonStoreUnavailable)
	if _, err := w.ForceRefresh(ctx, op, "", jira); broker.ReasonOf(err) != broker.ReasonStoreUnavailable {
		t.Errorf("a forced refresh: %v", err)
	}
	w.backend.onSwap(nil)
	waitFor(t, func() bool { w.clock.Advance(time.Second); return w.health().OpenSettlements == 0 })
	if answer := w.token(jira); answer.Generation != 2 || !w.works(answer) || w.refreshes() != 1 {
		t.Errorf("generation %d after %d rotations", answer.Generation, w.refreshes())
	}
}

func TestACallThatComesBeforeTheSweeperStoresWhatIsKept(t *testing.T) {
	w := spilled(t)
	w.backend.onSwap(nil)
	w.clock.Advance(5 * time.Minute)
	if answer := w.token(jira); answer.Generation != 2 || !w.works(answer) || w.refreshes() != 1 {
		t.Errorf("generation %d after %d rotations", answer.Generation, w.refreshes())
	}
}

func TestADrainThatCrashesGoesOnAtTheNextStart(t *testing.T) {
	w := spilled(t)
	// First crash: the store is still sick, nothing is drained.
	sick := w.killed(func(n *world) {
		n.failAfterSpend(nil)
		n.backend.onSwap(func([]storage.Change) error { return storage.ErrUnavailable })
	})
	if s := sick.health(); s.OpenSettlements != 1 || s.Ready {
		t.Fatalf("%d open, ready %v", s.OpenSettlements, s.Ready)
	}
	// Second crash: stored, but the slot is as it was.
	unclear := sick.killed(nil)
	if unclear.grant(jira).State.Generation != 2 {
		t.Fatal("it was not drained")
	}
	slot := filepath.Join("store", storage.SpillName)
	if err := copyFile(filepath.Join(w.dir, slot), filepath.Join(unclear.dir, slot)); err != nil {
		t.Fatal(err)
	}
	last := unclear.killed(nil)
	g := last.grant(jira)
	if g.State.Generation != 2 || len(g.State.Alternates) != 0 || g.Version != unclear.grant(jira).Version {
		t.Errorf("generation %d with %d alternates: what was stored was stored again", g.State.Generation, len(g.State.Alternates))
	}
	if s := last.health(); s.OpenSettlements != 0 || !s.Ready {
		t.Errorf("%d open, ready %v", s.OpenSettlements, s.Ready)
	}
	if answer := last.token(jira); !last.works(answer) || last.refreshes() != 1 {
		t.Errorf("generation %d after %d rotations", answer.Generation, last.refreshes())
	}
}

func TestADrainedTokenThatWasFencedIsKeptAsAnAlternate(t *testing.T) {
	successor := family.Pair{Refresh: secret.New("r-other"), Access: secret.New("a-other"), ExpiresIn: time.Hour}
	for _, row := range []struct {
		name       string
		meanwhile  func(w *world, s family.State) (family.State, []family.Event)
		alternates int
	}{
		{"another attempt of the generation runs", func(w *world, s family.State) (family.State, []family.Event) {
			s, _ = family.Abandon(s, w.clock.Now())
			s, _, events, err := family.Begin(s, w.cfg.Timing, w.clock.Now(), "second", family.Need{})
			if err != nil {
				w.t.Fatal(err)
			}
			return s, events
		}, 1},
		{"another attempt has settled", func(w *world, s family.State) (family.State, []family.Event) {
			s, _ = family.Abandon(s, w.clock.Now())
			s, sp, _, err := family.Begin(s, w.cfg.Timing, w.clock.Now(), "second", family.Need{})
			if err != nil {
				w.t.Fatal(err)
			}
			return family.Settle(s, w.cfg.Timing, w.clock.Now(), sp, family.Outcome{Class: family.Settled, Pair: successor})
		}, 1},
		{"the grant was made anew", func(w *world, s family.State) (family.State, []family.Event) {
			fresh, events := family.Replace(family.State{}, w.clock.Now(), w.clock.Now(), successor)
			if fresh.Generation != s.Generation || fresh.FamilyFirst != s.FamilyFirst {
				w.t.Fatal("its generation tells the families apart")
			}
			fresh.Fence = s.Fence
			return fresh, events
		}, 0},
		{"a consent has replaced the family", func(w *world, s family.State) (family.State, []family.Event) {
			return family.Replace(s, w.clock.Now(), w.clock.Now(), successor)
		}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := spilled(t)
			w.clock.Advance(time.Second)
			var before storage.Grant
			n := w.killed(func(n *world) {
				before = n.grant(jira)
				var events []family.Event
				before.State, events = row.meanwhile(n, before.State)
				if err := n.store.Swap(ctx, storage.Update{Grant: &before, Events: events}); err != nil {
					t.Fatal(err)
				}
			})
			g := n.grant(jira)
			if len(g.State.Alternates) != row.alternates || g.State.Generation != before.State.Generation || !g.State.Refresh.Equal(before.State.Refresh) {
				t.Errorf("generation %d with %d alternates, want %d with %d", g.State.Generation, len(g.State.Alternates), before.State.Generation, row.alternates)
			}
			if s := n.health(); s.OpenSettlements != 0 {
				t.Errorf("%d are open", s.OpenSettlements)
			}
		})
	}
}

func TestNothingIsSpentWithoutAFreeSlot(t *testing.T) {
	w := newWorld(t, inMemory)
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	var slots []*storage.Slot
	for i := range spillSlots {
		slot, err := w.store.Spill().Reserve(ctx)
		if err == nil {
			err = slot.Keep(storage.Kept{GrantID: fmt.Sprint("grt_", i)})
		}
		if err != nil {
			t.Fatal(err)
		}
		slots = append(slots, slot)
	}
	e := w.refused(jira, broker.ReasonStoreUnavailable)
	if !strings.Contains(e.Message, "spill file has no room") || w.refreshes() != 0 || w.grant(jira).State.Attempt != nil {
		t.Errorf("%v; %d rotations", e, w.refreshes())
	}
	consent := w.visit(w.link(wiki).URL, "")
	posts := w.sim.Ledger().TokenPosts
	if _, err := w.FinishConsent(ctx, consent.callback()); broker.ReasonOf(err) != broker.ReasonStoreUnavailable || w.sim.Ledger().TokenPosts != posts {
		t.Errorf("a consent: %v", err)
	}
	if err := slots[0].Clear(); err != nil {
		t.Fatal(err)
	}
	w.token(jira)
}

func TestASpillFileOfAnotherStoreStopsNothing(t *testing.T) {
	other := spilled(t)
	w := newWorld(t, inMemory)
	w.consent(jira)
	name := filepath.Join("store", storage.SpillName)
	if err := copyFile(filepath.Join(other.dir, name), filepath.Join(w.dir, name)); err != nil {
		t.Fatal(err)
	}
	n := w.killed(nil)
	if d := n.store.Spill().Damaged(); len(d) != 1 || !strings.Contains(d[0].Error(), "another store") {
		t.Errorf("reported %v", d)
	}
	n.clock.Advance(2 * time.Hour)
	if answer := n.token(jira); answer.Generation != 2 || !n.works(answer) {
		t.Errorf("generation %d", answer.Generation)
	}
}

func TestATokenOfAGrantThatIsGoneIsKeptAndReported(t *testing.T) {
	w := newWorld(t, inMemory)
	w.consent(jira)
	slot, err := w.store.Spill().Reserve(ctx)
	if err == nil {
		err = slot.Keep(storage.Kept{GrantID: "grt_unknown", Pair: family.Pair{Refresh: secret.New("r"), Access: secret.New("a"), ExpiresIn: time.Hour}})
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w = w.killed(nil)
		if s := w.health(); s.OpenSettlements != 1 || !s.Ready {
			t.Errorf("%d open, ready %v: %v", s.OpenSettlements, s.Ready, s.Reasons)
		}
	}
}

func TestShutdownSaysHowManySettlementsWaitAndTriesThemOnceMore(t *testing.T) {
	for _, row := range []struct {
		name       string
		healed     bool
		generation uint64
	}{{"the store is sick", false, 1}, {"the store has healed", true, 2}} {
		t.Run(row.name, func(t *testing.T) {
			log := &logged{}
			w := spilled(t, func(w *world) { w.cfg.Log = slog.New(slog.NewTextHandler(log, nil)) })
			if row.healed {
				w.backend.onSwap(nil)
			}
			if err := w.Close(ctx); err != nil {
				t.Fatal(err)
			}
			for text, want := range map[string]bool{
				"waiting for settlements that are not stored yet": true,
				"the next start goes on with settlements":         !row.healed,
			} {
				if got := strings.Contains(log.String(), text); got != want {
					t.Errorf("the log says %q: %v, want %v", text, got, want)
				}
			}
			if g := w.grant(jira); g.State.Generation != row.generation {
				t.Errorf("generation %d", g.State.Generation)
			}
			for _, token := range w.tokens() {
				if strings.Contains(log.String(), token) {
					t.Error("the log has a token")
				}
			}
		})
	}
}

func TestANewFamilyThatCouldNotBeStoredSurvivesAKill(t *testing.T) {
	for _, row := range []struct {
		name    string
		scope   string // of the second consent's answer; empty: all
		want    storage.ConsentStatus
		serving uint64
	}{
		{"it loses nothing", "", storage.ConsentDone, 2},
		{"it would lose a site or scope", "read:jira-work offline_access", storage.ConsentConfirm, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, inMemory)
			w.consent(jira)
			w.clock.Advance(time.Minute)
			l, err := w.StartConsent(ctx, op, broker.ConsentRequest{Address: jira, Scopes: strings.Fields(row.scope)})
			if err != nil {
				t.Fatal(err)
			}
			b := w.visit(l.URL, "")
			swaps := 0
			w.backend.onSwap(func([]storage.Change) error {
				if swaps++; swaps > 1 { // the announcement passes
					return errFailedSync
				}
				return nil
			})
			t.Cleanup(func() { w.backend.onSwap(nil) })
			posts := w.sim.Ledger().TokenPosts
			if _, err := w.FinishConsent(ctx, b.callback()); broker.ReasonOf(err) != broker.ReasonStoreUnavailable {
				t.Fatalf("got %v", err)
			}
			n := w.killed(nil)
			c, err := n.Consent(ctx, op, l.ID)
			if err != nil || c.Status != row.want {
				t.Fatalf("the consent is %+v, error %v, want %s", c, err, row.want)
			}
			if answer := n.token(jira); answer.Generation != row.serving || !n.works(answer) {
				t.Errorf("generation %d", answer.Generation)
			}
			if got := n.sim.Ledger().TokenPosts - posts; got != 1 {
				t.Errorf("%d POSTs, want the exchange alone", got)
			}
			if s := n.health(); s.OpenSettlements != 0 {
				t.Errorf("%d are open", s.OpenSettlements)
			}
		})
	}
}

func TestTheSweeperStoresANewFamilyThatNoCallAsksFor(t *testing.T) {
	w := newWorld(t, inMemory, func(w *world) { w.cfg.SweepEvery = 5 * time.Millisecond })
	b := w.visit(w.link(jira).URL, "")
	w.backend.onSwap(func(c []storage.Change) error {
		if len(c) > 1 { // the consent's end with its grant
			return errFailedSync
		}
		return nil
	})
	if _, err := w.FinishConsent(ctx, b.callback()); broker.ReasonOf(err) != broker.ReasonStoreUnavailable {
		t.Fatalf("got %v", err)
	}
	w.backend.onSwap(nil)
	waitFor(t, func() bool { w.clock.Advance(time.Second); return w.health().OpenSettlements == 0 })
	if answer := w.token(jira); answer.Generation != 1 || !w.works(answer) {
		t.Errorf("generation %d", answer.Generation)
	}
}

// TestAPairIsKeptAtOnceAndTriedOn shows the slot while the store is only busy.
func TestAPairIsKeptAtOnceAndTriedOn(t *testing.T) {
	w := newWorld(t, inMemory)
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	w.failAfterSpend(storage.ErrUnavailable)
	short, cancel := context.WithCancel(ctx)
	done := make(chan error)
	go func() {
		_, err := w.AccessToken(short, svc, broker.TokenRequest{Address: jira})
		done <- err
	}()
	waitFor(t, func() bool {
		return w.health().OpenSettlements == 1 && !strings.Contains(strings.Join(w.NotReady(ctx), "\n"), "in memory only")
	})
	cancel()
	if err := <-done; broker.ReasonOf(err) != broker.ReasonRefreshInProgress {
		t.Errorf("the caller got %v", err)
	}
	n := w.killed(nil) // at this moment, while the first process goes on
	if g := n.grant(jira); g.State.Generation != 2 {
		t.Errorf("generation %d: the pair was in memory only", g.State.Generation)
	}
	w.backend.onSwap(nil)
	waitFor(t, func() bool { return w.health().OpenSettlements == 0 })
	if answer := w.token(jira); answer.Generation != 2 || w.refreshes() != 1 {
		t.Errorf("generation %d after %d rotations", answer.Generation, w.refreshes())
	}
}
