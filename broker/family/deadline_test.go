package family

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// limited is timing with limits of so many days.
func limited(idle, absolute int) Timing {
	t := timing()
	t.IdleLimit, t.AbsoluteLimit = time.Duration(idle)*day, time.Duration(absolute)*day
	return t
}

func days(n float64) time.Time { return t0.Add(time.Duration(n * float64(day))) }

func TestDeadlinesFollowTheRotationAndTheConsent(t *testing.T) {
	rotated, sp := begun(t, started(), timing(), 3600, "a", Need{})
	rotated, _ = Settle(rotated, timing(), at(3601), sp, success("2"))
	consented, _ := Replace(rotated, days(10), days(10), pair("3"))
	lapsed, _ := Revoke(started(), at(1), "")
	observed := limited(20, 365)
	observed.IdleSource = SourceObserved
	for name, row := range map[string]struct {
		state  State
		timing Timing
		want   string
	}{
		"at first":           {started(), limited(90, 365), fmt.Sprint("idle ", days(90), " documented absolute ", days(365), " documented ")},
		"after a rotation":   {rotated, limited(90, 365), fmt.Sprint("idle ", at(3601).Add(90*day), " documented absolute ", days(365), " documented ")},
		"after a re-consent": {consented, limited(90, 365), fmt.Sprint("idle ", days(100), " documented absolute ", days(375), " documented ")},
		"observed":           {started(), observed, fmt.Sprint("idle ", days(20), " observed absolute ", days(365), " documented ")},
		"of one alone":       {started(), limited(0, 365), fmt.Sprint("absolute ", days(365), " documented ")},
		"ended":              {lapsed, limited(90, 365), ""},
	} {
		got := ""
		for _, d := range row.state.Deadlines(row.timing) {
			got += fmt.Sprint(d.Limit, " ", d.At, " ", d.Source, " ")
		}
		if got != row.want {
			t.Errorf("%s: got %q, want %q", name, got, row.want)
		}
	}
}

func TestDeadlinesAreWarnedOfOncePerStep(t *testing.T) {
	observed := limited(0, 40)
	observed.AbsoluteSource = SourceObserved
	for _, row := range []struct {
		name   string
		timing Timing
		looks  []float64 // days since the consent, in each of which Warn is called
		want   []string  // what it says, with the day of the look
	}{
		{"each step", limited(90, 0), []float64{59.9, 60, 60.5, 76, 82.9, 83, 89, 90, 91},
			[]string{"60 idle 30d documented", "76 idle 14d documented", "83 idle 7d documented", "89 idle 1d documented"}},
		{"both limits", limited(90, 100), []float64{60, 70, 76},
			[]string{"60 idle 30d documented", "70 absolute 30d documented", "76 idle 14d documented"}},
		{"the nearest of several missed", limited(90, 0), []float64{84, 84.1, 89}, []string{"84 idle 7d documented", "89 idle 1d documented"}},
		{"after all of them were missed", limited(0, 365), []float64{364.5, 366}, []string{"364.5 absolute 1d documented"}},
		{"of an observed limit", observed, []float64{1, 10, 26}, []string{"10 absolute 30d observed", "26 absolute 14d observed"}},
		{"a short limit is not near from the first day on", limited(30, 30), []float64{0, 15.9, 16, 20, 23}, []string{
			"16 absolute 14d documented", "23 idle 7d documented", "23 absolute 7d documented"}},
		{"no limit", limited(0, 0), []float64{1, 1000}, nil},
	} {
		s := started()
		var got []string
		for _, d := range row.looks {
			due := !s.NextWarning(row.timing).After(days(d)) && !s.NextWarning(row.timing).IsZero()
			next, events, near := Warn(s, row.timing, days(d))
			if due != (len(events) > 0) || len(near) != len(events) {
				t.Errorf("%s: on day %v a warning is due: %v, and there are %d about %d deadlines", row.name, d, due, len(events), len(near))
			}
			for _, e := range events {
				if e.Type != EventDeadlineNear || e.Fence != s.Fence {
					t.Errorf("%s: event %+v", row.name, e)
				}
				got = append(got, fmt.Sprint(d, " ", e.Detail))
			}
			s = next
		}
		want := row.want
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", row.name, got, want)
		}
	}
}

func TestWarningsBeginAnewWhereTheDeadlineMoved(t *testing.T) {
	tm := limited(90, 100)
	near, _, _ := Warn(started(), tm, days(89))
	if near.WarnedIdle != 1 || near.WarnedAbsolute != 14 {
		t.Fatalf("warned of %d and %d days", near.WarnedIdle, near.WarnedAbsolute)
	}
	s, sp := begun(t, near, tm, int(89*day/time.Second), "a", Need{})
	s, _ = Settle(s, tm, days(89), sp, success("2"))
	if s.WarnedIdle != 0 || s.WarnedAbsolute != 14 {
		t.Errorf("after a rotation: %d and %d", s.WarnedIdle, s.WarnedAbsolute)
	}
	if s, _ = Replace(s, days(90), days(90), pair("3")); s.WarnedIdle != 0 || s.WarnedAbsolute != 0 {
		t.Errorf("after a consent: %d and %d", s.WarnedIdle, s.WarnedAbsolute)
	}
}

func TestAWarningIsDueInEveryPhaseWhoseClockRunsOn(t *testing.T) {
	tm := limited(0, 365)
	quarantined, _ := Quarantine(started(), at(1), "")
	suspected, sp := begun(t, started(), tm, 3600, "a", Need{})
	suspected = settledWith(suspected, 3601, sp, refused)
	suspected.Inquiry = nil
	revoked, _ := Revoke(started(), at(1), "")
	lapsed, _ := lapse(started(), at(1), LapseRefused, nil)
	for name, row := range map[string]struct {
		state State
		want  time.Time
	}{
		"active":      {started(), days(335)},
		"quarantined": {quarantined, days(335)},
		"suspected":   {suspected, suspected.NotBefore}, // first things first
		"revoked":     {revoked, time.Time{}},
		"lapsed":      {lapsed, time.Time{}},
	} {
		if got := row.state.Due(tm, "grant"); !got.Equal(row.want) {
			t.Errorf("%s: due at %v, want %v", name, got, row.want)
		}
	}
	if got := started().Due(limited(90, 30), "grant"); !got.Equal(days(16)) {
		t.Errorf("due at %v, want the warning before the keep-alive", got)
	}
}
