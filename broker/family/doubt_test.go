package family

import (
	"slices"
	"testing"
	"time"
)

// TestADoubtIsRepeatedAheadWhateverTheTokensOwnLife: a rotation that was forced
// early leaves a token that looks long-lived, while the leeway in which its
// successor can be found ends in minutes.
func TestADoubtIsRepeatedAheadWhateverTheTokensOwnLife(t *testing.T) {
	s, sp := begun(t, started(), timing(), 100, "a", Need{Force: true})
	doubtful := settledWith(s, 101, sp, inDoubt)
	grace := at(700) // of the old access token
	for _, row := range []struct {
		name   string
		second int
		want   Decision
	}{
		{"not inside the backoff", 102, Decision{Verb: Serve, Until: grace}},
		{"then at once", 104, Decision{Verb: Serve, Until: grace, Ahead: true, Kind: Repeat}},
		{"up to the last moment", 100 + 564, Decision{Verb: Serve, Until: grace, Ahead: true, Kind: Repeat}},
		{"and not after it", 100 + 565, Decision{Verb: Serve, Until: grace}},
	} {
		if got := Plan(doubtful, timing(), at(row.second), Need{}); got != row.want {
			t.Errorf("%s: got %+v, want %+v", row.name, got, row.want)
		}
	}
	if _, sp := begun(t, doubtful, timing(), 104, "b", Need{}); sp.Kind != Repeat || sp.Token.Reveal() != "refresh-1" {
		t.Errorf("began %v", sp.Kind)
	}
}

func TestScopesThatAnAnswerLeavesOutStay(t *testing.T) {
	both := pair("1")
	both.Scopes = []string{"read", "write"}
	first, _ := Start(t0, t0, both)
	silent := success("2")
	silent.Pair.Scopes = nil
	settle := func(t *testing.T) (State, []Event) {
		s, sp := begun(t, first, timing(), 3600, "a", Need{})
		return Settle(s, timing(), at(3601), sp, silent)
	}
	late := func(t *testing.T) (State, []Event) {
		s, slow := begun(t, first, timing(), 3600, "slow", Need{})
		s, taken := begun(t, s, timing(), 3660, "taken", Need{})
		s, _ = Settle(s, timing(), at(3661), slow, silent)
		return Settle(s, timing(), at(3662), taken, refused) // the late pair takes its place
	}
	for name, reach := range map[string]func(*testing.T) (State, []Event){"of a settlement": settle, "of a late successor": late} {
		t.Run(name, func(t *testing.T) {
			s, events := reach(t)
			if s.Generation != 2 || !slices.Equal(s.Access.Scopes, both.Scopes) {
				t.Errorf("generation %d has scopes %v, want 2 with %v", s.Generation, s.Access.Scopes, both.Scopes)
			}
			if slices.ContainsFunc(events, func(e Event) bool { return e.Type == EventScopesChanged }) {
				t.Errorf("a loss is reported that was none: %+v", events)
			}
		})
	}
}

func TestAMinimumLifeAboveATokensWholeLifeDoesNotRotateAtEveryCall(t *testing.T) {
	brief := pair("1")
	brief.ExpiresIn = 5 * time.Minute
	s, _ := Start(t0, t0, brief)
	need := Need{MinTTL: 9 * time.Minute}
	for _, row := range []struct {
		name   string
		second int
		need   Need
		want   Verb
	}{
		{"fresh from the provider", 0, need, Serve},
		{"in its first half", 149, need, Serve},
		{"at its half", 150, need, Serve},
		{"in its second half", 151, need, Refresh},
		{"what can be reached is still kept to", 181, Need{MinTTL: 2 * time.Minute}, Refresh},
		{"and not a second early", 180, Need{MinTTL: 2 * time.Minute}, Serve},
		{"expired", 300, Need{}, Refresh},
		{"expired, with a minimum", 300, need, Refresh},
	} {
		if got := Plan(s, timing(), at(row.second), row.need); got.Verb != row.want {
			t.Errorf("%s: got %+v, want verb %v", row.name, got, row.want)
		}
	}
}

func TestAMisconfiguredAnswerHoldsTheGrantBackOnlyIfItIsTheGrantsOwn(t *testing.T) {
	base, sp := begun(t, started(), timing(), 3600, "a", Need{})
	for _, row := range []struct {
		name    string
		outcome Outcome
		second  int
		want    Decision
	}{
		{"the app's fault", Outcome{Class: Misconfigured}, 3601, Decision{Verb: Refresh, Kind: First}},
		{"the grant's own", Outcome{Class: Misconfigured, RetryAfter: time.Minute}, 3660, Decision{Verb: Hold, Until: at(3661)}},
		{"the grant's own, later", Outcome{Class: Misconfigured, RetryAfter: time.Minute}, 3661, Decision{Verb: Refresh, Kind: First}},
	} {
		s := settledWith(base, 3601, sp, row.outcome)
		if got := Plan(s, timing(), at(row.second), Need{}); got != row.want || s.Phase != Active || s.Doubt != nil {
			t.Errorf("%s: got %+v in phase %v, want %+v", row.name, got, s.Phase, row.want)
		}
	}
}
