package machine

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/crashpoint"
	"github.com/holdfast-io/holdfast/e2e/rig"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// How long a process stands still: longer than its lease, and longer than the
// provider forgives (see short).
var stops = map[string]time.Duration{"beyond the lease": 4 * time.Second, "beyond the leeway": 16 * time.Second}

// stopped reports whether the process stands still: state T of /proc/PID/stat.
func stopped(t *testing.T, pid int) bool {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(state, "T")
}

// A process that stands still at any point up to the guard has sent nothing. When
// it goes on it must not send what only its stopped clock thinks is in time.
func TestStoppedAtEveryPointUpToTheGuard(t *testing.T) {
	for _, point := range []string{crashpoint.AnnounceUnsaved, crashpoint.CommitUnsynced, crashpoint.CommitSynced,
		crashpoint.AnnounceDurable, crashpoint.SpendGuard} {
		for name, long := range stops {
			t.Run(point+" "+name, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, short, nil, rig.Build{Plain: true, Tags: "crashpoints"})
				first := w.Serve(t)
				w.consent(t)
				first.Stop(t)
				w.standStill(t, point, long)
			})
		}
	}
}

func (w *world) standStill(t *testing.T, point string, long time.Duration) {
	t.Helper()
	// Every commit passes the points of one, those of a start included.
	nth := 1
	if strings.HasPrefix(point, "commit.") {
		nth = 4 + rand.IntN(3)
	}
	s := w.Launch(t, fmt.Sprintf("HOLDFAST_STOPPOINT=%s:%d", point, nth))
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for range 4 { // in one of them it stands still
			if err := <-w.force(t, busy); err != nil {
				t.Logf("a forced refresh: %v", err)
			}
		}
	}()
	rig.Until(t, "the process stands still at "+point, func() bool { return stopped(t, s.Pid()) })
	<-time.After(long)
	s.Signal(t, syscall.SIGCONT)
	<-asked
	rig.Until(t, "the grant rotates again", func() bool { return <-w.force(t, busy) == nil })
	w.checkWell(t)
}

// The answer was lost, so the token is spent; its repeat stands still in the guard
// until the leeway is over. It must not leave any more: only an announced last try
// may, once another grant says that the provider is well.
func TestARepeatThatStoodStillInTheGuardBeyondTheLeewayIsNotSent(t *testing.T) {
	t.Parallel()
	at := short
	at.overrides += "access_grace: 2s\n"
	w := newWorld(t, at, nil, rig.Build{Plain: true, Tags: "crashpoints"})
	first := w.Serve(t)
	w.consent(t)
	first.Stop(t)
	s := w.Serve(t, "HOLDFAST_STOPPOINT="+crashpoint.SpendGuard+":2")
	w.sim.Fault(t, atlassiansim.Fault{Kind: atlassiansim.FaultDropBeforeAnswer, Count: 1})
	if err := <-w.force(t, busy); err == nil {
		t.Fatal("the forced refresh went well, though its answer was lost")
	}
	rig.Until(t, "the repeat stands still in the guard", func() bool { return stopped(t, s.Pid()) })
	<-time.After(stops["beyond the leeway"])
	s.Signal(t, syscall.SIGCONT)
	rig.Until(t, "the repeat is known not to have been sent", func() bool {
		_, events := w.Show(t, jira, busy)
		return rig.Has(events, holdfastv1.GrantEventType_GRANT_EVENT_TYPE_NOT_SPENT)
	})
	if n := len(w.exchanges(t, busy)); n != 1 {
		t.Errorf("the provider saw %d refreshes, want the one alone whose answer was lost", n)
	}
	w.Rotate(t, jira, quiet)
	rig.Until(t, "the last try has its verdict", func() bool {
		_, _ = w.Token(t.Context(), jira, busy)
		g, _ := w.Show(t, jira, busy)
		return g.GetPhase() == holdfastv1.GrantPhase_GRANT_PHASE_LAPSED
	})
	g, events := w.Show(t, jira, busy)
	if n, tries := len(w.exchanges(t, busy)), len(rig.LastTries(events)); n != 2 || tries != 1 || g.GetLapseReason() != holdfastv1.LapseReason_LAPSE_REASON_LOST_IN_DOUBT {
		t.Errorf("the provider saw %d refreshes, %d last tries were announced, the reason is %v; want 2, 1, LOST_IN_DOUBT", n, tries, g.GetLapseReason())
	}
}

// The machine sleeps inside the POST, for longer than the timeout, the lease and
// the leeway. The answer came meanwhile, and it is the only live token.
func TestAnAnswerThatCameWhileTheProcessStoodStillIsRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, short, nil, rig.Build{Plain: true, Tags: "crashpoints"})
	first := w.Serve(t)
	w.consent(t)
	first.Stop(t)
	s := w.Serve(t, "HOLDFAST_STOPPOINT="+crashpoint.SpendWritten)
	asked := w.force(t, busy)
	rig.Until(t, "the process stands still after the request", func() bool { return stopped(t, s.Pid()) })
	<-time.After(stops["beyond the leeway"])
	s.Signal(t, syscall.SIGCONT)
	if err := <-asked; err != nil {
		t.Logf("the forced refresh: %v", err)
	}
	g, events := w.Show(t, jira, busy)
	if g.GetGeneration() != 2 || g.GetInDoubt() || len(rig.LastTries(events)) != 0 {
		t.Errorf("generation %d, in doubt %v, %d last tries; want the answer settled", g.GetGeneration(), g.GetInDoubt(), len(rig.LastTries(events)))
	}
	w.checkWell(t)
}

// Stops at any moment, the answer's way included. One that is longer than the
// leeway may cost the family whose answer was under way: what became of each is
// reported, and none may end without the true reason.
func TestStoppedAtAnyMoment(t *testing.T) {
	t.Parallel()
	w := newWorld(t, short, nil, rig.Build{Plain: true})
	s := w.Serve(t)
	w.consent(t)
	account := atlassiansim.DefaultAccounts()[0].ID
	lost := 0
	for _, long := range []time.Duration{time.Second, 4 * time.Second, 5 * time.Second, 16 * time.Second} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 20 {
				if err := <-w.force(t, busy); err != nil {
					t.Logf("a forced refresh: %v", err)
				}
			}
		}()
		<-time.After(rand.N(200 * time.Millisecond))
		s.Signal(t, syscall.SIGSTOP)
		<-time.After(long)
		s.Signal(t, syscall.SIGCONT)
		<-done
		rig.Until(t, "the grant is decided", func() bool {
			g, _ := w.Show(t, jira, busy)
			return g.GetPhase() == holdfastv1.GrantPhase_GRANT_PHASE_LAPSED || !g.GetInDoubt() && !g.GetAttemptRunning()
		})
		g, events := w.Show(t, jira, busy)
		t.Logf("stopped for %v: %v at generation %d, %d last tries so far", long, g.GetPhase(), g.GetGeneration(), len(rig.LastTries(events)))
		if g.GetPhase() == holdfastv1.GrantPhase_GRANT_PHASE_LAPSED {
			lost++
			if g.GetLapseReason() != holdfastv1.LapseReason_LAPSE_REASON_LOST_IN_DOUBT {
				t.Errorf("it lapsed for the reason %v, want LOST_IN_DOUBT", g.GetLapseReason())
			}
			w.Consent(t, jira, busy, account)
		}
		if got, err := w.Token(t.Context(), jira, busy); err != nil || !w.sim.Accepts(t, got.GetAccessToken()) {
			t.Errorf("after a stop of %v the grant is not well: %v", long, err)
		}
	}
	t.Logf("%d families lost, %d spent tokens sent after the leeway", lost, len(w.sim.Ledger(t).LateReuses()))
	if late := len(w.sim.Ledger(t).LateReuses()); late > lost {
		t.Errorf("%d spent tokens were sent after the leeway, and %d families ended with the true reason", late, lost)
	}
}
