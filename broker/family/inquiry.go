package family

import (
	"strings"
	"time"
)

// inquiryEvery is the time between two looks at an access token whose refresh
// token was refused, and how late one may be to count.
const inquiryEvery = time.Minute

// unexplained reports whether a refusal of sp's token has no cause that this
// broker knows: since the last settlement nothing was lost, doubted or refused.
func (s State) unexplained(sp Spend) bool {
	return s.Doubt == nil && s.Suspicion == nil && s.Failures == 0 && sp.Kind == First && !sp.alternate && len(s.Alternates) == 0 && len(s.Reserves) == 0
}

// inquiring opens an inquiry into a refusal that nothing explains. It ends with
// the access token's own life, and soon after the access grace: had somebody
// else spent the refresh token before, the access token is dead by then.
func (s State) inquiring(t Timing, now time.Time) State {
	until := now.Add(t.AccessGrace + t.ClockMargin)
	if end := s.Access.ExpiresAt.Add(-2*inquiryEvery - t.ClockMargin); end.Before(until) {
		until = end
	}
	if s.Access.Token.Empty() || s.Access.Rejected {
		until = now
	}
	s.Inquiry = &Inquiry{RefusedAt: now, Next: now, Until: until}
	return s
}

// Look is what was seen of an access token.
type Look int

const (
	// NotSeen: nobody answered, or nobody was asked.
	NotSeen Look = 0
	// SeenAccepted: the provider used it.
	SeenAccepted Look = 1
	// SeenRejected: the provider refused it with a 401.
	SeenRejected Look = 2
)

// Facts that prune the causes of an unexplained refusal and that a family does
// not know of itself.
type Facts struct {
	// NotRelated: no other grant shares app and account.
	NotRelated bool
}

// WantsLook reports whether the inquiry, if any, wants the access token to be
// shown to the provider now; Inquire takes what was seen.
func (s State) WantsLook(now time.Time) bool {
	i := s.Inquiry
	return i != nil && s.Attempt == nil && !now.Before(i.Next) && now.Before(s.Access.ExpiresAt) && i.Until.After(i.RefusedAt) && i.counts(now)
}

// counts: later looks find a token that may have ended for any reason.
func (i *Inquiry) counts(now time.Time) bool { return !now.After(i.Until.Add(inquiryEvery)) }

// Inquire takes what was seen of the access token at now. The first look records
// the refusal as UNEXPLAINED_REFUSAL, with the causes that the facts leave
// possible. An access token that was accepted after the refusal and is refused
// before its time says that somebody else has used the refresh token.
func Inquire(s State, t Timing, now time.Time, seen Look, f Facts) (State, []Event) {
	if s.Inquiry == nil || s.Attempt != nil || now.Before(s.Inquiry.Next) {
		return s, nil
	}
	i := *s.Inquiry
	var events []Event
	first := i.Next.Equal(i.RefusedAt)
	if first {
		events = append(events, s.event(EventUnexplained, now, strings.Join(s.causes(t, i.RefusedAt, seen, f), " ")))
	}
	switch {
	case !i.counts(now), seen == SeenRejected && !i.Accepted:
		s.Inquiry = nil // it died of itself, or with the family: no sign of anybody
		return s, events
	case seen == SeenRejected:
		s.Inquiry = nil
		return s, append(events, s.event(EventForeignUse, now, "access_token_died_early"))
	}
	i.Accepted = i.Accepted || seen == SeenAccepted
	if !now.Before(i.Until) {
		s.Inquiry = nil
		return s, events
	}
	i.Next = now.Add(inquiryEvery)
	if i.Next.After(i.Until) {
		i.Next = i.Until
	}
	s.Inquiry = &i
	return s, events
}

// The causes that an unexplained refusal can have, as an event's detail lists them.
const (
	CauseRevoked     = "revoked_by_person"
	CauseUninstalled = "app_uninstalled"
	CausePassword    = "password_changed"
	CauseDeactivated = "deactivated"
	CauseIdle        = "idle_limit"
	CauseAbsolute    = "absolute_limit"
	CauseScopes      = "scopes_overridden"
	CauseCap         = "token_cap"
	CauseForeign     = "foreign_use"
)

// causes lists what may have ended the family, in the order of how usual it is.
// An access token that is still accepted rules out the person's own revocation
// and a deactivated account, which take the access token along.
func (s State) causes(t Timing, refused time.Time, seen Look, f Facts) []string {
	near := func(from time.Time, limit time.Duration) bool {
		return limit == 0 || refused.Sub(from) >= limit/15 // it may be much shorter than is documented
	}
	var list []string
	add := func(possible bool, cause string) {
		if possible {
			list = append(list, cause)
		}
	}
	add(seen != SeenAccepted, CauseRevoked)
	add(true, CauseUninstalled)
	add(true, CausePassword)
	add(seen != SeenAccepted, CauseDeactivated)
	add(near(s.LastExchange, t.IdleLimit), CauseIdle)
	add(near(s.FamilyStarted, t.AbsoluteLimit), CauseAbsolute)
	add(!f.NotRelated, CauseScopes)
	add(true, CauseCap)
	add(true, CauseForeign)
	return list
}
