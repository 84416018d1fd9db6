package family

import (
	"time"

	"github.com/holdfast-io/holdfast/secret"
)

// Start begins the first family of a grant with the pair of a consent whose
// exchange was announced at announced.
func Start(announced, now time.Time, p Pair) (State, []Event) {
	return Replace(State{}, announced, now, p)
}

// Replace begins a new family in place of the old one. Generation and fence go
// on, so that an attempt of the old family that is still in flight can neither
// settle into the new one nor be kept as its alternate.
func Replace(old State, announced, now time.Time, p Pair) (State, []Event) {
	s := State{
		Phase:         Active,
		Generation:    old.Generation + 1,
		FamilyFirst:   old.Generation + 1,
		FamilyStarted: announced,
		LastExchange:  now,
		Refresh:       p.Refresh,
		Access:        accessOf(announced, p),
		Fence:         old.Fence + 1,
	}
	s.Former = old.Former
	s = s.remembering(old, now, time.Time{}) // the old family's tokens live on
	return s, []Event{s.event(EventConsented, now, "")}
}

// Revoke ends the family by an operator's hand. An attempt in flight stays
// announced, so that its newest token settles into the revoked record, from
// where it can be sent to the provider for revocation.
func Revoke(s State, now time.Time, why string) (State, []Event) {
	if s.Phase == Revoked {
		return s, nil
	}
	s.Phase, s.EndedAt, s.Inquiry = Revoked, now, nil
	return s, []Event{s.event(EventRevoked, now, why)}
}

// Quarantine stops all spending of a family that may be a copy.
func Quarantine(s State, now time.Time, why string) (State, []Event) {
	if s.Phase == Revoked || s.Phase == Lapsed || s.Phase == Quarantined {
		return s, nil
	}
	s.Phase, s.Inquiry = Quarantined, nil // of a copy, another store's spend is no stranger's
	return s, []Event{s.event(EventQuarantined, now, why)}
}

// Adopt ends a quarantine: an operator says that this store is the surviving
// one. The family goes on where it stood, with its open questions: an attempt or
// a doubt keeps its first announcement, a suspicion keeps its refusals.
func Adopt(s State, now time.Time, why string) (State, []Event) {
	if s.Phase != Quarantined {
		return s, nil
	}
	s.Phase = Active
	if s.Suspicion != nil {
		s.Phase = Suspected
	}
	return s, []Event{s.event(EventAdopted, now, why)}
}

// Scrub removes every token of the family: an operator says that this store is a
// copy, and what it holds is somebody else's to spend. The scopes stay, for the
// next consent. A revoked family is left as it is, and so is a scrubbed one.
func Scrub(s State, now time.Time, why string) (State, []Event) {
	if s.Phase == Revoked || s.Scrubbed() {
		return s, nil
	}
	before := s
	scrubbed := s.event(EventScrubbed, now, why)
	s.Refresh, s.Alternates, s.Reserves = secret.String{}, nil, nil
	s.Access = Access{Scopes: s.Access.Scopes}
	s.Attempt, s.Doubt, s.Suspicion, s.Inquiry = nil, nil, nil, nil
	s.Phase, s.Lapse, s.EndedAt = Lapsed, LapseScrubbed, now
	s.NotBefore, s.Failures = time.Time{}, 0
	return s.remembering(before, now, time.Time{}), []Event{scrubbed}
}

// Scrubbed reports that Scrub removed the family's tokens.
func (s State) Scrubbed() bool { return s.Lapse == LapseScrubbed }

// Reject records that the broker itself saw the provider refuse the access
// token of that generation. False: the generation is not the current one, or known.
func Reject(s State, now time.Time, generation uint64) (State, []Event, bool) {
	if generation != s.Generation || s.Access.Rejected {
		return s, nil, false
	}
	s.Access.Rejected = true
	return s, []Event{s.event(EventRejected, now, "")}, true
}

// Abandon closes an attempt whose owner is known to be gone, before its lease
// ends: the token may have been sent, so it is in doubt and due at once.
func Abandon(s State, now time.Time) (State, []Event) {
	if s.Attempt == nil {
		return s, nil
	}
	sp := Spend{AttemptID: s.Attempt.ID}
	s = s.doubted()
	s.NotBefore = now
	return s, []Event{s.eventOf(sp, EventInDoubt, now, "owner_gone")}
}

// Lapse ends an in-doubt family when Plan says so.
func Lapse(s State, t Timing, now time.Time) (State, []Event) {
	before := s
	s = Normalize(s, t, now)
	s = s.remembering(before, now, s.cutBy(before, t, now))
	return lapse(s, now, LapseLostInDoubt, nil)
}

// AskAgain re-opens a family that lapsed because the provider refused it, so
// that the provider is asked once more: by an operator who has reason to think
// that it was refused for another cause. A refusal lets it lapse again, confirmed
// as ever. Without events: it is not such a family, and nothing changed.
func AskAgain(s State, now time.Time, why string) (State, []Event) {
	if s.Phase != Lapsed || s.Lapse != LapseRefused || s.Attempt != nil {
		return s, nil
	}
	s.Phase, s.Lapse, s.EndedAt = Suspected, LapseNone, time.Time{}
	s.Suspicion = &Suspicion{Last: now, AskedAgain: true}
	s.NotBefore, s.Failures = time.Time{}, 0
	return s, []Event{s.event(EventAskedAgain, now, why)}
}
