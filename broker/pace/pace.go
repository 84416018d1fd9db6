// Package pace owns how often something may happen: a limit of a rate and a
// burst that is one number, and a bounded table of them by name. It knows no
// callers, no grants and no clock: time is a duration since any fixed moment,
// which should come from a monotonic clock, since one that is set back would
// refuse everybody for as long.
package pace

import (
	"sync/atomic"
	"time"
)

// Limit says how often. Make one with NewLimit.
type Limit struct {
	// every is the time that one event takes, depth the time that a burst takes.
	every, depth time.Duration
}

// NewLimit allows perSecond events for ever and burst at once after a pause.
// Both must be at least 1, and perSecond at most a thousand million.
func NewLimit(perSecond, burst int) Limit {
	every := time.Second / time.Duration(perSecond)
	return Limit{every, every * time.Duration(burst)}
}

// Meter is one limit's state: the time at which all events so far would have
// ended, had they come evenly (the generic cell rate algorithm). The zero value
// has seen nothing. It is safe for concurrent use and must not be copied.
type Meter struct {
	ends atomic.Int64
}

// Take counts n events at now and returns 0, or counts nothing and returns how
// long to wait until they are allowed. It takes no lock. More events than the
// burst are never allowed.
func (m *Meter) Take(l Limit, now time.Duration, n int) time.Duration {
	for {
		old := m.ends.Load()
		ends := max(time.Duration(old), now) + l.every*time.Duration(n)
		if over := ends - now - l.depth; over > 0 {
			return over
		}
		if m.ends.CompareAndSwap(old, int64(ends)) {
			return 0
		}
	}
}

// Idle reports whether the meter allows as much as one that has seen nothing.
func (m *Meter) Idle(now time.Duration) bool { return time.Duration(m.ends.Load()) <= now }
