package memstore

import (
	"context"
	"slices"
	"time"

	"github.com/holdfast-io/holdfast/storage"
)

// SetClock makes now the clock by which the replicas judge leases; nil: time.Now.
func (s *Store) SetClock(now func() time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = now
}

// now is called with mu held.
func (s *Store) now() time.Time {
	if s.clock != nil {
		return s.clock()
	}
	return time.Now()
}

// Now implements storage.Shared.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now(), s.usable(ctx)
}

// Versions implements storage.Shared.
func (s *Store) Versions(ctx context.Context, keys []storage.Key) ([]storage.Version, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return nil, time.Time{}, err
	}
	out := make([]storage.Version, len(keys))
	for i, k := range keys {
		out[i] = s.live.records[k].Version
	}
	return out, s.now(), nil
}

// Claim implements storage.Shared. A crash forgets all claims.
func (s *Store) Claim(ctx context.Context, due storage.Span, hold time.Duration, limit int) ([]storage.Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	now := s.now()
	var found []storage.Item
	for k, it := range s.live.records {
		if k.Kind == storage.KindGrant && !it.Due.IsZero() && due.Contains(it.Due) && !s.claims[k.ID].After(now) {
			found = append(found, it)
		}
	}
	slices.SortFunc(found, func(a, b storage.Item) int { return a.Due.Compare(b.Due) })
	found = found[:min(len(found), limit)]
	for i := range found {
		found[i] = copied(found[i])
		s.claims[found[i].Key.ID] = now.Add(hold)
	}
	return found, nil
}

// Follow implements storage.Shared. It tells of one's own swaps as well, with
// the store's lock held.
func (s *Store) Follow(ctx context.Context, changed func(storage.Key)) error {
	s.mu.Lock()
	s.follower++
	id := s.follower
	s.followers[id] = changed
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.followers, id)
	return ctx.Err()
}

// DropHints makes Follow tell of nothing any more, as if all notifications were lost.
func (s *Store) DropHints(drop bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = drop
}

// swapped ends the claims of what was changed, and tells those who follow. It is
// called with mu held.
func (s *Store) swapped(changes []storage.Change) {
	for _, c := range changes {
		if c.Check {
			continue
		}
		if c.Item.Key.Kind == storage.KindGrant {
			delete(s.claims, c.Item.Key.ID)
		}
		if s.silent {
			continue
		}
		for _, changed := range s.followers {
			changed(c.Item.Key)
		}
	}
}

var _ storage.Shared = (*Store)(nil)
