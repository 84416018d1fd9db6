package broker_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// TestTakingOverLeavesThisProcesssOwnAttemptsAlone: the sweep begins with the
// broker, so that its first attempt may be on its way by then. Where nothing is
// forgiven, calling that one abandoned would end the family.
func TestTakingOverLeavesThisProcesssOwnAttemptsAlone(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.Timing.Leeway, w.cfg.Timing.InDoubt = 0, family.InDoubtLapse })
	w.consent(jira)
	w.clock.Advance(51 * 24 * time.Hour)
	arrived, answer := make(chan struct{}), make(chan struct{})
	w.front(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/oauth/token" {
			close(arrived)
			<-answer
		}
		return false
	})
	swept := make(chan struct{})
	go func() {
		defer close(swept)
		w.Sweep(ctx)
	}()
	<-arrived
	if n, err := w.TakeOver(ctx); n != 0 || err != nil {
		t.Errorf("took over %d, %v: that attempt is this process's own", n, err)
	}
	close(answer)
	<-swept
	if g := w.grant(jira); g.State.Phase != family.Active || g.State.Generation != 2 || g.State.Doubt != nil {
		t.Errorf("%v at generation %d, in doubt %v", g.State.Phase, g.State.Generation, g.State.Doubt)
	}
}

// TestAttemptsBehindManyDueGrantsAreTakenOver: a broker that was away for long
// finds more idle families due than a page holds, all of them due before the
// leases of its last attempts.
func TestAttemptsBehindManyDueGrantsAreTakenOver(t *testing.T) {
	w := newWorld(t, inMemory)
	w.consent(jira)
	w.plant(1001, "jira", "jira")
	w.clock.Advance(2 * time.Hour)
	w.elsewhere(jira, func(s *family.State) {
		now := w.clock.Now()
		s.Fence++
		s.Attempt = &family.Attempt{ID: "theirs", Fence: s.Fence, Generation: s.Generation, Kind: family.First,
			FirstAnnounced: now, Announced: now, LeaseUntil: now.Add(time.Minute)}
	})
	g := w.grant(jira)
	g.Due = g.State.Attempt.LeaseUntil
	if err := w.store.Swap(ctx, storage.Update{Grant: &g}); err != nil {
		t.Fatal(err)
	}
	if n, err := w.TakeOver(ctx); n != 1 || err != nil {
		t.Errorf("took over %d, %v", n, err)
	}
	if g := w.grant(jira); g.State.Attempt != nil || g.State.Doubt == nil {
		t.Errorf("attempt %v, doubt %v", g.State.Attempt, g.State.Doubt)
	}
}
