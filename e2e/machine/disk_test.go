package machine

import (
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/e2e/rig"
)

// answerHeld is how long the provider holds back the answer in whose middle the machine fails.
const answerHeld = 1500 // milliseconds

// failDuringRefresh begins a refresh of busy and lets fail happen after the
// provider has rotated and before it has answered.
func (w *world) failDuringRefresh(t *testing.T, fail func()) (ended <-chan error) {
	t.Helper()
	w.sim.Fault(t, atlassiansim.Fault{Kind: atlassiansim.FaultDelayAnswer, DelayMillis: answerHeld, Count: 1})
	before := len(w.exchanges(t, busy))
	ended = w.force(t, busy)
	rig.Until(t, "the provider has rotated", func() bool { return len(w.exchanges(t, busy)) > before })
	fail()
	return ended
}

// checkNothingIsSpent checks the state that everybody can see while the store
// cannot be written: red, with what to do, serving what is valid, spending nothing.
func (w *world) checkNothingIsSpent(t *testing.T, s *rig.Server, advice ...string) {
	t.Helper()
	rig.Until(t, "readiness is red", func() bool {
		ready, _ := s.Ready(t)
		return !ready
	})
	_, reasons := s.Ready(t)
	t.Logf("/readyz says: %s", reasons)
	for _, a := range advice {
		if !strings.Contains(reasons, a) {
			t.Errorf("/readyz says %q, and not %q", reasons, a)
		}
	}
	posts := w.sim.Ledger(t).TokenPosts
	if err := <-w.force(t, quiet); rig.Reason(err) != "STORE_UNAVAILABLE" {
		t.Errorf("a forced refresh while the store cannot be written: %v; want STORE_UNAVAILABLE", err)
	}
	if now := w.sim.Ledger(t).TokenPosts; now != posts {
		t.Errorf("the provider saw %d token requests while the store could not be written", now-posts)
	}
	got, err := w.Token(t.Context(), jira, quiet)
	if err != nil || !w.sim.Accepts(t, got.GetAccessToken()) {
		t.Errorf("a valid access token is not served while the store cannot be written: %v", err)
	}
}

// checkRefusesToStart checks that a server which cannot write ends at its start
// and says what to do.
func (w *world) checkRefusesToStart(t *testing.T, advice ...string) {
	t.Helper()
	s := w.Launch(t)
	if s.Serving(t) {
		t.Error("it serves from a store that cannot be written")
		s.Kill(t)
		return
	}
	for _, a := range advice {
		if out := s.Output(); !strings.Contains(out, a) {
			t.Errorf("it ended with %q, and does not say %q", out, a)
		}
	}
}

// The provider forgives nothing here: the successor that came while the disk
// was full is the family.
func TestADiskThatFillsDuringARefresh(t *testing.T) {
	t.Parallel()
	v := rig.NewMemory(t, 200)
	w := newWorld(t, strict, v, rig.Build{Plain: true})
	s := w.Serve(t)
	w.consent(t)
	before := w.generation(t, busy)
	ended := w.failDuringRefresh(t, func() { v.Fill(t) })
	w.checkNothingIsSpent(t, s, "make room")

	v.Free(t)
	rig.Until(t, "the store recovers by itself", func() bool {
		ready, _ := s.Ready(t)
		return ready
	})
	if err := <-ended; err != nil {
		t.Logf("who had asked for the refresh was told: %v", err)
	}
	rig.Until(t, "the successor is stored", func() bool { return w.generation(t, busy) == before+1 })
	if n := len(w.exchanges(t, busy)); n != 1 {
		t.Errorf("the provider counts %d refreshes, want 1", n)
	}
	w.checkWell(t)
	w.Rotate(t, jira, busy)
	w.checkWell(t)

	s.Stop(t)
	v.Fill(t)
	w.checkRefusesToStart(t, "make room")
	v.Free(t)
	w.Serve(t)
	w.checkWell(t)
}

// The worst of it: the process dies as well while the disk is full.
func TestAKillWhileTheDiskIsFull(t *testing.T) {
	t.Parallel()
	v := rig.NewMemory(t, 200)
	w := newWorld(t, strict, v, rig.Build{Plain: true})
	s := w.Serve(t)
	w.consent(t)
	before := w.generation(t, busy)
	w.failDuringRefresh(t, func() { v.Fill(t) })
	w.checkNothingIsSpent(t, s, "make room")
	s.Kill(t)

	w.checkRefusesToStart(t, "make room")
	v.Free(t)
	w.Serve(t)
	rig.Until(t, "the successor is stored", func() bool { return w.generation(t, busy) == before+1 })
	if n := len(w.exchanges(t, busy)); n != 1 {
		t.Errorf("the provider counts %d refreshes, want 1", n)
	}
	w.checkWell(t)
	w.Rotate(t, jira, busy)
	w.checkWell(t)
}

// A file system that turned read-only stays so until it is repaired; the
// leeway is long enough for that.
func TestAStoreThatTurnsReadOnlyDuringARefresh(t *testing.T) {
	t.Parallel()
	v := rig.NewDisk(t, 256)
	w := newWorld(t, documented, v, rig.Build{Plain: true})
	s := w.Serve(t)
	w.consent(t)
	before := w.generation(t, busy)
	w.failDuringRefresh(t, func() { v.Fail(t) })
	w.checkNothingIsSpent(t, s)
	s.Kill(t)

	w.checkRefusesToStart(t, v.Dir, "mount it writable")
	v.Repair(t)
	w.Serve(t)
	rig.Until(t, "the refresh is done", func() bool { return w.generation(t, busy) > before })
	w.checkWell(t)
	w.Rotate(t, jira, busy)
	w.checkWell(t)
}
