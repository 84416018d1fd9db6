package family

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

var heldRefusal = Outcome{Class: Refused, Code: "refused", VerdictHeld: true}

// refusedAt begins an attempt at a second and has it refused a second later.
func refusedAt(t *testing.T, s State, second int, id string, o Outcome) (State, []Event) {
	t.Helper()
	s, sp := begun(t, s, timing(), second, id, Need{LastTryAllowed: true})
	return Settle(s, timing(), at(second+1), sp, o)
}

// later is the second at which a held back family may be asked again.
func later(s State) int { return int(s.NotBefore.Sub(t0)/time.Second) + 1 }

func types(events []Event) []EventType {
	var out []EventType
	for _, e := range events {
		out = append(out, e.Type)
	}
	return out
}

func TestAHeldRefusalIsNoVerdictHoweverOftenItComes(t *testing.T) {
	s := started()
	second := 3600
	var waits []time.Duration
	for i := range 8 {
		var events []Event
		s, events = refusedAt(t, s, second, string(rune('a'+i)), heldRefusal)
		if s.Phase != Suspected || s.Refresh.Reveal() != "refresh-1" || !slices.Equal(types(events), []EventType{EventRefused, EventVerdictHeld}) {
			t.Fatalf("refusal %d: %+v, events %v", i, s, types(events))
		}
		waits = append(waits, s.NotBefore.Sub(at(second+1)))
		second = later(s)
	}
	for i, least := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 12 * time.Minute, 12 * time.Minute, 12 * time.Minute} {
		if waits[i] < least || waits[i] > least*5/4 {
			t.Errorf("rest %d is %v, want %v and up to a quarter more", i, waits[i], least)
		}
	}
	if s.AttemptDue(timing(), "") != s.NotBefore {
		t.Errorf("due at %v, want %v: nobody may have to ask for it", s.AttemptDue(timing(), ""), s.NotBefore)
	}
	s, sp := begun(t, s, timing(), second, "z", Need{})
	if s = settledWith(s, second+1, sp, success("2")); s.Phase != Active || s.Suspicion != nil {
		t.Errorf("a pair after the wave does not clear the suspicion: %+v", s)
	}
}

// Where an admin has removed the app for everybody, the families that died hold
// one another's verdicts by being asked. Their people must hear of it some day.
func TestAHoldThatNeverEndsDoesNotKeepADeadFamilyForEver(t *testing.T) {
	s := started()
	second, refusals := 3600, 0
	for s.Phase != Lapsed {
		if refusals++; refusals > 1000 {
			t.Fatalf("still %v after %d refusals and %v", s.Phase, refusals, at(second).Sub(at(3600)))
		}
		s, _ = refusedAt(t, s, second, fmt.Sprint(refusals), heldRefusal)
		if s.Phase != Lapsed {
			second = later(s)
		}
	}
	if took := at(second).Sub(at(3600)); took < 23*time.Hour || took > 31*time.Hour || s.Lapse != LapseRefused {
		t.Errorf("lapsed for %s after %v and %d refusals, want REFUSED after about a day", s.Lapse, took, refusals)
	}
}

func TestBothRefusalsOfAVerdictComeFromOutsideAHold(t *testing.T) {
	for name, held := range map[string][]bool{
		"both outside":             {false, false},
		"the first before a hold":  {false, true, false, false},
		"after a hold":             {true, false, false},
		"a hold between, then one": {false, true, true, false, false},
	} {
		s, second := started(), 3600
		for i, h := range held {
			if s.Phase == Lapsed {
				t.Fatalf("%s: lapsed before refusal %d", name, i)
			}
			o := refused
			o.VerdictHeld = h
			s, _ = refusedAt(t, s, second, string(rune('a'+i)), o)
			if s.Phase != Lapsed {
				second = later(s)
			}
		}
		if s.Phase != Lapsed || s.Lapse != LapseRefused || s.Refresh.Reveal() != "refresh-1" {
			t.Errorf("%s: phase %v, reason %q", name, s.Phase, s.Lapse)
		}
	}
}

func TestALastTryRefusedUnderAHoldMayBeMadeAgain(t *testing.T) {
	s, sp := begun(t, started(), timing(), 3600, "a", Need{})
	s = settledWith(s, 3601, sp, inDoubt)
	s, sp = begun(t, s, timing(), 3600+700, "last", Need{LastTryAllowed: true})
	if sp.Kind != LastTry {
		t.Fatalf("began %v", sp.Kind)
	}
	s = settledWith(s, 4301, sp, heldRefusal)
	if s.Phase != Suspected || s.Doubt == nil || !s.Doubt.LastTry.IsZero() {
		t.Fatalf("phase %v, doubt %+v: want the last try unspent", s.Phase, s.Doubt)
	}
	if d := Plan(s, timing(), at(later(s)), Need{}); d.Verb != Hold {
		t.Errorf("while the provider is not known to be healthy: %+v, want to hold", d)
	}
	s, sp = begun(t, s, timing(), later(s), "again", Need{LastTryAllowed: true})
	if sp.Kind != LastTry {
		t.Fatalf("began %v", sp.Kind)
	}
	if s = settledWith(s, 4400, sp, refused); s.Phase != Lapsed || s.Lapse != LapseLostInDoubt {
		t.Errorf("refused in quiet times: phase %v, reason %q", s.Phase, s.Lapse)
	}
}

func TestAHeldRefusalDropsNoTokenThatMayLive(t *testing.T) {
	alternate := func(generation uint64) Alternate {
		p := pair("alt")
		return Alternate{Generation: generation, Refresh: p.Refresh, Access: accessOf(at(0), p), At: at(3600)}
	}
	sibling, successor := started(), started()
	sibling.Alternates = []Alternate{alternate(1)}
	successor.Alternates = []Alternate{alternate(2)}

	s, _ := refusedAt(t, sibling, 3600, "a", heldRefusal)
	if s.Refresh.Reveal() != "refresh-alt" || len(s.Alternates) != 1 || s.Alternates[0].Refresh.Reveal() != "refresh-1" || !s.NotBefore.After(at(3601)) {
		t.Errorf("siblings take turns, with a rest: %+v", s)
	}
	s, _ = refusedAt(t, s, later(s), "b", heldRefusal)
	if s.Refresh.Reveal() != "refresh-1" || s.Alternates[0].Refresh.Reveal() != "refresh-alt" {
		t.Errorf("the first one's turn again: %+v", s)
	}
	s, events := refusedAt(t, successor, 3600, "a", heldRefusal)
	if s.Refresh.Reveal() != "refresh-alt" || s.Generation != 2 || len(s.Alternates) != 0 || s.NotBefore.After(at(3601)) {
		t.Errorf("a successor is tried at once: %+v", s)
	}
	if events[len(events)-1].Type != EventAlternatePromoted {
		t.Errorf("events %v", types(events))
	}
}

func TestOneRefusalCostsNoTokenThatASiblingCannotReplace(t *testing.T) {
	s := started()
	p := pair("dead")
	s.Alternates = []Alternate{{Generation: 1, Refresh: p.Refresh, Access: accessOf(at(0), p), At: at(100)}}
	for i, want := range []struct {
		asks string
		rest bool
	}{{"refresh-1", false}, {"refresh-dead", true}, {"refresh-1", false}} {
		second := 3600 + i
		if !s.NotBefore.IsZero() {
			second = later(s)
		}
		if s.Refresh.Reveal() != want.asks || s.Access.Token.Reveal() != started().Access.Token.Reveal() {
			t.Fatalf("attempt %d asks about %q", i, s.Refresh.Reveal())
		}
		s, _ = refusedAt(t, s, second, string(rune('a'+i)), refused)
		if s.Phase != Suspected || s.NotBefore.IsZero() == want.rest {
			t.Fatalf("after refusal %d: %+v", i, s)
		}
	}
	if s, _ = refusedAt(t, s, 4000, "z", refused); s.Phase != Lapsed || s.Lapse != LapseRefused {
		t.Fatalf("each was refused twice: %v", s.Phase)
	}
}

func TestALapsedFamilyIsAskedAboutAgain(t *testing.T) {
	s, _ := refusedAt(t, started(), 3600, "a", refused)
	s, _ = refusedAt(t, s, later(s), "b", refused)
	if s.Phase != Lapsed {
		t.Fatal("not lapsed")
	}
	again, events := AskAgain(s, at(9000), "by op")
	if again.Phase != Suspected || again.Lapse != LapseNone || !again.EndedAt.IsZero() || !slices.Equal(types(events), []EventType{EventAskedAgain}) {
		t.Fatalf("%+v, events %v", again, types(events))
	}
	if due := again.Due(timing(), ""); due.After(at(9000)) || due.IsZero() {
		t.Errorf("due at %v, want at once", due)
	}
	asked, sp := begun(t, again, timing(), 9000, "c", Need{})
	if back := settledWith(asked, 9001, sp, success("2")); back.Phase != Active || back.Generation != 2 {
		t.Errorf("the provider took it: %+v", back)
	}
	gone := settledWith(asked, 9001, sp, refused)
	if gone.Phase != Suspected || !gone.Suspicion.AskedAgain {
		t.Fatalf("one refusal: %+v", gone)
	}
	if gone, _ = refusedAt(t, gone, later(gone), "d", refused); gone.Phase != Lapsed || gone.Lapse != LapseRefused {
		t.Errorf("a confirmed refusal: %+v", gone)
	}
}

func TestOnlyARefusedFamilyIsAskedAboutAgain(t *testing.T) {
	lapsed := func(why LapseReason) State {
		s, _ := lapse(started(), at(1), why, nil)
		return s
	}
	revoked, _ := Revoke(lapsed(LapseRefused), at(2), "")
	quarantined, _ := Quarantine(started(), at(2), "")
	for name, s := range map[string]State{
		"active": started(), "revoked": revoked, "quarantined": quarantined, "lost in doubt": lapsed(LapseLostInDoubt),
		"without offline access": lapsed(LapseOfflineAccess), "scrubbed": lapsed(LapseScrubbed),
	} {
		if again, events := AskAgain(s, at(3), ""); len(events) != 0 || again.Phase != s.Phase || again.Lapse != s.Lapse {
			t.Errorf("%s: %+v", name, again)
		}
	}
}
