package family

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/secret"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// at is t0 plus a number of seconds.
func at(seconds int) time.Time { return t0.Add(time.Duration(seconds) * time.Second) }

func timing() Timing {
	return Timing{
		Leeway: 10 * time.Minute, AccessGrace: 10 * time.Minute, Lease: time.Minute, HTTPTimeout: 30 * time.Second,
		ClockMargin: 5 * time.Second, RefreshAhead: 5 * time.Minute, ConfirmDelay: 30 * time.Second,
		IdleLimit: 90 * 24 * time.Hour, AbsoluteLimit: 365 * 24 * time.Hour,
	}
}

func strictTiming(rule InDoubtRule) Timing {
	t := timing()
	t.Leeway, t.InDoubt = 0, rule
	return t
}

func pair(n string) Pair {
	return Pair{Refresh: secret.New("refresh-" + n), Access: secret.New("access-" + n), ExpiresIn: time.Hour, Scopes: []string{"read"}}
}

// started is a family whose first access token expires at second 3600.
func started() State {
	s, _ := Start(t0, t0, pair("1"))
	return s
}

// begun begins an attempt at a second and fails the test if that is not allowed.
func begun(t *testing.T, s State, tm Timing, second int, id string, n Need) (State, Spend) {
	t.Helper()
	next, sp, _, err := Begin(s, tm, at(second), id, n)
	if err != nil {
		t.Fatalf("Begin at %d s: %v (plan %+v)", second, err, Plan(s, tm, at(second), n))
	}
	return next, sp
}

func settledWith(s State, second int, sp Spend, o Outcome) State {
	s, _ = Settle(s, timing(), at(second), sp, o)
	return s
}

func success(n string) Outcome { return Outcome{Class: Settled, Pair: pair(n)} }

var (
	inDoubt = Outcome{Class: InDoubt, Code: "timeout"}
	refused = Outcome{Class: Refused, Code: "refused"}
)

func TestPlan(t *testing.T) {
	fresh := started()
	short := fresh
	short.Access.ExpiresAt = at(300)
	suspected := fresh
	suspected.Phase = Suspected
	rejected, _, _ := Reject(fresh, at(10), 1)
	running, _ := begun(t, fresh, timing(), 3600, "a", Need{})
	runningEarly, _ := begun(t, fresh, timing(), 100, "a", Need{Force: true})
	doubtful := func() State {
		s, sp := begun(t, fresh, timing(), 3600, "a", Need{})
		return settledWith(s, 3601, sp, inDoubt)
	}()
	lastTried := func() State {
		s, sp := begun(t, doubtful, timing(), 4200, "b", Need{LastTryAllowed: true})
		return settledWith(s, 4201, sp, inDoubt)
	}()
	revoked, _ := Revoke(fresh, at(1), "")
	quarantined, _ := Quarantine(fresh, at(1), "")
	lapsed, _ := Lapse(doubtful, timing(), at(5000))
	for _, row := range []struct {
		name   string
		state  State
		second int
		need   Need
		want   Decision
	}{
		{"a fresh token is served", fresh, 10, Need{}, Decision{Verb: Serve, Until: at(3600)}},
		{"a short life is served in its first half", short, 149, Need{}, Decision{Verb: Serve, Until: at(300)}},
		{"and refreshed ahead in its second", short, 150, Need{}, Decision{Verb: Serve, Until: at(300), Ahead: true, Kind: First}},
		{"shortly before expiry it is refreshed ahead", fresh, 3301, Need{}, Decision{Verb: Serve, Until: at(3600), Ahead: true, Kind: First}},
		{"not earlier", fresh, 3299, Need{}, Decision{Verb: Serve, Until: at(3600)}},
		{"at expiry it is refreshed first", fresh, 3600, Need{}, Decision{Verb: Refresh, Kind: First}},
		{"a minimum life forces a refresh only inside the grace", fresh, 3100, Need{MinTTL: 10 * time.Minute}, Decision{Verb: Refresh, Kind: First}},
		{"an operator's force refreshes a fresh token", fresh, 10, Need{Force: true}, Decision{Verb: Refresh, Kind: First}},
		{"a rejected token is refreshed", rejected, 11, Need{}, Decision{Verb: Refresh, Kind: First}},
		{"a generation seen rejected by a caller alone is not", fresh, 11, Need{IfNotGeneration: 1}, Decision{Verb: Serve, Until: at(3600)}},
		{"but its running attempt is waited for", runningEarly, 101, Need{IfNotGeneration: 1}, Decision{Verb: Wait, Until: at(160)}},
		{"a suspected family still serves", suspected, 10, Need{}, Decision{Verb: Serve, Until: at(3600)}},
		{"a running attempt is waited for", running, 3601, Need{}, Decision{Verb: Wait, Until: at(3660)}},
		{"even by an operator", running, 3601, Need{Force: true}, Decision{Verb: Wait, Until: at(3660)}},
		{"a running attempt cuts the old token to the access grace", runningEarly, 101, Need{}, Decision{Verb: Serve, Until: at(700)}},
		{"an ended lease is in doubt and repeated", running, 3660, Need{}, Decision{Verb: Refresh, Kind: Repeat}},
		{"a doubt is held back at first", doubtful, 3602, Need{}, Decision{Verb: Hold, Until: at(3601).Add(jittered(2*time.Second, "a"))}},
		{"then repeated", doubtful, 3604, Need{}, Decision{Verb: Refresh, Kind: Repeat}},
		{"as long as it reaches the provider inside the leeway", doubtful, 3600 + 564, Need{}, Decision{Verb: Refresh, Kind: Repeat}},
		{"and not a second longer", doubtful, 3600 + 565, Need{}, Decision{Verb: Hold, Until: at(3600 + 565 + 2)}},
		{"then once more if allowed", doubtful, 3600 + 565, Need{LastTryAllowed: true}, Decision{Verb: Refresh, Kind: LastTry}},
		{"or forced", doubtful, 3600 + 565, Need{Force: true}, Decision{Verb: Refresh, Kind: LastTry}},
		{"a last try in doubt has a leeway of its own", lastTried, 4300, Need{}, Decision{Verb: Refresh, Kind: Repeat}},
		{"and then a person decides", lastTried, 4200 + 565, Need{LastTryAllowed: true}, Decision{Verb: Deny, Deny: DenyInDoubt}},
		{"revoked", revoked, 10, Need{}, Decision{Verb: Deny, Deny: DenyRevoked}},
		{"revoked, forced", revoked, 10, Need{Force: true}, Decision{Verb: Deny, Deny: DenyRevoked}},
		{"a quarantined family serves what is valid", quarantined, 10, Need{}, Decision{Verb: Serve, Until: at(3600)}},
		{"and never refreshes", quarantined, 3600, Need{}, Decision{Verb: Deny, Deny: DenyQuarantined}},
		{"not even by force", quarantined, 10, Need{Force: true}, Decision{Verb: Deny, Deny: DenyQuarantined}},
		{"lapsed", lapsed, 5001, Need{}, Decision{Verb: Deny, Deny: DenyLapsed}},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := Plan(row.state, timing(), at(row.second), row.need); got != row.want {
				t.Fatalf("got %+v, want %+v", got, row.want)
			}
		})
	}
}

func TestWithoutLeewayADoubtBecomesWhatTheRuleSays(t *testing.T) {
	for _, row := range []struct {
		rule InDoubtRule
		need Need
		want Decision
	}{
		{InDoubtLapse, Need{}, Decision{Verb: Expire}},
		{InDoubtLastTry, Need{LastTryAllowed: true}, Decision{Verb: Refresh, Kind: LastTry}},
		{InDoubtLastTry, Need{}, Decision{Verb: Hold, Until: at(3605 + 2)}},
	} {
		tm := strictTiming(row.rule)
		s, sp := begun(t, started(), tm, 3600, "a", Need{})
		s, _ = Settle(s, tm, at(3601), sp, inDoubt)
		if got := Plan(s, tm, at(3605), row.need); got != row.want {
			t.Errorf("%s: got %+v, want %+v", row.rule, got, row.want)
		}
	}
	tm := strictTiming(InDoubtLapse)
	s, _ := begun(t, started(), tm, 3600, "a", Need{})
	s, events := Lapse(s, tm, at(3700))
	if s.Phase != Lapsed || s.Lapse != LapseLostInDoubt || len(events) != 1 || s.Refresh.Empty() {
		t.Fatalf("got phase %v reason %v events %v: want lapsed, LOST_IN_DOUBT, the token kept", s.Phase, s.Lapse, events)
	}
}

func TestBeginRefusesWhateverPlanDoesNot(t *testing.T) {
	running, _ := begun(t, started(), timing(), 3600, "a", Need{})
	revoked, _ := Revoke(started(), at(1), "")
	for name, s := range map[string]State{"fresh": started(), "running": running, "revoked": revoked} {
		second := 3601
		if name == "fresh" {
			second = 10
		}
		if _, _, _, err := Begin(s, timing(), at(second), "b", Need{}); !errors.Is(err, ErrNotNow) {
			t.Errorf("%s: got %v, want ErrNotNow", name, err)
		}
	}
}

func TestSettleClosesTheAttemptByTheClassOfItsOutcome(t *testing.T) {
	base, sp := begun(t, started(), timing(), 3600, "a", Need{})
	after := func(d time.Duration) time.Time { return at(3602).Add(jittered(d, "a")) }
	for _, row := range []struct {
		name       string
		outcome    Outcome
		generation uint64
		phase      Phase
		doubt      bool
		notBefore  time.Time
		event      EventType
	}{
		{"a pair", success("2"), 2, Active, false, time.Time{}, EventSettled},
		{"nothing written", Outcome{Class: NotSpent, Code: "refused"}, 1, Active, false, after(2 * time.Second), EventNotSpent},
		{"asked to wait", Outcome{Class: Transient, RetryAfter: 90 * time.Second}, 1, Active, false, after(90 * time.Second), EventTransient},
		{"asked to wait for ages", Outcome{Class: Transient, RetryAfter: 900 * time.Hour}, 1, Active, false, at(3602).Add(mostHeld), EventTransient},
		{"the app's fault", Outcome{Class: Misconfigured}, 1, Active, false, time.Time{}, EventMisconfigured},
		{"unknown", inDoubt, 1, Active, true, after(2 * time.Second), EventInDoubt},
		{"unknown, and asked to wait", Outcome{Class: InDoubt, RetryAfter: 40 * time.Second}, 1, Active, true, after(40 * time.Second), EventInDoubt},
		{"no class at all", Outcome{}, 1, Active, true, after(2 * time.Second), EventInDoubt},
		{"a refusal", refused, 1, Suspected, false, after(30 * time.Second), EventRefused},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, events := Settle(base, timing(), at(3602), sp, row.outcome)
			if s.Attempt != nil || s.Generation != row.generation || s.Phase != row.phase || (s.Doubt != nil) != row.doubt || !s.NotBefore.Equal(row.notBefore) {
				t.Errorf("got %+v", s)
			}
			if last := events[len(events)-1]; last.Type != row.event || last.Fence != s.Fence || last.AttemptID != "a" {
				t.Errorf("newest event %+v, want %s with fence %d of attempt a", last, row.event, s.Fence)
			}
		})
	}
}

func TestASettledPairTakesEffectWhole(t *testing.T) {
	s, sp := begun(t, started(), timing(), 3600, "a", Need{})
	s = settledWith(s, 3610, sp, success("2"))
	if s.Refresh.Reveal() != "refresh-2" || s.Access.Token.Reveal() != "access-2" || !s.LastExchange.Equal(at(3610)) {
		t.Fatalf("the pair did not take effect: %+v", s)
	}
	if !s.Access.ExpiresAt.Equal(at(3600 + 3600)) {
		t.Fatalf("expiry %v does not count from the announcement", s.Access.ExpiresAt)
	}
	// An answer without a refresh token keeps the old one and is a rotation all the same.
	s, sp = begun(t, s, timing(), 7200, "b", Need{})
	o := success("3")
	o.Pair.Refresh = secret.String{}
	s = settledWith(s, 7201, sp, o)
	if s.Refresh.Reveal() != "refresh-2" || s.Generation != 3 {
		t.Fatalf("refresh token %q, generation %d: want the old one, 3", s.Refresh.Reveal(), s.Generation)
	}
}

func TestLostScopesAreAnEvent(t *testing.T) {
	first := pair("1")
	first.Scopes = []string{"read", "write"}
	s, _ := Start(t0, t0, first)
	s, sp := begun(t, s, timing(), 3600, "a", Need{})
	_, events := Settle(s, timing(), at(3601), sp, success("2"))
	if len(events) != 2 || events[0].Type != EventScopesChanged || !strings.Contains(events[0].Detail, "write") {
		t.Fatalf("got %+v", events)
	}
}

func TestTheLeewayCountsFromTheFirstAnnouncement(t *testing.T) {
	s := started()
	var sp Spend
	for i, second := range []int{3600, 3700, 3800, 4000} {
		s, sp = begun(t, s, timing(), second, "a", Need{})
		if !s.Attempt.FirstAnnounced.Equal(at(3600)) {
			t.Fatalf("repeat %d: first announcement %v", i, s.Attempt.FirstAnnounced)
		}
		s = settledWith(s, second+1, sp, inDoubt)
	}
	if s.Doubt.Repeats != 3 {
		t.Fatalf("%d repeats counted, want 3", s.Doubt.Repeats)
	}
	// A repeat that answers not spent leaves the older doubt standing.
	s, sp = begun(t, s, timing(), 4080, "b", Need{})
	s = settledWith(s, 4081, sp, Outcome{Class: NotSpent})
	if s.Doubt == nil || !s.Doubt.FirstAnnounced.Equal(at(3600)) {
		t.Fatal("a repeat that was not sent cleared the doubt of the first attempt")
	}
	// The guard of a late repeat ends with the leeway, not with the lease.
	_, sp = begun(t, s, timing(), 3600+564, "c", Need{})
	if want := at(3600 + 600 - 35); !sp.SendBefore.Equal(want) {
		t.Fatalf("guard %v, want %v", sp.SendBefore, want)
	}
}

func TestALastTryThatWasNotSentDoesNotCount(t *testing.T) {
	s, sp := begun(t, started(), timing(), 3600, "a", Need{})
	s = settledWith(s, 3601, sp, inDoubt)
	s, sp = begun(t, s, timing(), 5000, "b", Need{LastTryAllowed: true})
	s = settledWith(s, 5001, sp, Outcome{Class: NotSpent})
	if d := Plan(s, timing(), at(5010), Need{LastTryAllowed: true}); d.Kind != LastTry {
		t.Fatalf("got %+v: the last try is still to be made", d)
	}
	s, sp = begun(t, s, timing(), 5010, "c", Need{LastTryAllowed: true})
	s = settledWith(s, 5011, sp, refused)
	if s.Phase != Lapsed || s.Lapse != LapseLostInDoubt {
		t.Fatalf("phase %v, reason %q: want lapsed, LOST_IN_DOUBT", s.Phase, s.Lapse)
	}
}

func TestARefusalIsConfirmedAfterADelay(t *testing.T) {
	s, sp := begun(t, started(), timing(), 3600, "a", Need{})
	s = settledWith(s, 3601, sp, refused)
	// An operator may ask again at once, but that is no verdict yet.
	s, sp = begun(t, s, timing(), 3605, "b", Need{Force: true})
	s = settledWith(s, 3606, sp, refused)
	if s.Phase != Suspected {
		t.Fatalf("phase %v after two refusals in 5 s, want suspected", s.Phase)
	}
	recovered, sp := begun(t, s, timing(), 3690, "c", Need{})
	if back := settledWith(recovered, 3691, sp, success("2")); back.Phase != Active || back.Suspicion != nil {
		t.Fatalf("a pair does not clear the suspicion: %+v", back)
	}
	s = settledWith(recovered, 3691, sp, refused)
	if s.Phase != Lapsed || s.Lapse != LapseRefused || s.Refresh.Reveal() != "refresh-1" {
		t.Fatalf("phase %v, reason %q, token kept %v", s.Phase, s.Lapse, !s.Refresh.Empty())
	}
}

func TestRevocationLetsTheAttemptInFlightSettle(t *testing.T) {
	s, sp := begun(t, started(), timing(), 3600, "a", Need{})
	s, events := Revoke(s, at(3601), "by op")
	if s.Phase != Revoked || len(events) != 1 {
		t.Fatalf("got %+v", s)
	}
	s = settledWith(s, 3602, sp, success("2"))
	if s.Phase != Revoked || s.Refresh.Reveal() != "refresh-2" {
		t.Fatalf("phase %v: want revoked, holding the newest token", s.Phase)
	}
	if again, events := Revoke(s, at(3603), "by op"); len(events) != 0 || again.EndedAt != s.EndedAt {
		t.Fatal("a second revocation is not a change")
	}
	refusedLater, sp := begun(t, started(), timing(), 3600, "a", Need{})
	refusedLater, _ = Revoke(refusedLater, at(3601), "by op")
	if s := settledWith(refusedLater, 3602, sp, refused); s.Phase != Revoked {
		t.Fatalf("phase %v after a refusal, want revoked", s.Phase)
	}
}

func TestTransitionsDoNotChangeTheirArgument(t *testing.T) {
	s, sp := begun(t, started(), timing(), 3600, "a", Need{})
	s = settledWith(s, 3601, sp, inDoubt)
	doubt := *s.Doubt
	if _, _, _, err := Begin(s, timing(), at(3610), "b", Need{}); err != nil {
		t.Fatal(err)
	}
	if *s.Doubt != doubt || s.Attempt != nil {
		t.Fatal("Begin changed the state that it was given")
	}
}

func TestDue(t *testing.T) {
	fresh := started()
	running, sp := begun(t, fresh, timing(), 3600, "a", Need{})
	revoked, _ := Revoke(fresh, at(1), "")
	for name, row := range map[string]struct {
		state State
		want  time.Time
	}{
		"a running attempt when its lease ends": {running, at(3660)},
		"a doubt when it may be repeated":       {settledWith(running, 3601, sp, inDoubt), at(3601).Add(jittered(2*time.Second, "a"))},
		"a suspicion when it may be confirmed":  {settledWith(running, 3601, sp, refused), at(3601).Add(jittered(30*time.Second, "a"))},
		"an ended family never":                 {revoked, time.Time{}},
	} {
		if got := row.state.AttemptDue(timing(), "grant"); !got.Equal(row.want) {
			t.Errorf("%s: got %v, want %v", name, got, row.want)
		}
	}
}

func TestTimingReportsAllThatIsWrong(t *testing.T) {
	if err := timing().Validate(); err != nil {
		t.Fatal(err)
	}
	bad := Timing{Leeway: time.Minute, Lease: 30 * time.Second, HTTPTimeout: 31 * time.Second, RefreshAhead: time.Minute, InDoubt: "maybe", ClockMargin: -1}
	err := bad.Validate()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"clock margin", "lease 30s must exceed", "confirm delay", "refresh ahead", "exceeds the provider's leeway 1m0s", `in-doubt rule "maybe"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing from: %v", want, err)
		}
	}
	if err := strictTiming("").Validate(); err == nil || !strings.Contains(err.Error(), "say what an in-doubt attempt becomes") {
		t.Errorf("no leeway and no rule: %v", err)
	}
	exact := timing()
	exact.Leeway = 3*(exact.Lease+exact.HTTPTimeout) + exact.ClockMargin
	if err := exact.Validate(); err != nil {
		t.Errorf("the bound itself is allowed: %v", err)
	}
}

func TestALatePairOlderThanWhatIsSettledIsDropped(t *testing.T) {
	s, slow := begun(t, started(), timing(), 3600, "slow", Need{})
	s, sp := begun(t, s, timing(), 3660, "b", Need{})
	s = settledWith(s, 3661, sp, success("2"))
	s, sp = begun(t, s, timing(), 7300, "c", Need{})
	s = settledWith(s, 7301, sp, success("3"))
	s, events := Settle(s, timing(), at(7302), slow, success("2-slow"))
	if len(s.Alternates) != 0 || len(events) != 0 {
		t.Fatalf("a successor of generation 2 was kept beside generation %d", s.Generation)
	}
}
