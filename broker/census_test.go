package broker_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/family"
)

func TestTheCensusSaysHowTheFamiliesOfEachAppFare(t *testing.T) {
	w := newWorld(t)
	start := w.clock.Now()
	w.consent(jira)
	w.clock.Advance(24 * time.Hour)
	w.consent(wiki)
	w.loseAnswer()
	if _, err := w.ForceRefresh(ctx, op, "", jira); broker.ReasonOf(err) != broker.ReasonProviderUnavailable {
		t.Fatalf("got %v, want a lost answer", err)
	}
	if _, err := w.Revoke(ctx, op, "", wiki, "left the team"); err != nil {
		t.Fatal(err)
	}
	day := 24 * time.Hour
	got, err := w.Count(ctx)
	want := map[string]broker.AppCensus{
		"jira": {Phases: map[family.Phase]int{family.Active: 1}, InDoubt: 1,
			NextIdle: start.Add(90 * day), NextAbsolute: start.Add(365 * day)},
		"confluence": {Phases: map[family.Phase]int{family.Revoked: 1}},
	}
	if diff := cmp.Diff(want, got.Apps, cmpopts.EquateApproxTime(time.Minute)); err != nil || diff != "" {
		t.Fatalf("%v %s", err, diff)
	}
	w.clock.Advance(335 * day)
	if got, err = w.Count(ctx); err != nil || got.Apps["jira"].EndingSoon != 1 {
		t.Fatalf("%d end within 30 days (%v), want 1", got.Apps["jira"].EndingSoon, err)
	}
}

// TestCountingLeavesTheCoresToTheCallers: it works a twentieth of the time, and a
// fifth when it is the first one.
func TestCountingLeavesTheCoresToTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const page = 10 * time.Millisecond // and there are three
		b := newBubble(t, 250, broker.Load{}, listsFor(page))
		defer b.stop()
		for _, row := range []struct {
			what     string
			from, to time.Duration // of its end, since the end of the last one
		}{
			{"first", (3 + 2*4) * page, (4 + 2*4) * page},
			{"second", time.Minute + (2*20-2*4)*page, time.Minute + (2*20-2*4+1)*page},
		} {
			last, waited := b.Census().At, time.Duration(0)
			for b.Census().At.Equal(last) && waited < time.Hour {
				pass(page / 10)
				waited += page / 10
			}
			if waited < row.from || waited > row.to {
				t.Errorf("the %s counting ended after %v, want %v to %v", row.what, waited, row.from, row.to)
			}
			if took := b.Census().Took; took != 3*page {
				t.Errorf("the %s counting worked for %v, want %v", row.what, took, 3*page)
			}
		}
	})
}

// listsFor makes each list take so long.
func listsFor(d time.Duration) func(*watched) {
	return func(w *watched) { w.onList(func() { <-time.After(d) }) }
}

// TestAStatusDoesNotWaitForTheFirstCounting, and does not say that there were no families.
func TestAStatusDoesNotWaitForTheFirstCounting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 250, broker.Load{}, listsFor(700*time.Millisecond))
		defer b.stop()
		began := time.Now()
		s, err := b.Status(ctx, op)
		if took := time.Since(began); err != nil || took > 2*time.Second || len(s.Families) != 0 || !strings.Contains(strings.Join(s.Warnings, " "), "still being counted") {
			t.Fatalf("after %v: families %v, warnings %q, error %v", took, s.Families, s.Warnings, err)
		}
		if !s.Ready {
			t.Errorf("not ready: %v", s.Reasons)
		}
		pass(time.Minute)
		if s, err = b.Status(ctx, op); err != nil || s.Families[family.Active] != 250 || len(s.Warnings) != 0 {
			t.Errorf("a minute later: families %v, warnings %q, error %v", s.Families, s.Warnings, err)
		}
	})
}

// TestAStatusSaysOfWhenItsNumbersAre, if the store has become too slow to count anew.
func TestAStatusSaysOfWhenItsNumbersAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 250, broker.Load{})
		defer b.stop()
		s, err := b.Status(ctx, op)
		if err != nil || s.Families[family.Active] != 250 || !s.CountedAt.Equal(s.Now) || len(s.Warnings) != 0 {
			t.Fatalf("families %v, counted at %v, now %v, warnings %q, error %v", s.Families, s.CountedAt, s.Now, s.Warnings, err)
		}
		pass(20 * time.Second)
		listsFor(700 * time.Millisecond)(b.backend)
		began := time.Now()
		s, err = b.Status(ctx, op)
		if took := time.Since(began); err != nil || took > 2*time.Second || s.Families[family.Active] != 250 {
			t.Fatalf("after %v: families %v, error %v", took, s.Families, err)
		}
		if age := s.Now.Sub(s.CountedAt); age < 19*time.Second || age > 21*time.Second {
			t.Errorf("the numbers of 20 s ago are said to be %v old", age)
		}
		if !strings.Contains(strings.Join(s.Warnings, " "), "could not be counted anew") {
			t.Errorf("warnings %q", s.Warnings)
		}
	})
}
