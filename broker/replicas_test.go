package broker_test

import (
	"context"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// elsewhere changes the grant in the store as another replica would: nothing
// tells this one.
func (w *world) elsewhere(a storage.Address, edit func(*family.State)) {
	w.t.Helper()
	g := w.grant(a)
	edit(&g.State)
	if err := w.store.Swap(ctx, storage.Update{Grant: &g}); err != nil {
		w.t.Fatal(err)
	}
}

func TestWhatAnotherReplicaCuredIsServedAgain(t *testing.T) {
	for _, row := range []struct {
		name   string
		sick   func(w *world, s *family.State)
		reason broker.Reason
	}{
		{"lapsed, and consented again there", func(_ *world, s *family.State) { s.Phase, s.Lapse = family.Lapsed, family.LapseRefused }, broker.ReasonConsentRequired},
		{"in doubt beyond the leeway, and settled there", func(w *world, s *family.State) {
			first := w.clock.Now().Add(-time.Hour)
			s.Access.ExpiresAt, s.Doubt = first, &family.Doubt{Generation: s.Generation, FirstAnnounced: first}
		}, broker.ReasonProviderUnavailable},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			w.consent(jira)
			well := w.grant(jira).State
			w.elsewhere(jira, func(s *family.State) { row.sick(w, s) })
			w.startBroker()
			w.refused(jira, row.reason)
			w.elsewhere(jira, func(s *family.State) { *s = well })
			w.clock.Advance(2 * time.Second)
			if answer := w.token(jira); answer.Generation != well.Generation {
				t.Fatalf("generation %d", answer.Generation)
			}
		})
	}
}

func TestCallersDoNotWaitOutTheLeaseOfAnotherReplicasAttempt(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	well := w.grant(jira).State
	w.elsewhere(jira, func(s *family.State) {
		now := w.clock.Now()
		s.Access.ExpiresAt = now
		s.Attempt = &family.Attempt{ID: "theirs", Fence: s.Fence, Generation: s.Generation, Kind: family.First,
			FirstAnnounced: now, Announced: now, LeaseUntil: now.Add(time.Minute)}
	})
	w.startBroker()
	ask := func(patience time.Duration) (*broker.TokenAnswer, error) {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira})
	}
	if _, err := ask(50 * time.Millisecond); broker.ReasonOf(err) != broker.ReasonRefreshInProgress {
		t.Fatalf("got %v, want REFRESH_IN_PROGRESS", err)
	}
	w.elsewhere(jira, func(s *family.State) { *s = well; s.Generation++ })
	if answer, err := ask(10 * time.Second); err != nil || answer.Generation != well.Generation+1 {
		t.Fatalf("got %+v, %v", answer, err)
	}
}
