package family

import (
	"errors"
	"fmt"
	"hash/fnv"
	"time"
)

// InDoubtRule says what an in-doubt attempt becomes when it can not be repeated
// inside a leeway.
type InDoubtRule string

const (
	// InDoubtLastTry sends the token once more when the provider is healthy;
	// only a refusal ends the family.
	InDoubtLastTry InDoubtRule = "last_try"
	// InDoubtLapse ends the family at once: for providers whose reuse
	// detection would take other grants along.
	InDoubtLapse InDoubtRule = "lapse"
)

// Timing holds the durations that the rules need. Leeway and AccessGrace are
// different promises of the provider, though both are ten minutes at Atlassian.
type Timing struct {
	// Leeway is how long the provider forgives reuse of a spent refresh token
	// (10 min at Atlassian; 0: never).
	Leeway time.Duration
	// AccessGrace is how long the old access token lives on after a rotation
	// (10 min at Atlassian). It bounds MinTTL and RefreshAhead.
	AccessGrace time.Duration
	// Lease is the exclusive right to attempt. It must exceed HTTPTimeout.
	Lease time.Duration
	// HTTPTimeout bounds one exchange at the token endpoint, connect included.
	HTTPTimeout time.Duration
	// ClockMargin is how far two clocks of the deployment may differ.
	ClockMargin time.Duration
	// RefreshAhead is how long before expiry a used grant is refreshed; at most AccessGrace.
	RefreshAhead time.Duration
	// ConfirmDelay is the least time between the first refusal and the verdict.
	ConfirmDelay time.Duration
	// IdleLimit and AbsoluteLimit end a family at the provider; 0: unknown. The
	// sources say where they are known from; empty: documented.
	IdleLimit, AbsoluteLimit   time.Duration
	IdleSource, AbsoluteSource Source
	// InDoubt must be set if Leeway is 0; the empty value means InDoubtLastTry otherwise.
	InDoubt InDoubtRule
}

// Validate reports everything that is wrong with t, the arithmetic of the
// leeway included: three attempts (the first and two repeats) must fit into it.
func (t Timing) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("timing: "+format, args...)) }
	for _, d := range []struct {
		name string
		v    time.Duration
	}{{"leeway", t.Leeway}, {"access grace", t.AccessGrace}, {"clock margin", t.ClockMargin},
		{"refresh ahead", t.RefreshAhead}, {"idle limit", t.IdleLimit}, {"absolute limit", t.AbsoluteLimit}} {
		if d.v < 0 {
			bad("%s %v is negative", d.name, d.v)
		}
	}
	if t.HTTPTimeout <= 0 {
		bad("HTTP timeout %v must be positive", t.HTTPTimeout)
	}
	if t.Lease <= t.HTTPTimeout+t.ClockMargin {
		bad("lease %v must exceed HTTP timeout + clock margin = %v, otherwise nothing may be sent", t.Lease, t.HTTPTimeout+t.ClockMargin)
	}
	if t.ConfirmDelay <= 0 {
		bad("confirm delay %v must be positive", t.ConfirmDelay)
	}
	if t.RefreshAhead > t.AccessGrace {
		bad("refresh ahead %v exceeds the access grace %v: it would cut handed-out tokens short", t.RefreshAhead, t.AccessGrace)
	}
	if need := 3*(t.Lease+t.HTTPTimeout) + t.ClockMargin; t.Leeway > 0 && need > t.Leeway {
		bad("3 x (lease %v + HTTP timeout %v) + clock margin %v = %v exceeds the provider's leeway %v; shorten lease or timeout",
			t.Lease, t.HTTPTimeout, t.ClockMargin, need, t.Leeway)
	}
	switch t.InDoubt {
	case InDoubtLastTry, InDoubtLapse:
	case "":
		if t.Leeway == 0 {
			bad("the provider has no leeway: say what an in-doubt attempt becomes, %q or %q", InDoubtLastTry, InDoubtLapse)
		}
	default:
		bad("in-doubt rule %q: want %q or %q", t.InDoubt, InDoubtLastTry, InDoubtLapse)
	}
	return errors.Join(errs...)
}

// mostPause is the longest wait between the attempts of one grant, unless the
// provider asks for more.
const mostPause = time.Minute

// backoff between the attempts of one grant after n failures. The provider sees
// at most two of them in any minute: 2 s after the first, as most answers are lost
// to a fault that is over by then, afterwards a minute. Of an attempt that never
// left it sees nothing: 2 s, 8 s, 32 s, then a minute.
func backoff(n int, sent bool) time.Duration {
	d := 2 * time.Second
	for range n - 1 {
		if d *= 4; sent || d >= mostPause {
			return mostPause
		}
	}
	return d
}

// jittered makes d up to a quarter longer, by what the attempt's random id says:
// grants that failed together must not come again together.
func jittered(d time.Duration, id string) time.Duration {
	return d + time.Duration(fraction(id)*float64(d)/4)
}

// fraction of 1 that a seed stands for; seeds are spread evenly.
func fraction(seed string) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(seed)) // a hash takes everything
	x := h.Sum64()
	// FNV alone spreads short seeds badly: these steps, those of MurmurHash3's
	// end, let each bit change all others.
	x = (x ^ x>>33) * 0xff51afd7ed558ccd
	x = (x ^ x>>33) * 0xc4ceb9fe1a85ec53
	return float64((x^x>>33)>>11) / (1 << 53)
}
