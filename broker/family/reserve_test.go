package family

import (
	"testing"
	"time"
)

// withSibling is a family of generation 2 whose token has a sibling that came
// late: which of the two the provider lets live is unknown. Both live to second 7260.
func withSibling(t *testing.T) State {
	t.Helper()
	s, slow := begun(t, started(), timing(), 3600, "slow", Need{})
	s, taken := begun(t, s, timing(), 3660, "taken", Need{}) // the lease ended
	s = settledWith(s, 3661, taken, success("2"))
	return settledWith(s, 3662, slow, success("2-late"))
}

// gaveWay is that family after an outage: the leeway of a doubt is over, and the
// sibling was sent in the place of the doubtful token at second 8000.
func gaveWay(t *testing.T) (State, Spend) {
	t.Helper()
	s, sp := begun(t, withSibling(t), timing(), 7300, "lost", Need{})
	s = settledWith(s, 7301, sp, inDoubt)
	s, sp = begun(t, s, timing(), 8000, "sibling", Need{})
	if sp.Token.Reveal() != "refresh-2-late" || sp.Kind != First || len(s.Reserves) != 1 || s.Doubt != nil {
		t.Fatalf("sent %q as %v, with reserves %+v", sp.Token.Reveal(), sp.Kind, s.Reserves)
	}
	return s, sp
}

// cameBack is that family after its sibling was refused, and refused again.
func cameBack(t *testing.T) State {
	t.Helper()
	s, sp := gaveWay(t)
	s = settledWith(s, 8001, sp, refused)
	if s.Phase != Suspected || s.Refresh.Reveal() != "refresh-2-late" || s.Inquiry != nil {
		t.Fatalf("one refusal: %+v", s)
	}
	s, sp = begun(t, s, timing(), later(s), "again", Need{})
	s = settledWith(s, 8050, sp, refused)
	if s.Phase != Suspected || s.Refresh.Reveal() != "refresh-2" || s.Generation != 2 || len(s.Reserves) != 0 ||
		s.Doubt == nil || s.Doubt.FirstAnnounced != at(7300) || s.NotBefore.Before(at(8080)) {
		t.Fatalf("the token in doubt did not come back: %+v", s)
	}
	return s
}

func TestATokenInDoubtComesBackWhenItsSiblingIsRefused(t *testing.T) {
	s := cameBack(t)
	if due := s.AttemptDue(timing(), ""); due != s.NotBefore {
		t.Errorf("due at %v, want %v: nobody may have to ask for it", due, s.NotBefore)
	}
	if d := Plan(s, timing(), s.NotBefore, Need{}); d.Verb != Hold {
		t.Errorf("while a last try is not allowed: %+v", d)
	}
	s, sp := begun(t, s, timing(), later(s), "last", Need{LastTryAllowed: true})
	if sp.Kind != LastTry || sp.Token.Reveal() != "refresh-2" {
		t.Fatalf("sent %q as %v", sp.Token.Reveal(), sp.Kind)
	}
	if won := settledWith(s, 8200, sp, success("3")); won.Phase != Active || won.Generation != 3 || won.Suspicion != nil {
		t.Errorf("it had never been spent: %+v", won)
	}
	if lost := settledWith(s, 8200, sp, refused); lost.Phase != Lapsed || lost.Lapse != LapseLostInDoubt {
		t.Errorf("it had been spent: phase %v, reason %q", lost.Phase, lost.Lapse)
	}
}

func TestWhichOfTwoTokensLivesIsAskedWithoutACaller(t *testing.T) {
	s, sp := gaveWay(t)
	s = settledWith(s, 8001, sp, Outcome{Class: NotSpent})
	if due := s.AttemptDue(timing(), ""); s.Phase != Active || len(s.Reserves) != 1 || due != s.NotBefore || due.IsZero() {
		t.Errorf("due at %v, want %v, when it may be sent again: %+v", due, s.NotBefore, s)
	}
	_, sp = begun(t, s, timing(), later(s), "again", Need{})
	if sp.Reason != ReasonConfirm {
		t.Errorf("begun for %q", sp.Reason)
	}
	s.Access.ExpiresAt = s.NotBefore.Add(time.Hour)
	if due := s.AttemptDue(timing(), ""); due != s.Access.ExpiresAt {
		t.Errorf("due at %v, want %v: a rotation would cut short the token that is served", due, s.Access.ExpiresAt)
	}
}

func TestAReserveEndsWithItsGeneration(t *testing.T) {
	s, sp := gaveWay(t)
	if won := settledWith(s, 8001, sp, success("3")); won.Generation != 3 || won.Reserves != nil {
		t.Errorf("the sibling settled: %+v", won)
	}
	if next, _ := Replace(s, at(8001), at(8002), pair("new")); next.Reserves != nil {
		t.Error("a consent kept the reserve of the old family")
	}
	if copied, _ := Scrub(s, at(8001), ""); copied.Reserves != nil {
		t.Error("scrubbing left a token")
	}
	// The successor of the token in doubt comes after all.
	late := Spend{AttemptID: "lost", Fence: 3, Generation: 2, FamilyFirst: 1, Announced: at(7300)}
	s = settledWith(s, 8001, late, success("3-late"))
	s = settledWith(s, 8002, sp, refused)
	if s.Refresh.Reveal() != "refresh-3-late" || s.Generation != 3 || s.Reserves != nil {
		t.Errorf("the successor shows that both are spent: %+v", s)
	}
}

func TestAReserveStaysThroughAHoldAndAQuarantine(t *testing.T) {
	s, sp := gaveWay(t)
	s = settledWith(s, 8001, sp, heldRefusal)
	s, _ = Quarantine(s, at(8002), "")
	s, _ = Adopt(s, at(8003), "")
	if len(s.Reserves) != 1 || s.Refresh.Reveal() != "refresh-2-late" || s.Phase != Suspected {
		t.Errorf("%+v", s)
	}
}

func TestADoubtfulTokenRefusedOnceGivesWayAndComesBackToo(t *testing.T) {
	s, sp := begun(t, withSibling(t), timing(), 7300, "lost", Need{})
	s = settledWith(s, 7301, sp, inDoubt)
	s, sp = begun(t, s, timing(), 7310, "repeat", Need{})
	s = settledWith(s, 7311, sp, refused)
	if s.Refresh.Reveal() != "refresh-2-late" || len(s.Reserves) != 1 {
		t.Fatalf("the sibling's turn: %+v", s)
	}
	s, sp = begun(t, s, timing(), 7312, "sibling", Need{})
	s = settledWith(s, 7350, sp, refused)
	if d := Plan(s, timing(), s.NotBefore, Need{}); s.Refresh.Reveal() != "refresh-2" || d.Verb != Refresh || d.Kind != Repeat {
		t.Fatalf("inside its leeway it can be repeated: %+v, plan %+v", s, d)
	}
	s, sp = begun(t, s, timing(), later(s), "repeat again", Need{})
	if s = settledWith(s, later(s), sp, refused); s.Phase != Lapsed || s.Lapse != LapseLostInDoubt {
		t.Errorf("refused again: phase %v, reason %q", s.Phase, s.Lapse)
	}
}

func TestALastTryThatWasRefusedIsNotReserved(t *testing.T) {
	s, sp := begun(t, started(), timing(), 3600, "a", Need{})
	s = settledWith(s, 3601, sp, inDoubt)
	s, sp = begun(t, s, timing(), 4300, "last", Need{LastTryAllowed: true})
	p := pair("sibling")
	s.Alternates = []Alternate{{Generation: 1, Refresh: p.Refresh, Access: accessOf(at(0), p), At: at(4300)}}
	if s = settledWith(s, 4301, sp, refused); s.Refresh.Reveal() != "refresh-sibling" || s.Reserves != nil || s.Doubt != nil {
		t.Errorf("%+v", s)
	}
}

func TestASuccessorIsTriedBeforeASiblingThatCameLater(t *testing.T) {
	s := withSibling(t)
	s.Alternates = nil
	s, lost := begun(t, s, timing(), 7300, "lost", Need{})
	s, running := begun(t, s, timing(), 7360, "takeover", Need{})
	s = settledWith(s, 7361, lost, success("3-late"))
	stuck := Spend{AttemptID: "slow", Fence: 2, Generation: 1, FamilyFirst: 1, Announced: at(3600)}
	s = settledWith(s, 7362, stuck, success("2-later"))
	s = settledWith(s, 7363, running, inDoubt)
	s, sp := begun(t, s, timing(), 7363+int((20*time.Minute)/time.Second)+7200, "next", Need{})
	if sp.Token.Reveal() != "refresh-3-late" || s.Generation != 3 || len(s.Alternates) != 0 {
		t.Errorf("sent %q of generation %d, with %d alternates of an older one", sp.Token.Reveal(), s.Generation, len(s.Alternates))
	}
}
