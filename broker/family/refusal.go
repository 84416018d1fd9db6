package family

import "time"

// settleRefusal suspects before it believes: alternates first, then the same
// question again after a delay.
func settleRefusal(s State, t Timing, now time.Time, sp Spend, o Outcome) (State, []Event) {
	events := []Event{s.eventOf(sp, EventRefused, now, o.Code)}
	if s.Phase != Active && s.Phase != Suspected {
		s.Failures++
		s.Attempt = nil
		return s, events
	}
	o.VerdictHeld = o.VerdictHeld && !s.Suspicion.heldEnough()
	if !o.VerdictHeld && s.unexplained(sp) {
		s = s.inquiring(t, now)
	}
	s.Failures++
	suspicion := s.Suspicion.and(now, o)
	s.Phase, s.Suspicion = Suspected, &suspicion
	if o.VerdictHeld {
		return settleHeld(s, t, now, sp, events)
	}
	doubt := s.Doubt
	tried := doubt != nil && !doubt.LastTry.IsZero()
	s.Attempt = nil
	switch {
	case doubt == nil && s.sibling():
		return settleAmongSiblings(s, t, now, sp, events)
	case len(s.Alternates) > 0:
		if tried { // there is no more to be learned about this token
			s.Doubt = nil
		}
		s = s.promoted()
		return s, append(events, s.event(EventAlternatePromoted, now, ""))
	case tried:
		return s.verdict(t, now, sp, LapseLostInDoubt, events)
	case suspicion.Refusals >= 2 && now.Sub(suspicion.First) >= t.ConfirmDelay:
		reason := LapseRefused
		if doubt != nil {
			reason = LapseLostInDoubt
		}
		return s.verdict(t, now, sp, reason, events)
	}
	s.NotBefore = s.confirmAt(t, now, sp)
	return s, events
}

// confirmAt is when the provider is asked again after a refusal.
func (s State) confirmAt(t Timing, now time.Time, sp Spend) time.Time {
	return now.Add(jittered(max(t.ConfirmDelay, backoff(s.Failures, true)), sp.AttemptID))
}

// verdict believes that the present token is dead, and its siblings with it. That
// ends the family, unless a token in doubt gave way to them: if it was never
// spent it lives, and a last try of it will tell.
func (s State) verdict(t Timing, now time.Time, sp Spend, reason LapseReason, events []Event) (State, []Event) {
	last := len(s.Reserves) - 1
	if last < 0 {
		return lapse(s, now, reason, events)
	}
	back := s.Reserves[last]
	s.Reserves = append([]Reserve(nil), s.Reserves[:last]...)
	s.Refresh, s.Doubt = back.Refresh, &back.Doubt
	s.Alternates, s.Inquiry = nil, nil
	s.NotBefore = s.confirmAt(t, now, sp)
	return s, append(events, s.event(EventAlternatePromoted, now, "in_doubt"))
}

// sibling reports whether the newest alternate is as good as the present token:
// which of the two the provider lets live is unknown.
func (s State) sibling() bool {
	n := len(s.Alternates)
	return n > 0 && s.Alternates[n-1].Generation == s.Generation
}

// settleAmongSiblings lets siblings take turns: one refusal of the present token
// must not cost it, for the others may long be dead. Each is asked once, and after
// the delay each is asked again; only then is there a verdict.
func settleAmongSiblings(s State, t Timing, now time.Time, sp Spend, events []Event) (State, []Event) {
	all := len(s.Alternates) + 1
	roundOver := s.Suspicion.Refusals%all == 0
	if roundOver && s.Suspicion.Refusals > all && now.Sub(s.Suspicion.First) >= t.ConfirmDelay {
		return s.verdict(t, now, sp, LapseRefused, events)
	}
	s = s.setAside(now)
	s.NotBefore = time.Time{}
	if roundOver {
		s.NotBefore = s.confirmAt(t, now, sp)
	}
	return s, append(events, s.event(EventAlternatePromoted, now, ""))
}

// and adds a refusal. One that came while verdicts were held proves nothing, and
// neither do those before it, which may have been the wave's first: both refusals
// of a verdict must come after the hold.
func (s *Suspicion) and(now time.Time, o Outcome) Suspicion {
	var next Suspicion
	if s != nil {
		next = *s
	}
	next.Last, next.Code = now, o.Code
	switch {
	case o.VerdictHeld:
		next.Held++
		next.Refusals, next.First = 0, time.Time{}
	case next.Refusals == 0:
		next.Refusals, next.First = 1, now
		if !s.heldEnough() {
			next.Held = 0
		}
	default:
		next.Refusals++
	}
	return next
}

// mostHeldRefusals in a row take more than a day (see heldDelay).
const mostHeldRefusals = 120

// heldEnough reports that a hold has lasted too long for this family. Where many
// have died at once they hold one another's verdicts for ever by being asked,
// and nobody would tell their people to consent again.
func (s *Suspicion) heldEnough() bool { return s != nil && s.Held >= mostHeldRefusals }

// settleHeld takes a refusal for no more than the wish to be asked later: the
// family stays, with each token that may live. A last try counts as not made.
func settleHeld(s State, t Timing, now time.Time, sp Spend, events []Event) (State, []Event) {
	s = s.unspent(sp)
	s.NotBefore = now.Add(heldDelay(t, s.Suspicion.Held, sp.AttemptID))
	events = append(events, s.eventOf(sp, EventVerdictHeld, now, ""))
	if len(s.Alternates) == 0 {
		return s, events
	}
	switch newest := s.Alternates[len(s.Alternates)-1]; {
	case newest.Generation > s.Generation:
		// The refused token is spent, for this is its successor: the wave says
		// nothing about that, so the successor is asked at once, as ever.
		s = s.promoted()
	case s.Doubt == nil:
		s = s.setAside(now)
	default:
		// In doubt, it gives way to its sibling when its leeway is over.
		return s, events
	}
	return s, append(events, s.event(EventAlternatePromoted, now, ""))
}

// setAside lets the newest alternate have its turn and keeps the refused token,
// its sibling, as the one to be tried last. The time of the next attempt stays.
func (s State) setAside(now time.Time) State {
	next := s.promoted()
	// The access token in use stays: the provider may have cut a sibling's short.
	refused := Alternate{Generation: s.Generation, Refresh: s.Refresh, Access: next.Access, At: now}
	next.Access = s.Access
	next.Alternates = append([]Alternate{refused}, next.Alternates...)
	next.NotBefore = s.NotBefore
	return next
}

// heldDelay is how long a family rests after its nth refusal in a row while
// verdicts are held: ConfirmDelay, doubling up to 12 minutes; jitter makes that a
// quarter of an hour at most.
func heldDelay(t Timing, n int, attempt string) time.Duration {
	most := max(12*time.Minute, t.ConfirmDelay)
	d := t.ConfirmDelay
	for i := 1; i < n && d < most; i++ {
		d = min(2*d, most)
	}
	return jittered(d, attempt)
}
