package storage

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Shared returns what several replicas of a broker do with the store that they
// share; false: the store belongs to this process alone.
func (s *Store) Shared() (Shared, bool) {
	shared, ok := s.backend.(Shared)
	return shared, ok
}

// errNotShared is a fault of the caller's, who has not asked Shared.
var errNotShared = errors.New("the store belongs to one process: there is nobody to share work with")

// Claim returns grants that are due within the span and that no other replica is
// at work on, and claims them for hold; see Shared. It reads at most limit
// records. Those that do not open are left out, as in a listing, so that fewer
// than limit need not be all: more is true as long as others may be due.
func (s *Store) Claim(ctx context.Context, due Span, hold time.Duration, limit int) (claimed []Grant, more bool, err error) {
	shared, ok := s.Shared()
	if !ok {
		return nil, false, errNotShared
	}
	items, err := shared.Claim(ctx, due, hold, limit)
	if err != nil {
		return nil, false, fmt.Errorf("claiming grants that are due: %w", err)
	}
	for _, it := range items {
		if g, ok := s.match(it, &Filter{}); ok {
			claimed = append(claimed, g)
		}
	}
	return claimed, len(items) == limit, nil
}

// Followed counts how often a database that failed over was followed to another
// history since the store was opened. What was read before may have been lost, and
// its version may have come again with another content.
func (s *Store) Followed() uint64 {
	if s.failover == nil {
		return 0
	}
	return s.failover.followed.Load()
}
