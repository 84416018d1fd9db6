package memstore

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/holdfast-io/holdfast/storage"
)

// Swap implements storage.Backend.
func (s *Store) Swap(ctx context.Context, changes []storage.Change, entries []storage.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	next := s.live.clone()
	for _, c := range changes {
		if err := next.change(c); err != nil {
			return err
		}
	}
	next.append(entries)
	return s.commit(next, changes)
}

// commit makes next the state, or what the fault says. It is called with mu held.
func (s *Store) commit(next state, changes []storage.Change) error {
	next.commits++
	fault := None
	if s.fault != nil {
		fault = s.fault(changes)
	}
	if fault == Refused {
		return fmt.Errorf("%w: refused by a fault", storage.ErrUnavailable)
	}
	s.live = next
	s.swapped(changes)
	if fault == None || fault == UnknownKept {
		s.synced = next
	}
	if fault == UnknownKept || fault == UnknownLost {
		s.broken = fault == UnknownLost
		return fmt.Errorf("%w: by a fault", storage.ErrUnknown)
	}
	return nil
}

func (s state) change(c storage.Change) error {
	k := c.Item.Key
	if have := s.records[k].Version; have != c.Old {
		return fmt.Errorf("%w: record %s is at version %d, not %d", storage.ErrConflict, k.ID, have, c.Old)
	}
	if c.Check {
		return nil
	}
	if c.Delete {
		delete(s.records, k)
		if k.Kind == storage.KindGrant {
			delete(s.journal, k.ID)
		}
		return nil
	}
	it := copied(c.Item)
	it.Version = c.Next()
	s.records[k] = it
	return nil
}

func (s state) append(entries []storage.Entry) {
	for _, e := range entries {
		// Copied, since older states share the slice.
		j := slices.Clone(s.journal[e.GrantID])
		e.Seq = 1
		if len(j) > 0 {
			e.Seq = j[len(j)-1].Seq + 1
		}
		e.Sealed = bytes.Clone(e.Sealed)
		j = append(j, e)
		s.journal[e.GrantID] = j[max(0, len(j)-storage.JournalLength):]
	}
}

// Reseal implements storage.Backend. Faults meet it like a swap of no change.
func (s *Store) Reseal(ctx context.Context, list []storage.Reseal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	next := s.live.clone()
	for _, r := range list {
		if !next.reseal(r) {
			return fmt.Errorf("%w: record %s is not what was to be sealed anew", storage.ErrConflict, r.Key.ID)
		}
	}
	return s.commit(next, nil)
}

func (s state) reseal(r storage.Reseal) bool {
	if r.Seq == 0 {
		it, ok := s.records[r.Key]
		if !ok || !bytes.Equal(it.Sealed, r.Was) {
			return false
		}
		it.Sealed = bytes.Clone(r.Now)
		s.records[r.Key] = it
		return true
	}
	j := slices.Clone(s.journal[r.Key.ID]) // older states share the slice
	i := slices.IndexFunc(j, func(e storage.Entry) bool { return e.Seq == r.Seq })
	if i < 0 || !bytes.Equal(j[i].Sealed, r.Was) {
		return false
	}
	j[i].Sealed = bytes.Clone(r.Now)
	s.journal[r.Key.ID] = j
	return true
}

// Load implements storage.Loader.
func (s *Store) Load(ctx context.Context, items []storage.Item, entries []storage.Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	next := s.live.clone()
	for _, it := range items {
		if _, ok := next.records[it.Key]; ok {
			return fmt.Errorf("%w: record %s exists already", storage.ErrConflict, it.Key.ID)
		}
		next.records[it.Key] = copied(it)
	}
	next.append(entries)
	next.commits++
	s.live, s.synced = next, next
	return nil
}

var (
	_ storage.Backend   = (*Store)(nil)
	_ storage.Loader    = (*Store)(nil)
	_ storage.Sequencer = (*Store)(nil)
)
