package family

import (
	"fmt"
	"time"
)

// Limit names a rule by which the provider ends a family.
type Limit string

const (
	// LimitIdle: so long without an exchange at the token endpoint.
	LimitIdle Limit = "idle"
	// LimitAbsolute: so long after the consent, however it is used.
	LimitAbsolute Limit = "absolute"
)

// Source says where a limit is known from.
type Source string

const (
	// SourceDocumented: the provider's documentation or staff named it. The
	// empty Source of a Timing means the same.
	SourceDocumented Source = "documented"
	// SourceObserved: families of the app died at this age, which is shorter
	// than what is documented.
	SourceObserved Source = "observed"
)

// Deadline is when the provider ends a family.
type Deadline struct {
	Limit  Limit
	At     time.Time
	Source Source
	// length of the limit, and the least days that were warned of; 0: none.
	length time.Duration
	warned int
}

const day = 24 * time.Hour

// warnDays are the days before a deadline at which it is warned of.
var warnDays = [...]int{30, 14, 7, 1}

// Deadlines of the family, the idle one first. None of one that has ended. The
// idle one moves with each settled exchange, the absolute one with a consent only.
func (s State) Deadlines(t Timing) []Deadline {
	var all []Deadline
	if s.Phase == Lapsed || s.Phase == Revoked {
		return nil
	}
	add := func(l Limit, from time.Time, length time.Duration, source Source, warned int) {
		if length <= 0 {
			return
		}
		if source == "" {
			source = SourceDocumented
		}
		all = append(all, Deadline{Limit: l, At: from.Add(length), Source: source, length: length, warned: warned})
	}
	add(LimitIdle, s.LastExchange, t.IdleLimit, t.IdleSource, s.WarnedIdle)
	add(LimitAbsolute, s.FamilyStarted, t.AbsoluteLimit, t.AbsoluteSource, s.WarnedAbsolute)
	return all
}

// nextWarning returns the time of the next warning and its days; false: none is
// left. Steps that were missed count as one: the nearest to the deadline.
func (d Deadline) nextWarning(now time.Time) (time.Time, int, bool) {
	var at time.Time
	days := 0
	for _, n := range warnDays {
		if !d.worth(n) || d.warned != 0 && n >= d.warned {
			continue
		}
		step := d.At.Add(-time.Duration(n) * day)
		if days == 0 || !step.After(now) {
			at, days = step, n
		}
	}
	return at, days, days != 0
}

// worth leaves out the warnings of a short limit that nothing could have
// prevented: the idle ones before keep-alive had its time, around the half of
// the limit, and those at which a family is born.
func (d Deadline) worth(days int) bool {
	before := time.Duration(days) * day
	if d.Limit == LimitIdle {
		return 3*before <= d.length
	}
	return before < d.length
}

// NextWarning is when the next deadline is to be warned of; zero: never.
func (s State) NextWarning(t Timing) time.Time {
	var next time.Time
	for _, d := range s.Deadlines(t) {
		if at, _, ok := d.nextWarning(time.Time{}); ok {
			next = earliest(next, at)
		}
	}
	return next
}

// Warn records which deadlines are near now: an event for each one that has come
// nearer by a step since the last warning, and what the events are about.
func Warn(s State, t Timing, now time.Time) (State, []Event, []Deadline) {
	var events []Event
	var near []Deadline
	for _, d := range s.Deadlines(t) {
		at, days, ok := d.nextWarning(now)
		if !ok || at.After(now) {
			continue
		}
		if d.Limit == LimitIdle {
			s.WarnedIdle = days
		} else {
			s.WarnedAbsolute = days
		}
		events = append(events, s.event(EventDeadlineNear, now, fmt.Sprintf("%s %dd %s", d.Limit, days, d.Source)))
		near = append(near, d)
	}
	return s, events, near
}

// Due is when the grant next wants attention without being asked: an attempt, a
// warning, or a look at its access token; zero: never. Seed is the grant's id.
func (s State) Due(t Timing, seed string) time.Time {
	due := earliest(s.AttemptDue(t, seed), s.NextWarning(t))
	if i := s.Inquiry; i != nil {
		due = earliest(due, i.Next)
	}
	return due
}

// earliest of two times, of which a zero one means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
