package family

// Reason is why a token is spent. The words are those of logs and metrics.
type Reason string

// The reasons of a rotation. Of several that hold, the first one counts.
const (
	// ReasonForced: an operator wants it.
	ReasonForced Reason = "forced"
	// ReasonLastTry: the leeway of a doubt is over, and nothing is left to lose.
	ReasonLastTry Reason = "last_try"
	// ReasonRepeat: an attempt is in doubt and can still be repeated.
	ReasonRepeat Reason = "repeat"
	// ReasonConfirm: the provider refused the token, and is asked again; or an
	// alternate took the place of a token in doubt, and one of the two lives.
	ReasonConfirm Reason = "confirm"
	// ReasonRejected: the broker saw the provider refuse the access token.
	ReasonRejected Reason = "rejected"
	// ReasonKeepAlive: nobody asked, an idle family would die.
	ReasonKeepAlive Reason = "keep_alive"
	// ReasonAhead: the access token in use ends soon.
	ReasonAhead Reason = "ahead"
	// ReasonDemand: a caller waits for it.
	ReasonDemand Reason = "demand"
)

// Reasons returns all of them.
func Reasons() []Reason {
	return []Reason{ReasonForced, ReasonLastTry, ReasonRepeat, ReasonConfirm, ReasonRejected, ReasonKeepAlive, ReasonAhead, ReasonDemand}
}

// reason of the attempt that d allows, for a normalized s.
func (s State) reason(d Decision, n Need) Reason {
	switch {
	case n.Force:
		return ReasonForced
	case d.Kind == LastTry:
		return ReasonLastTry
	case d.Kind == Repeat:
		return ReasonRepeat
	case s.Phase == Suspected, len(s.Reserves) > 0:
		return ReasonConfirm
	case s.Access.Rejected:
		return ReasonRejected
	case n.KeepAlive:
		return ReasonKeepAlive
	case d.Ahead:
		return ReasonAhead
	}
	return ReasonDemand
}
