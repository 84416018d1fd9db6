package family

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-io/holdfast/secret"
)

// ErrNotNow is returned by Begin when Plan does not say Refresh.
var ErrNotNow = errors.New("no attempt may be begun now")

// Spend is one announced sending of a refresh token. It may be sent only once
// the state that Begin returned is durable.
type Spend struct {
	AttemptID   string
	Fence       uint64
	Generation  uint64
	FamilyFirst uint64
	Kind        AttemptKind
	Reason      Reason
	Announced   time.Time
	Token       secret.String
	// SendBefore is the guard: from then on the lease, or the leeway, could end
	// before the provider has the token. Nothing may be written any more.
	SendBefore time.Time
	// alternate: the token came late from an attempt whose outcome was lost.
	alternate bool
}

// Begin announces an attempt. Store the returned state before sending
// Spend.Token; if that fails, send nothing.
func Begin(s State, t Timing, now time.Time, id string, n Need) (State, Spend, []Event, error) {
	d := Plan(s, t, now, n)
	if d.Verb != Refresh && !(d.Verb == Serve && d.Ahead) {
		return s, Spend{}, nil, ErrNotNow
	}
	before := s
	s = Normalize(s, t, now)
	s = s.remembering(before, now, s.cutBy(before, t, now))
	var events []Event
	if before.Attempt != nil {
		events = append(events, before.event(EventInDoubt, now, "lease_ended"))
	}
	if len(s.Alternates) < len(before.Alternates) {
		events = append(events, s.event(EventAlternatePromoted, now, ""))
	}
	first := now
	if s.Doubt != nil {
		doubt := *s.Doubt
		first = doubt.FirstAnnounced
		switch d.Kind {
		case Repeat:
			doubt.Repeats++
		case LastTry:
			doubt.LastTry = now
		}
		s.Doubt = &doubt
	}
	s.Fence++
	s.Attempt = &Attempt{
		ID: id, Fence: s.Fence, Generation: s.Generation, Kind: d.Kind,
		FirstAnnounced: first, Announced: now, LeaseUntil: now.Add(t.Lease),
	}
	sp := Spend{
		AttemptID: id, Fence: s.Fence, Generation: s.Generation, FamilyFirst: s.FamilyFirst, Kind: d.Kind, Reason: s.reason(d, n),
		Announced: now, Token: s.Refresh, SendBefore: now.Add(t.Lease - t.HTTPTimeout - t.ClockMargin),
	}
	sp.alternate = len(s.Alternates) < len(before.Alternates)
	if d.Kind == Repeat {
		if end := s.leewayEnd(t).Add(-t.HTTPTimeout - t.ClockMargin); end.Before(sp.SendBefore) {
			sp.SendBefore = end
		}
	}
	return s, sp, append(events, s.event(EventAnnounced, now, d.Kind.String())), nil
}

// Settle records the outcome of a spend. A spend whose fence has been overtaken
// changes nothing but that a late successor is kept as an alternate.
func Settle(s State, t Timing, now time.Time, sp Spend, o Outcome) (State, []Event) {
	next, events := settle(s, t, now, sp, o)
	return next.remembering(s, now, next.cutBy(s, t, now)), events
}

func settle(s State, t Timing, now time.Time, sp Spend, o Outcome) (State, []Event) {
	if o.Pair.Refresh.Equal(sp.Token) { // the provider did not rotate: the old token stays
		o.Pair.Refresh = secret.String{}
	}
	if a := s.Attempt; a == nil || a.Fence != sp.Fence || a.ID != sp.AttemptID {
		return settleLate(s, now, sp, o)
	}
	switch o.Class {
	case Settled:
		return settlePair(s, now, sp, o)
	case NotSpent:
		s = s.unspent(sp)
		s.Failures++
		s.NotBefore = now.Add(jittered(backoff(s.Failures, false), sp.AttemptID))
		return s, []Event{s.eventOf(sp, EventNotSpent, now, o.Code)}
	case Transient:
		s = s.unspent(sp)
		s.Failures++
		s.NotBefore = s.notBefore(t, now, sp, o.RetryAfter)
		return s, []Event{s.eventOf(sp, EventTransient, now, o.Code)}
	case Misconfigured:
		// The app's fault and cured there: the family is not held back.
		s = s.unspent(sp)
		if o.RetryAfter > 0 { // unless the caller says that it is this grant's alone
			s.NotBefore = now.Add(min(o.RetryAfter, mostHeld))
		}
		return s, []Event{s.eventOf(sp, EventMisconfigured, now, o.Code)}
	case Refused:
		return settleRefusal(s, t, now, sp, o)
	default:
		s = s.doubted()
		s.Failures++
		s.NotBefore = s.notBefore(t, now, sp, o.RetryAfter)
		return s, []Event{s.eventOf(sp, EventInDoubt, now, o.Code)}
	}
}

// notBefore holds the next attempt back after one that the provider has seen, as
// long as the provider wishes. But a doubt that only repeats can cure keeps the
// time for one: waiting it out to the end of the leeway would lose the family.
func (s State) notBefore(t Timing, now time.Time, sp Spend, wish time.Duration) time.Time {
	least := now.Add(jittered(backoff(s.Failures, true), sp.AttemptID))
	wanted := latest(least, now.Add(min(jittered(wish, sp.AttemptID), mostHeld)))
	if until, ok := s.RepeatUntil(t); ok && wanted.After(until.Add(-mostPause)) {
		return latest(least, until.Add(-mostPause))
	}
	return wanted
}

// unspent closes the attempt: this sending spent nothing. An earlier doubt stays.
func (s State) unspent(sp Spend) State {
	s.Attempt = nil
	if sp.Kind == LastTry && s.Doubt != nil {
		doubt := *s.Doubt
		doubt.LastTry = time.Time{}
		s.Doubt = &doubt
	}
	return s
}

func settlePair(s State, now time.Time, sp Spend, o Outcome) (State, []Event) {
	var events []Event
	if len(o.Pair.Scopes) == 0 { // absent: unchanged (RFC 6749, sections 5.1 and 6)
		o.Pair.Scopes = s.Access.Scopes
	}
	if lost := missing(s.Access.Scopes, o.Pair.Scopes); len(lost) > 0 {
		events = append(events, s.eventOf(sp, EventScopesChanged, now, fmt.Sprint("lost ", lost)))
	}
	s.Generation++
	if !o.Pair.Refresh.Empty() {
		s.Refresh = o.Pair.Refresh
	}
	s.Access = accessOf(sp.Announced, o.Pair)
	s.LastExchange, s.WarnedIdle = now, 0
	s.Attempt, s.Doubt, s.Suspicion, s.Inquiry = nil, nil, nil, nil
	s.NotBefore, s.Failures = time.Time{}, 0
	if s.Phase == Suspected {
		s.Phase = Active
	}
	s.Reserves = nil
	s = s.withoutOlder()
	return s, append(events, s.eventOf(sp, EventSettled, now, sp.Kind.String()))
}

// withoutOlder drops the alternates that are older than what is settled.
func (s State) withoutOlder() State {
	s.Alternates = slices.DeleteFunc(slices.Clone(s.Alternates), func(a Alternate) bool { return a.Generation < s.Generation })
	return s
}

// mostKept of the alternates, and of the reserves.
const mostKept = 2

// settleLate keeps a successor that lost its lease: it may be the only live
// token of the family. It must be of the same family and not older than what is
// settled. Siblings stand before successors, and what came earlier before what
// came later: the last one is the best.
func settleLate(s State, now time.Time, sp Spend, o Outcome) (State, []Event) {
	generation := sp.Generation + 1
	if o.Class != Settled || o.Pair.Refresh.Empty() || sp.FamilyFirst != s.FamilyFirst || generation < s.Generation || s.Scrubbed() {
		return s, nil
	}
	if len(o.Pair.Scopes) == 0 {
		o.Pair.Scopes = s.Access.Scopes
	}
	kept := append(slices.Clone(s.Alternates), Alternate{
		Generation: generation, Refresh: o.Pair.Refresh, Access: accessOf(sp.Announced, o.Pair), At: now,
	})
	slices.SortStableFunc(kept, func(a, b Alternate) int { return cmp.Compare(a.Generation, b.Generation) })
	s.Alternates = kept[max(0, len(kept)-mostKept):]
	return s, []Event{s.eventOf(sp, EventAlternateKept, now, "")}
}

func lapse(s State, now time.Time, reason LapseReason, events []Event) (State, []Event) {
	s.Phase, s.Lapse, s.EndedAt = Lapsed, reason, now
	s.Attempt = nil
	s.NotBefore = time.Time{}
	return s, append(events, s.event(EventLapsed, now, string(reason)))
}

// accessOf counts the life from the announcement: the provider cannot have
// issued the token earlier, so the expiry errs on the early side.
func accessOf(announced time.Time, p Pair) Access {
	return Access{Token: p.Access, ExpiresAt: announced.Add(p.ExpiresIn), Scopes: p.Scopes}
}

// missing returns what of old is not in present.
func missing(old, present []string) []string {
	var lost []string
	for _, o := range old {
		if !slices.Contains(present, o) {
			lost = append(lost, o)
		}
	}
	return lost
}

func (s State) event(typ EventType, now time.Time, detail string) Event {
	e := Event{Type: typ, At: now, Generation: s.Generation, Fence: s.Fence, Detail: detail}
	if s.Attempt != nil {
		e.AttemptID = s.Attempt.ID
	}
	return e
}

// eventOf names the spend's attempt but the grant's fence: the newest journal
// entry carries the fence of the row beside it.
func (s State) eventOf(sp Spend, typ EventType, now time.Time, detail string) Event {
	e := s.event(typ, now, detail)
	e.AttemptID = sp.AttemptID
	return e
}
