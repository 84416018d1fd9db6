package family

import (
	"testing"
)

func TestALateSuccessorIsKeptAndTriedBeforeAVerdict(t *testing.T) {
	s, slow := begun(t, started(), timing(), 3600, "slow", Need{})
	s, taken := begun(t, s, timing(), 3660, "takeover", Need{}) // the lease ended
	s, events := Settle(s, timing(), at(3661), slow, success("2-slow"))
	if len(s.Alternates) != 1 || events[0].Type != EventAlternateKept || s.Generation != 1 || s.Attempt == nil {
		t.Fatalf("the fenced pair was not kept beside the running attempt: %+v", s)
	}
	// The other attempt is refused: the alternate takes its place, no verdict.
	tried := settledWith(s, 3662, taken, refused)
	if tried.Phase != Suspected || tried.Refresh.Reveal() != "refresh-2-slow" || tried.Generation != 2 || len(tried.Alternates) != 0 {
		t.Fatalf("the alternate was not promoted: %+v", tried)
	}
	// Or it settles: the sibling of the same generation stays for later, and goes with the next one.
	won := settledWith(s, 3662, taken, success("2"))
	if won.Generation != 2 || len(won.Alternates) != 1 {
		t.Fatalf("the sibling was dropped: %+v", won)
	}
	won, sp := begun(t, won, timing(), 7300, "next", Need{})
	if won = settledWith(won, 7301, sp, success("3")); len(won.Alternates) != 0 {
		t.Fatal("a sibling of an older generation was kept")
	}
	// A doubt that no repeat can cure gives way to the alternate as well.
	doubtful := settledWith(s, 3662, taken, inDoubt)
	if d := Plan(doubtful, timing(), at(3600+700), Need{}); d.Verb != Serve {
		t.Fatalf("got %+v: the alternate's access token is good", d)
	}
	doubtful, sp = begun(t, doubtful, timing(), 3600+3700, "d", Need{})
	if sp.Token.Reveal() != "refresh-2-slow" || doubtful.Attempt.Kind != First {
		t.Fatalf("spends %q as %v, want the alternate as a first attempt", sp.Token.Reveal(), doubtful.Attempt.Kind)
	}
}

func TestAtMostTwoAlternatesAreKept(t *testing.T) {
	s := started()
	var late []Spend
	for i := range 4 {
		var sp Spend
		s, sp = begun(t, s, timing(), 3600+60*i, "x", Need{})
		late = append(late, sp)
	}
	for i, sp := range late[:3] {
		s = settledWith(s, 3900, sp, success(string(rune('a'+i))))
	}
	if len(s.Alternates) != 2 || s.Alternates[1].Refresh.Reveal() != "refresh-c" {
		t.Fatalf("kept %d, want the newest two", len(s.Alternates))
	}
}

func TestAnAttemptOfAReplacedFamilyCanNotTouchTheNewOne(t *testing.T) {
	s, old := begun(t, started(), timing(), 3600, "old", Need{})
	s, _ = Replace(s, at(3601), at(3602), pair("consented"))
	if s.Generation != 2 || s.Fence <= old.Fence {
		t.Fatalf("generation %d, fence %d: want both to go on", s.Generation, s.Fence)
	}
	after, events := Settle(s, timing(), at(3603), old, success("stale"))
	if len(events) != 0 || len(after.Alternates) != 0 || after.Refresh.Reveal() != "refresh-consented" {
		t.Fatalf("the old family's pair reached the new one: %+v", after)
	}
}

func TestALateAnswerThatReturnsTheTokenInUseMakesItNoSuccessor(t *testing.T) {
	s, slow := begun(t, started(), timing(), 3600, "slow", Need{})
	s, taken := begun(t, s, timing(), 3660, "taken", Need{}) // the lease ended; this sending may spend it
	s = settledWith(s, 3661, taken, inDoubt)
	s, events := Settle(s, timing(), at(3662), slow, success("1")) // the provider did not rotate then
	if len(s.Alternates) != 0 || len(events) != 0 {
		t.Fatalf("kept %+v", s.Alternates)
	}
	if d := Plan(s, timing(), at(3600+700), Need{}); d.Verb != Hold {
		t.Errorf("after the leeway: %+v, want no more than a last try", d)
	}
}
