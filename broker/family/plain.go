package family

import "time"

// Plain reports whether there is nothing to do for a need but to serve the access
// token as it is: then Plan answers Serve, not Ahead, and Normalize changes nothing.
// It copies nothing, for the hot call; false says only that Plan is to be asked.
func (s *State) Plain(t *Timing, now time.Time, n Need) bool {
	left := s.Access.ExpiresAt.Sub(now)
	return s.Phase == Active && s.Attempt == nil && s.Doubt == nil && !n.Force &&
		!s.LastExchange.After(now) && !s.NotBefore.After(now) && // or a clock ran ahead
		!s.Access.Token.Empty() && !s.Access.Rejected &&
		left > t.RefreshAhead && left >= n.MinTTL
}
