package fosite

import (
	"sync"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker/crashpoint"
	"github.com/holdfast-io/holdfast/e2e/rig"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// The other tests prove something only if the server does what it is said to
// do; they check by its ledger that it did. This one is the plain case.
func TestFiftyCallersCauseOneRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, rig.Build{Plain: true})
	w.consent(t)
	first := w.expire(t)
	const callers = 50
	var running sync.WaitGroup
	for range callers {
		running.Go(func() {
			got, err := w.Token(t.Context(), app, subject)
			if err != nil || got.GetGeneration() != first.GetGeneration()+1 {
				t.Errorf("a caller got generation %d, error %v; want generation %d", got.GetGeneration(), err, first.GetGeneration()+1)
			}
		})
	}
	running.Wait()
	if n := len(w.server.exchanges()); n != 1 {
		t.Errorf("the server counts %d rotations, want 1", n)
	}
	w.checkReuse(t, 0, 0, 0)
}

func TestLostAnswersInsideTheLeewayNeedNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, rig.Build{Plain: true})
	w.consent(t)
	w.expire(t)
	w.relay.Plan(rig.AnswerLost)
	w.checkLives(t, subject)
	if g, events := w.Show(t, app, subject); g.GetPhase() != holdfastv1.GrantPhase_GRANT_PHASE_ACTIVE || len(rig.LastTries(events)) != 0 {
		t.Errorf("the grant is %v after %d last tries; want active after none", g.GetPhase(), len(rig.LastTries(events)))
	}
	w.checkReuse(t, 1, 0, 0)
}

// The broker was away for longer than the leeway. What had become of its
// attempt is not known to it; the server's ledger knows.
func TestAfterTheLeewayThereIsOnlyALastTry(t *testing.T) {
	for _, row := range []struct {
		name   string
		mishap rig.Mishap
		phase  holdfastv1.GrantPhase
		after  int // reuses after the leeway, and families that ended for them
	}{
		{"the answer was lost", rig.AnswerLost, holdfastv1.GrantPhase_GRANT_PHASE_LAPSED, 1},
		{"the request was lost", rig.RequestLost, holdfastv1.GrantPhase_GRANT_PHASE_ACTIVE, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, rig.Build{Plain: true})
			s := w.consent(t)
			w.expire(t)
			w.relay.Plan(row.mishap)
			asked := make(chan error, 1)
			go func() {
				_, err := w.Token(t.Context(), app, subject)
				asked <- err
			}()
			rig.Until(t, "the exchange has had its mishap", func() bool { return w.relay.Lost() == 1 })
			s.Kill(t)
			if err := <-asked; err == nil {
				t.Error("a service got a token of an exchange that was lost")
			}
			<-time.After(leeway)

			w.Serve(t)
			w.Rotate(t, app, calm) // the provider is well, says another grant
			if phase := w.decided(t); phase != row.phase {
				t.Errorf("the grant is %v, want %v", phase, row.phase)
			}
			g, events := w.Show(t, app, subject)
			if n := len(rig.LastTries(events)); n != 1 {
				t.Errorf("%d last tries were announced, want 1", n)
			}
			w.checkReuse(t, 0, row.after, row.after)
			if row.phase == holdfastv1.GrantPhase_GRANT_PHASE_LAPSED {
				if g.GetLapseReason() != holdfastv1.LapseReason_LAPSE_REASON_LOST_IN_DOUBT {
					t.Errorf("it lapsed for the reason %v, want LOST_IN_DOUBT", g.GetLapseReason())
				}
				w.Consent(t, app, subject, account(subject))
			}
			w.checkLives(t, subject)
			w.checkLives(t, calm)
		})
	}
}

func TestACrashAtEachStageLosesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, rig.Build{Plain: true, Tags: "crashpoints"})
	w.consent(t).Stop(t)
	for _, p := range []struct {
		name   string
		inside int // reuses inside the leeway that save the family
	}{
		{crashpoint.AnnounceUnsaved, 0}, {crashpoint.AnnounceDurable, 0}, {crashpoint.SpendGuard, 0},
		{crashpoint.SpendWritten, 1}, {crashpoint.SpendHeaders, 1}, {crashpoint.SpendAnswered, 1}, {crashpoint.SettleDurable, 0},
	} {
		before, _ := w.server.reuse()
		s := w.Serve(t, "HOLDFAST_CRASHPOINT="+p.name)
		generation := uint64(0)
		if g, _ := w.Show(t, app, subject); g != nil {
			generation = g.GetGeneration()
		}
		if _, err := w.Admin.ForceRefresh(t.Context(), &holdfastv1.ForceRefreshRequest{Grant: app.Grant(subject)}); err == nil {
			t.Errorf("%s: the rotation went through", p.name)
		}
		_ = s.Ended(t) // killed
		s = w.Serve(t)
		w.checkLives(t, subject)
		w.Rotate(t, app, subject) // a token that lives on says nothing about the family
		g, events := w.Show(t, app, subject)
		if g.GetGeneration() <= generation || len(rig.LastTries(events)) > 0 {
			t.Errorf("%s: generation %d after %d, with %d last tries; want a newer one without any",
				p.name, g.GetGeneration(), generation, len(rig.LastTries(events)))
		}
		// The last byte may not have arrived when the process died after it was written.
		if after, _ := w.server.reuse(); after-before > p.inside {
			t.Errorf("%s: %d spent tokens were sent again inside the leeway, want at most %d", p.name, after-before, p.inside)
		}
		s.Stop(t) // nothing is under way when the next one starts
	}
	w.checkReuse(t, -1, 0, 0)
}
