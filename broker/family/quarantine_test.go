package family

import (
	"slices"
	"testing"
)

func TestAQuarantineEndsByADecisionAlone(t *testing.T) {
	fresh := started()
	inFlight, sp := begun(t, fresh, timing(), 3600, "a", Need{})
	doubtful := settledWith(inFlight, 3601, sp, inDoubt)
	suspected := settledWith(inFlight, 3601, sp, refused)
	taken, _ := begun(t, inFlight, timing(), 3660, "b", Need{}) // the lease of the first ended
	sibling := settledWith(taken, 3661, sp, success("late"))
	lapsed, _ := Lapse(doubtful, timing(), at(9000))
	revoked, _ := Revoke(fresh, at(1), "")
	scrubbed, _ := Scrub(fresh, at(1), "")
	quarantine := func(s State) State {
		s, events := Quarantine(s, at(3700), "a copy")
		if len(events) != 1 || s.Phase != Quarantined {
			t.Fatalf("not quarantined: %+v", s)
		}
		return s
	}
	for _, row := range []struct {
		name            string
		state           State
		adopted, scrubs Phase
	}{
		{"quarantined while active", quarantine(fresh), Active, Lapsed},
		{"quarantined with an open attempt", quarantine(inFlight), Active, Lapsed},
		{"quarantined in doubt", quarantine(doubtful), Active, Lapsed},
		{"quarantined under suspicion", quarantine(suspected), Suspected, Lapsed},
		{"quarantined with an alternate", quarantine(sibling), Active, Lapsed},
		{"active: there is nothing to adopt", fresh, 0, Lapsed},
		{"lapsed for another reason", lapsed, 0, Lapsed},
		{"revoked", revoked, 0, 0},
		{"scrubbed already", scrubbed, 0, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			before := row.state
			got, events := Adopt(before, at(4000), "by op")
			want := before
			if row.adopted != 0 {
				want.Phase = row.adopted
			}
			if !same(got, want) || row.adopted != 0 != (len(events) == 1 && events[0].Type == EventAdopted && events[0].Detail == "by op") {
				t.Errorf("adopted: %+v with events %+v, want only the phase changed, to %v", got, events, row.adopted)
			}
			got, events = Scrub(before, at(4000), "by op")
			if row.scrubs == 0 {
				if !same(got, before) || len(events) != 0 {
					t.Errorf("scrubbed: %+v with events %+v, want nothing", got, events)
				}
				return
			}
			if got.Phase != Lapsed || !got.Scrubbed() || got.EndedAt != at(4000) || !got.Refresh.Empty() || !got.Access.Token.Empty() ||
				len(got.Alternates) > 0 || got.Attempt != nil || got.Doubt != nil || got.Suspicion != nil {
				t.Errorf("scrubbed: %+v", got)
			}
			if got.Generation != before.Generation || got.Fence != before.Fence || !slices.Equal(got.Access.Scopes, before.Access.Scopes) {
				t.Errorf("scrubbing lost more than the tokens: %+v", got)
			}
			if len(events) != 1 || events[0].Type != EventScrubbed || events[0].Detail != "by op" {
				t.Errorf("events %+v", events)
			}
		})
	}
}

// same compares what Adopt and Scrub may touch.
func same(a, b State) bool {
	return a.Phase == b.Phase && a.Lapse == b.Lapse && a.EndedAt == b.EndedAt && a.Refresh.Equal(b.Refresh) &&
		a.Access.Token.Equal(b.Access.Token) && a.Attempt == b.Attempt && a.Doubt == b.Doubt && a.Suspicion == b.Suspicion &&
		len(a.Alternates) == len(b.Alternates) && a.NotBefore == b.NotBefore && a.Failures == b.Failures
}

func TestAnAdoptedDoubtGoesOnByItsOldRules(t *testing.T) {
	inFlight, sp := begun(t, started(), timing(), 3600, "a", Need{})
	s, _ := Quarantine(settledWith(inFlight, 3601, sp, inDoubt), at(3602), "a copy")
	s, _ = Adopt(s, at(3700), "")
	if d := Plan(s, timing(), at(3700), Need{}); d.Verb != Refresh || d.Kind != Repeat {
		t.Errorf("inside the leeway of the first announcement: %+v, want a repeat", d)
	}
	if d := Plan(s, timing(), at(3600+565), Need{}); d.Verb != Hold {
		t.Errorf("after that leeway: %+v, want it held: an adoption begins no new one", d)
	}
}

func TestNothingLateSettlesIntoAScrubbedFamily(t *testing.T) {
	s, sp := begun(t, started(), timing(), 3600, "a", Need{})
	s, _ = Scrub(s, at(3601), "a copy")
	after, events := Settle(s, timing(), at(3602), sp, success("late"))
	if len(events) > 0 || !after.Refresh.Empty() || len(after.Alternates) > 0 {
		t.Errorf("a late answer brought a token back: %+v", after)
	}
	if d := Plan(after, timing(), at(3603), Need{Force: true}); d.Verb != Deny || d.Deny != DenyLapsed {
		t.Errorf("got %+v, want a consent demanded", d)
	}
}
