package simulation

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// play lives through a seed. It must be called inside a synctest bubble.
func play(t *testing.T, seed uint64, x weather) *world {
	w := newWorld(t, seed, x)
	for _, g := range w.grants {
		if s := w.consent(w.anyLife(dice(seed, "first", g.index)), g); s != storage.ConsentDone {
			w.broken("consenting first", fmt.Errorf("%s ended %q", g.address, s))
			w.end()
			return w
		}
	}
	w.setRough(true)
	for _, g := range w.grants {
		if g.index%8 == 7 {
			continue // nobody draws it: the sweeper alone keeps it alive
		}
		for nth := range 2 {
			w.work.Go(func() { w.draws(g, nth) })
		}
	}
	w.work.Go(w.disasters)
	w.work.Go(w.watch)
	if w.lasts(x.lasts) {
		w.settleDown()
		if w.lasts(recovery) {
			w.judge()
		}
	}
	w.end()
	return w
}

// recovery is how long after the last fault every family must be well again.
const recovery = 10 * time.Minute

func (w *world) setRough(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rough = on
}

// lasts lets d pass; false: an invariant was broken meanwhile.
func (w *world) lasts(d time.Duration) bool {
	select {
	case <-time.After(d):
	case <-w.over:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.failures) == 0
}

// watch looks for what no single event shows.
func (w *world) watch() {
	for w.pause(5 * time.Second) {
		w.mu.Lock()
		w.overdue()
		w.wasted()
		w.mu.Unlock()
	}
}

// settleDown ends all faults and lets everything run again.
func (w *world) settleDown() {
	w.setRough(false)
	w.settledOnce.Do(func() { close(w.settled) })
	w.sim.ClearFaults()
	w.providerDownUntil.Store(0)
	// The end of the spell is kept: what was lost in it is noticed a moment later.
	w.storeDownUntil.Store(min(w.storeDownUntil.Load(), time.Now().UnixNano()))
	w.mem.Crash()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(nil, nil, "the faults end")
}

// judge asks every process for every token.
func (w *world) judge() {
	for _, g := range w.grants {
		for _, r := range w.replicas {
			w.mu.Lock()
			l := r.lives[len(r.lives)-1]
			w.mu.Unlock()
			w.judgeGrant(l, g)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.judgeLedger()
}

func (w *world) judgeGrant(l *life, g *grant) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	w.mu.Lock()
	reserved := len(g.durable.State.Reserves) > 0 // before what is asked here brings one back
	w.mu.Unlock()
	answer, err := l.broker.AccessToken(ctx, svc, broker.TokenRequest{Address: g.address})
	w.mu.Lock()
	lapsed := g.durable.State.Phase == family.Lapsed
	w.mu.Unlock()
	if err != nil && w.weather.beyond && !lapsed {
		// The operator's decision that a last try waits for which could hurt
		// others, or whose own answer was lost.
		w.force(l, g)
		answer, err = l.broker.AccessToken(ctx, svc, broker.TokenRequest{Address: g.address})
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	entry, _ := w.sim.Family(g.families[g.durable.State.FamilyFirst])
	switch {
	case err == nil:
		w.handedOut(l, g, answer)
	case reserved && time.Since(w.held[g.app]) < recovery && broker.ReasonOf(err) == broker.ReasonProviderUnavailable:
		// So many families have ended at once that its sibling's refusal is not believed.
	case w.inReach(entry):
		w.fail(0, g, "%s after the last fault, with its family alive, replica %d says: %v", recovery, l.replica.index, err)
	case broker.ReasonOf(err) != broker.ReasonConsentRequired && broker.ReasonOf(err) != broker.ReasonProviderUnavailable:
		// The latter while so many families have ended at once that none is believed to have.
		w.fail(0, g, "its family has ended (%s) and replica %d says: %v", entry.EndedWhy, l.replica.index, err)
	}
}

// judgeLedger compares the provider's ledger with what was announced.
func (w *world) judgeLedger() {
	l := w.sim.Ledger()
	w.stats.lateReuses = len(l.LateReuses())
	for _, e := range l.LateReuses() {
		if !w.announcedLastTry(e.Token) {
			w.fail(5, w.refreshTokens[e.Token].grant, "request %d sent the spent token %s after the leeway, and it was no last try", e.Request, e.Token)
		}
	}
	tried := map[string]bool{}
	for _, list := range w.sends {
		for _, s := range list {
			if s.kind == lastTry {
				tried[s.token.Family] = true
			}
		}
	}
	for _, f := range l.LostFamilies() {
		g := w.grantOfFamily(f.ID)
		if g == nil {
			continue // a consent whose answer was lost, or a family that another one replaced
		}
		w.stats.lost++
		if !w.weather.beyond {
			w.fail(0, g, "%s is lost (%s), though every loss could have been avoided", f.ID, f.EndedWhy)
		}
		if f.EndedWhy == atlassiansim.EndReuse && !tried[f.ID] && !w.risked[g.app+g.account] {
			w.fail(6, g, "%s was ended by a reuse that was no last try of its own", f.ID)
		}
	}
}

const lastTry = "last_try"

func (w *world) announcedLastTry(token string) bool {
	for _, s := range w.sends[token] {
		if s.kind == lastTry {
			return true
		}
	}
	return false
}

// grantOfFamily returns the grant whose present family it is.
func (w *world) grantOfFamily(id string) *grant {
	for _, g := range w.grants {
		if g.families[g.durable.State.FamilyFirst] == id {
			return g
		}
	}
	return nil
}

// end stops everything and waits for it.
func (w *world) end() {
	w.settleDown()
	close(w.done)
	for _, r := range w.replicas {
		w.mu.Lock()
		l := r.lives[len(r.lives)-1] // one that is started from now on ends itself
		w.mu.Unlock()
		l.kill()
	}
	w.work.Wait()
	w.stopSim()
	if err := <-w.served; err != nil {
		w.broken("stopping the simulated provider", err)
	}
	w.quiet()
}

// quiet waits for the goroutines that nobody can: those in which net/http dials
// and writes outlive the request. With every process dead and the provider
// stopped they wait for nothing but time, if at all, and the bubble's clock
// stands still once the test has returned. A goroutine that is left after that
// has no end, and synctest says so.
func (w *world) quiet() {
	<-time.After(time.Hour)
	synctest.Wait()
}

// failed marks the output of a run that broke an invariant.
const failed = "SIMULATION FAILED"

func (w *world) report(t *testing.T) {
	for _, f := range w.failures {
		t.Errorf("%s: seed %d, invariant %d: %s", failed, w.seed, f.invariant, f.text)
	}
	if len(w.failures) == 0 {
		return
	}
	about, lines := w.failures[0].grant, ""
	var list []entry
	for _, e := range w.schedule {
		if e.grant == nil || e.grant == about {
			list = append(list, e)
		}
	}
	for _, e := range list[max(0, len(list)-60):] {
		lines += e.text + "\n"
	}
	t.Logf("%s\nreplay with: go test ./broker/simulation -run TestSimulation -seed=%d\nthe last of its schedule:\n%s", w.weather, w.seed, lines)
	t.Log(w.stats)
}
