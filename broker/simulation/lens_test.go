package simulation

import (
	"context"
	"slices"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
)

// lens shows a Store the records of one swap instead of those that are kept,
// so that the simulation can open what a broker is about to make durable.
// Guarded by the world's mutex.
type lens struct {
	*memstore.Store
	item    *storage.Item
	entries []storage.Entry // oldest first
}

func (l *lens) Get(ctx context.Context, key storage.Key) (storage.Item, error) {
	if l.item != nil && l.item.Key == key {
		return *l.item, nil
	}
	return l.Store.Get(ctx, key)
}

func (l *lens) Events(ctx context.Context, id string, limit int) ([]storage.Entry, error) {
	if l.item == nil {
		return l.Store.Events(ctx, id, limit)
	}
	newest := slices.Clone(l.entries)
	slices.Reverse(newest)
	return newest[:min(limit, len(newest))], nil
}

// Close leaves the store open for the replicas.
func (l *lens) Close() error { return nil }

// step is what a swap does to a grant.
type step struct {
	grant *grant
	next  storage.Grant
	// events that go with it, oldest first.
	events []family.Event
	item   storage.Item
}

// open reads what the swap is about; nil: about no grant. Called with mu held.
func (w *world) open(changes []storage.Change, entries []storage.Entry) (*step, error) {
	i := slices.IndexFunc(changes, func(c storage.Change) bool { return c.Item.Key.Kind == storage.KindGrant && !c.Delete })
	if i < 0 {
		return nil, nil
	}
	item := changes[i].Item
	item.Version = changes[i].Old + 1
	w.lens.item, w.lens.entries = &item, entries
	defer func() { w.lens.item, w.lens.entries = nil, nil }()
	next, err := w.auditor.Grant(context.Background(), item.Key.ID)
	if err != nil {
		return nil, err
	}
	s := &step{grant: w.byID[item.Key.ID], next: next, item: item}
	if len(entries) > 0 {
		if s.events, err = w.auditor.Events(context.Background(), item.Key.ID, len(entries)); err != nil {
			return nil, err
		}
		slices.Reverse(s.events)
	}
	return s, nil
}

// point of the step: what kind of durable write it is.
func (s *step) point() (point, bool) {
	was, will := s.grant.durable.State.Attempt, s.next.State.Attempt
	switch {
	case s.has(family.EventConsented):
		return "", false
	case will != nil && (was == nil || was.ID != will.ID):
		return atAnnounce, true
	case will == nil || s.has(family.EventAlternateKept):
		return atSettle, true
	}
	return "", false
}

func (s *step) has(t family.EventType) bool {
	return slices.ContainsFunc(s.events, func(e family.Event) bool { return e.Type == t })
}
