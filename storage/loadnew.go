package storage

import (
	"context"
	"fmt"
)

// LoadNew stores grants that there are none of yet, with their events, as many at
// once as are given: much faster than swaps, for whoever brings a whole store. Nil
// means durable. ErrConflict: one exists already. After an error some may be stored.
func (s *Store) LoadNew(ctx context.Context, list []Update) error {
	l, ok := s.backend.(Loader)
	if !ok {
		return fmt.Errorf("loading grants: a %T takes none in bulk", s.backend)
	}
	defer s.sealing().Add(-1)
	var items []Item
	var entries []Entry
	for _, u := range list {
		what, changes, es, err := s.sealUpdate(u)
		if err != nil {
			return fmt.Errorf("loading %s: %w", what, err)
		}
		for _, c := range changes {
			c.Item.Version = c.Next()
			items = append(items, c.Item)
		}
		entries = append(entries, es...)
	}
	if err := l.Load(ctx, items, entries); err != nil {
		return fmt.Errorf("loading grants: %w", err)
	}
	return nil
}
