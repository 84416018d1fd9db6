package family

import "time"

// mostHeld is the longest that a failure, or the provider's wish, may hold a
// grant back: a typing error in a header must not put a family to sleep.
const mostHeld = time.Hour

// believed replaces times that lie in the future by the earliest that they can
// have been: a clock that ran ahead wrote them. Within the clock margin clocks
// may differ.
func (s State) believed(t Timing, now time.Time) State {
	future := func(at time.Time) bool { return at.After(now.Add(t.ClockMargin)) }
	if future(s.LastExchange) {
		// When the access token came is not known, so neither is when it ends.
		s.Access.ExpiresAt = time.Time{}
	}
	if a := s.Attempt; a != nil && a.LeaseUntil.After(now.Add(t.Lease+t.ClockMargin)) {
		s = s.doubted()
	}
	if d := s.Doubt; d != nil && (future(d.FirstAnnounced) || future(d.LastTry)) {
		doubt := *d
		long := now.Add(-max(t.Leeway, t.AccessGrace))
		if future(doubt.FirstAnnounced) {
			doubt.FirstAnnounced = long
			if s.LastExchange.After(long) && !future(s.LastExchange) {
				doubt.FirstAnnounced = s.LastExchange // which brought the token that is in doubt
			}
		}
		if future(doubt.LastTry) {
			doubt.LastTry = long
		}
		s.Doubt = &doubt
	}
	if s.NotBefore.After(now.Add(mostHeld + t.ClockMargin)) {
		s.NotBefore = now
	}
	return s
}
