package storage

import (
	"context"
	"time"
)

// Shared is the part of a Backend that several replicas use at once, each
// through a Backend of its own. A Backend that is no Shared belongs to one process.
type Shared interface {
	// Now is the one clock by which the replicas judge leases and leeways.
	Now(ctx context.Context) (time.Time, error)
	// Versions returns the present version of each key, in their order, 0 for
	// what does not exist, all read at one moment after the call began, and what
	// Now said at some moment of the call. Without keys it is Now.
	Versions(ctx context.Context, keys []Key) ([]Version, time.Time, error)
	// Claim returns at most limit grants, in order of Due, that are due within the
	// span and that nobody has claimed, and claims each for hold by Now's clock: so
	// replicas share out the work. Any swap of the grant ends its claim. It is a
	// courtesy, not a lock: what may be spent only a swap decides.
	Claim(ctx context.Context, due Span, hold time.Duration, limit int) ([]Item, error)
	// Follow calls changed with the key of what another replica swapped, as far
	// as it hears of it, until ctx ends. A hint: any may be missed, and after an
	// interruption it goes on by itself. changed must not block. It returns ctx's error.
	Follow(ctx context.Context, changed func(Key)) error
}

// Span of time from From, a zero one has no beginning, to just before Before.
type Span struct{ From, Before time.Time }

// Contains reports whether t lies within the span.
func (s Span) Contains(t time.Time) bool { return !t.Before(s.From) && t.Before(s.Before) }
