package family

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestTheProviderSeesTwoPostsOfAFamilyInAMinute lets attempts fail in every
// order, each begun as soon as the rules allow it, and looks at the times at
// which something was sent. What was answered by a pair is over; refusals of
// the client are the app's matter.
func TestTheProviderSeesTwoPostsOfAFamilyInAMinute(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tm := timing()
		s, now := started(), at(3600)
		var posts []time.Time
		for i := range 30 {
			d := Plan(s, tm, now, Need{LastTryAllowed: true})
			if d.Verb == Hold {
				now = d.Until
				d = Plan(s, tm, now, Need{LastTryAllowed: true})
			}
			if d.Verb != Refresh {
				break
			}
			next, sp, _, err := Begin(s, tm, now, fmt.Sprint(rapid.Uint32().Draw(t, "id"), i), Need{LastTryAllowed: true})
			if err != nil {
				t.Fatal(err)
			}
			class := rapid.SampledFrom([]Class{NotSpent, InDoubt, Refused, Transient}).Draw(t, "class")
			if class != NotSpent {
				posts = append(posts, now)
			}
			took := time.Duration(rapid.IntRange(0, 30_000).Draw(t, "ms")) * time.Millisecond
			wish := time.Duration(rapid.SampledFrom([]int{0, 0, 20, 500}).Draw(t, "retry after")) * time.Second
			now = now.Add(took)
			s, _ = Settle(next, tm, now, sp, Outcome{Class: class, RetryAfter: wish})
		}
		for i := 2; i < len(posts); i++ {
			if gap := posts[i].Sub(posts[i-2]); gap < time.Minute {
				t.Fatalf("3 POSTs within %v: %v", gap, posts)
			}
		}
	})
}

func TestSeveralRepeatsFitIntoTheLeeway(t *testing.T) {
	for _, row := range []struct {
		name    string
		took    int // seconds that each attempt takes
		outcome Outcome
		least   int // repeats
	}{
		{"answers lost at once", 0, inDoubt, 8},
		{"each one timing out", 30, inDoubt, 5},
		{"asked to come back after the leeway", 1, Outcome{Class: InDoubt, RetryAfter: time.Hour}, 2},
		{"asked to come back after the leeway, by a listed error", 1, Outcome{Class: Transient, RetryAfter: time.Hour}, 2},
	} {
		tm := timing()
		s, sp := begun(t, started(), tm, 3600, "first", Need{})
		now := at(3600 + row.took)
		s, _ = Settle(s, tm, now, sp, inDoubt)
		repeats := 0
		for {
			now = latest(now, s.NotBefore)
			next, sp, _, err := Begin(s, tm, now, fmt.Sprint("repeat", repeats), Need{})
			if err != nil {
				break
			}
			if sp.Kind != Repeat {
				t.Fatalf("%s: began a %v", row.name, sp.Kind)
			}
			repeats++
			now = now.Add(time.Duration(row.took) * time.Second)
			s, _ = Settle(next, tm, now, sp, row.outcome)
		}
		if repeats < row.least {
			t.Errorf("%s: %d repeats, want %d at least", row.name, repeats, row.least)
		}
	}
}

func TestGrantsThatFailedTogetherDoNotComeAgainTogether(t *testing.T) {
	seen := map[time.Time]bool{}
	for i := range 100 {
		s, sp := begun(t, started(), timing(), 3600, fmt.Sprint("attempt", i), Need{})
		s = settledWith(s, 3601, sp, inDoubt)
		if wait := s.NotBefore.Sub(at(3601)); wait < 2*time.Second || wait >= 2500*time.Millisecond {
			t.Fatalf("waits %v", wait)
		}
		seen[s.NotBefore.Truncate(50*time.Millisecond)] = true
	}
	if len(seen) < 8 {
		t.Fatalf("100 grants come again at %d moments of 50 ms", len(seen))
	}
}

func TestIdleFamiliesAreKeptAliveSpreadOverDays(t *testing.T) {
	const day = 24 * time.Hour
	perDay := map[int]int{}
	for i := range 10_000 {
		id := fmt.Sprint("grt_", i)
		due := started().AttemptDue(timing(), id)
		if again := started().AttemptDue(timing(), id); !again.Equal(due) {
			t.Fatal("the same grant has two times")
		}
		after := due.Sub(t0)
		if after < 40*day || after >= 50*day {
			t.Fatalf("due after %v, want 45 days, 5 more or less", after)
		}
		perDay[int(after/day)]++
	}
	if len(perDay) != 10 {
		t.Fatalf("spread over %d days: %v", len(perDay), perDay)
	}
	for day, n := range perDay {
		if n < 800 || n > 1200 {
			t.Errorf("%d of 10,000 are due on day %d", n, day)
		}
	}
	unlimited := timing()
	unlimited.IdleLimit = 0
	if due := started().AttemptDue(unlimited, "grant"); !due.IsZero() {
		t.Errorf("without an idle limit it is due at %v", due)
	}
}

func TestEachRotationHasItsReason(t *testing.T) {
	fresh := started()
	rejected, _, _ := Reject(fresh, at(10), 1)
	doubtful := func() State {
		s, sp := begun(t, fresh, timing(), 3600, "a", Need{})
		return settledWith(s, 3601, sp, inDoubt)
	}()
	suspected := func() State {
		s, sp := begun(t, fresh, timing(), 3600, "a", Need{})
		return settledWith(s, 3601, sp, refused)
	}()
	var seen []Reason
	for _, row := range []struct {
		want   Reason
		state  State
		second int
		need   Need
	}{
		{ReasonDemand, fresh, 3600, Need{}},
		{ReasonAhead, fresh, 3400, Need{}},
		{ReasonKeepAlive, fresh, 3600, Need{KeepAlive: true}},
		{ReasonRejected, rejected, 20, Need{}},
		{ReasonConfirm, suspected, 3700, Need{KeepAlive: true}},
		{ReasonRepeat, doubtful, 3700, Need{KeepAlive: true}},
		{ReasonLastTry, doubtful, 5000, Need{LastTryAllowed: true}},
		{ReasonForced, fresh, 20, Need{Force: true}},
		{ReasonForced, doubtful, 3700, Need{Force: true}},
	} {
		_, sp := begun(t, row.state, timing(), row.second, "b", row.need)
		if sp.Reason != row.want {
			t.Errorf("got %q, want %q", sp.Reason, row.want)
		}
		seen = append(seen, row.want)
	}
	for _, r := range Reasons() {
		if !slices.Contains(seen, r) {
			t.Errorf("no row for %q", r)
		}
	}
}

// TestAGrantThatNobodyDrawsIsNotRotatedAhead: only a draw plans, and what is
// due without one is far away.
func TestAGrantThatNobodyDrawsIsNotRotatedAhead(t *testing.T) {
	s := started()
	if due := s.AttemptDue(timing(), "grant"); due.Before(s.Access.ExpiresAt) {
		t.Fatalf("due at %v, before the token ends", due)
	}
	if d := Plan(s, timing(), at(3400), Need{}); !d.Ahead {
		t.Fatal("a draw shortly before expiry does not rotate ahead")
	}
}
