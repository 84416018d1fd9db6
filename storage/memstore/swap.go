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
	next.commits++
	fault := None
	if s.fault != nil {
		fault = s.fault(changes)
	}
	if fault == Refused {
		return fmt.Errorf("%w: refused by a fault", storage.ErrUnavailable)
	}
	s.live = next
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
	if c.Delete {
		delete(s.records, k)
		if k.Kind == storage.KindGrant {
			delete(s.journal, k.ID)
		}
		return nil
	}
	it := copied(c.Item)
	it.Version = c.Old + 1
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
