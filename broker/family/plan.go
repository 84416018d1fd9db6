package family

import (
	"slices"
	"time"
)

// Need is what somebody wants from a grant.
type Need struct {
	// MinTTL that the access token must still have. The caller of Plan keeps
	// it at or below Timing.AccessGrace.
	MinTTL time.Duration
	// IfNotGeneration: that generation is of no use to the caller, who waits
	// for a running attempt; it never causes one. 0: none.
	IfNotGeneration uint64
	// Force is an operator's wish to rotate now, whatever the access token has
	// left. It also allows a last try.
	Force bool
	// LastTryAllowed: the provider is healthy and no other live family shares
	// account and client.
	LastTryAllowed bool
	// ClockVouched: the provider's own time has lately agreed with the broker's.
	// Without it no family ends because a leeway seems to be over.
	ClockVouched bool
	// KeepAlive: nobody asked, an idle family is kept alive. Plan decides the
	// same; it is the reason of a rotation that has no other.
	KeepAlive bool
}

// Verb is what to do for a Need.
type Verb int

const (
	// Serve the access token.
	Serve Verb = 1
	// Refresh: begin an attempt.
	Refresh Verb = 2
	// Wait for the running attempt, until Decision.Until at the most.
	Wait Verb = 3
	// Hold: nothing may be sent before Decision.Until; a later call may be served.
	Hold Verb = 4
	// Deny: only a person can change it; Decision.Deny says how.
	Deny Verb = 5
	// Expire: call Lapse and store the result; then plan again.
	Expire Verb = 6
)

// DenyReason says which person can help.
type DenyReason int

const (
	// DenyRevoked: an operator ended the family.
	DenyRevoked DenyReason = 1
	// DenyLapsed: the provider ended it; a consent is required.
	DenyLapsed DenyReason = 2
	// DenyQuarantined: an operator must decide which copy survives.
	DenyQuarantined DenyReason = 3
	// DenyInDoubt: the last try's answer was lost too; a consent, or an operator's Force.
	DenyInDoubt DenyReason = 4
)

// Decision of Plan.
type Decision struct {
	Verb Verb
	// Kind of the attempt, for Refresh and for Ahead.
	Kind AttemptKind
	// Ahead, with Serve: begin an attempt in the background as well.
	Ahead bool
	// Until is the end of the lease for Wait, the next possible attempt for
	// Hold, and for Serve the time at which the access token may die.
	Until time.Time
	Deny  DenyReason
}

// Plan decides what to do for a need, now. It changes nothing.
func Plan(s State, t Timing, now time.Time, n Need) Decision {
	s = Normalize(s, t, now)
	until := s.ServableUntil(t)
	usable := until.After(now) && until.Sub(now) >= s.reachable(n.MinTTL)
	switch {
	case s.Phase == Revoked:
		return Decision{Verb: Deny, Deny: DenyRevoked}
	case s.Phase == Lapsed:
		return Decision{Verb: Deny, Deny: DenyLapsed}
	case s.Phase == Quarantined && usable && !n.Force:
		return Decision{Verb: Serve, Until: until}
	case s.Phase == Quarantined:
		return Decision{Verb: Deny, Deny: DenyQuarantined}
	case s.Attempt != nil && (n.Force || !usable || n.IfNotGeneration == s.Generation):
		return Decision{Verb: Wait, Until: s.Attempt.LeaseUntil}
	}
	next := s.next(t, now, n)
	if usable && !n.Force {
		// A token that a running attempt may cut short is still good until
		// then, and waiting for that attempt is nobody's duty.
		// A doubt is resolved while it can be: the leeway ends, the token's own
		// life says nothing about that.
		ahead := next.Verb == Refresh && (s.Doubt != nil || !now.Before(s.AheadFrom(t.RefreshAhead)))
		d := Decision{Verb: Serve, Until: until, Ahead: ahead}
		if ahead {
			d.Kind = next.Kind
		}
		return d
	}
	return next
}

// next says which attempt may be begun now, if any, for a normalized s.
func (s State) next(t Timing, now time.Time, n Need) Decision {
	if s.Attempt != nil {
		return Decision{Verb: Wait, Until: s.Attempt.LeaseUntil}
	}
	if s.NotBefore.After(now) && !n.Force {
		return Decision{Verb: Hold, Until: s.NotBefore}
	}
	d := s.Doubt
	if d == nil {
		return Decision{Verb: Refresh, Kind: First}
	}
	if s.insideLeeway(t, now) {
		return Decision{Verb: Refresh, Kind: Repeat}
	}
	if t.InDoubt == InDoubtLapse {
		if t.Leeway > 0 && !n.ClockVouched {
			return Decision{Verb: Hold, Until: now.Add(time.Minute)}
		}
		return Decision{Verb: Expire}
	}
	if !d.LastTry.IsZero() && !n.Force {
		return Decision{Verb: Deny, Deny: DenyInDoubt}
	}
	if n.LastTryAllowed || n.Force {
		return Decision{Verb: Refresh, Kind: LastTry}
	}
	return Decision{Verb: Hold, Until: now.Add(backoff(s.Failures, true))}
}

// insideLeeway reports whether a doubtful token may be repeated: it must reach
// the provider before the leeway ends, which counts from the first announcement
// of its generation (or from the last try, which was a gamble on an unspent token).
func (s State) insideLeeway(t Timing, now time.Time) bool {
	if s.Doubt == nil {
		return true
	}
	return now.Add(t.HTTPTimeout + t.ClockMargin).Before(s.leewayEnd(t))
}

func (s State) leewayEnd(t Timing) time.Time {
	from := s.Doubt.FirstAnnounced
	if !s.Doubt.LastTry.IsZero() {
		from = s.Doubt.LastTry
	}
	return from.Add(t.Leeway)
}

// AheadFrom is when a refresh ahead of expiry may begin: that long before it, but
// not in the first half of the token's life. Where the provider's tokens live shorter
// than twice that, each would else be rotated as soon as it was handed out.
func (s *State) AheadFrom(ahead time.Duration) time.Time {
	end := s.Access.ExpiresAt
	return end.Add(-min(ahead, end.Sub(s.LastExchange)/2))
}

// reachable is the least life that a rotation is worth for the sake of minTTL:
// where the provider's tokens live shorter than asked for, rotating at every
// call would not make them longer.
func (s State) reachable(minTTL time.Duration) time.Duration {
	return min(minTTL, s.Access.ExpiresAt.Sub(s.LastExchange)/2)
}

// Normalize turns what only time has changed into its consequence: an attempt
// whose lease ended is in doubt, and a doubt that no repeat can cure any more
// gives way to an alternate.
func Normalize(s State, t Timing, now time.Time) State {
	s = s.believed(t, now)
	if a := s.Attempt; a != nil && !now.Before(a.LeaseUntil) {
		s = s.doubted()
	}
	if s.Attempt == nil && s.Doubt != nil && len(s.Alternates) > 0 && !s.insideLeeway(t, now) {
		s = s.promoted()
	}
	return s
}

// doubted closes the attempt with its outcome unknown.
func (s State) doubted() State {
	if s.Doubt == nil {
		s.Doubt = &Doubt{Generation: s.Attempt.Generation, FirstAnnounced: s.Attempt.FirstAnnounced}
	}
	s.Attempt = nil
	s.Inquiry = nil // the broker's own spend may end the access token now
	return s
}

// promoted puts the newest alternate in the place of the token that failed. If
// that is a successor, all tokens of the generation before are spent. If it is a
// sibling, a token in doubt may still be the one that lives: it is reserved.
func (s State) promoted() State {
	last := len(s.Alternates) - 1
	alt := s.Alternates[last]
	s.Alternates = append([]Alternate(nil), s.Alternates[:last]...)
	switch {
	case alt.Generation > s.Generation:
		s.Generation, s.Reserves = alt.Generation, nil
		s = s.withoutOlder()
	case s.Doubt != nil:
		s.Reserves = append(slices.Clone(s.Reserves), Reserve{Refresh: s.Refresh, Doubt: *s.Doubt})
		s.Reserves = s.Reserves[max(0, len(s.Reserves)-mostKept):]
	}
	s.Refresh, s.Access = alt.Refresh, alt.Access
	s.Attempt, s.Doubt, s.Inquiry = nil, nil, nil
	s.NotBefore = time.Time{}
	return s
}

// ServableUntil is when the access token may die: its expiry, or earlier if an
// announced attempt may have rotated it away. Zero: there is nothing to serve.
func (s State) ServableUntil(t Timing) time.Time {
	if s.Access.Token.Empty() || s.Access.Rejected {
		return time.Time{}
	}
	until := s.Access.ExpiresAt
	if first, open := s.FirstAnnounced(); open {
		if cut := first.Add(t.AccessGrace); cut.Before(until) {
			return cut
		}
	}
	return until
}

// FirstAnnounced is when the current generation's token was first announced to
// be sent; false if it was not, or provably never left.
func (s State) FirstAnnounced() (time.Time, bool) {
	switch {
	case s.Doubt != nil:
		return s.Doubt.FirstAnnounced, true
	case s.Attempt != nil:
		return s.Attempt.FirstAnnounced, true
	}
	return time.Time{}, false
}

// RepeatUntil is until when a repeat of what was announced can be begun, so that
// it reaches the provider inside the leeway; false: nothing is announced, or the
// provider has no leeway.
func (s State) RepeatUntil(t Timing) (time.Time, bool) {
	from, open := s.FirstAnnounced()
	if !open || t.Leeway == 0 {
		return time.Time{}, false
	}
	if s.Doubt != nil && !s.Doubt.LastTry.IsZero() {
		from = s.Doubt.LastTry
	}
	return from.Add(t.Leeway - t.HTTPTimeout - t.ClockMargin), true
}

// AttemptDue is when the next attempt is due without being asked for; zero: never.
// An idle family is kept alive around half of the idle limit: seed, the grant's
// id, says when in a ninth of it (45 days, 5 more or less, at 90), so that
// grants that were consented together are not all due on one day.
func (s State) AttemptDue(t Timing, seed string) time.Time {
	switch {
	case s.Phase != Active && s.Phase != Suspected:
		return time.Time{}
	case s.Attempt != nil:
		return s.Attempt.LeaseUntil
	case s.Doubt != nil:
		return latest(s.NotBefore, s.Doubt.FirstAnnounced)
	case s.Phase == Suspected && s.Suspicion != nil:
		return latest(s.NotBefore, s.Suspicion.Last)
	case len(s.Reserves) > 0: // which of the tokens lives is open, and callers may be gone
		return latest(s.NotBefore, s.Access.ExpiresAt)
	case t.IdleLimit > 0:
		spread := t.IdleLimit / 9
		return latest(s.NotBefore, s.LastExchange.Add(t.IdleLimit/2-spread/2+time.Duration(fraction(seed)*float64(spread))))
	}
	return time.Time{}
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
