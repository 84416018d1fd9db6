package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-io/holdfast/broker/family"
)

// ErrRolledBack is returned, together with ErrCorrupt, when a grant's record
// is older than its journal: somebody put back an old row. Its refresh token
// may be spent long ago, so spend nothing.
var ErrRolledBack = errors.New("record is older than its journal")

// Grant reads one grant: ErrNotFound, ErrCorrupt (with ErrRolledBack, if that
// is the cause), ErrUnavailable.
func (s *Store) Grant(ctx context.Context, id string) (Grant, error) {
	g, err := s.grantOnce(ctx, id)
	if errors.Is(err, ErrRolledBack) {
		// Not an atomic read: the grant may just have been deleted and made anew.
		g, err = s.grantOnce(ctx, id)
	}
	if errors.Is(err, ErrCorrupt) {
		s.noteDamage(id, err)
	}
	return g, err
}

// grantOnce reads the journal first: whatever is swapped in between the two
// reads makes the record newer, never older.
func (s *Store) grantOnce(ctx context.Context, id string) (Grant, error) {
	it, entries, err := s.newest(ctx, id)
	if err != nil {
		return Grant{}, err
	}
	g, err := s.openGrant(it)
	if err != nil {
		return Grant{}, err
	}
	if len(entries) == 0 {
		s.failover.read(&g)
		return g, nil
	}
	e, err := s.openEntry(id, entries[0])
	if err != nil {
		return Grant{}, fmt.Errorf("checking grant %s against its journal: %w", g.Address, err)
	}
	if e.GetGrantVersion() > uint64(g.Version) || e.GetGrantFence() > g.State.Fence {
		s.refused.Add(1)
		return Grant{}, fmt.Errorf("%w: grant %s (%s): %w: version %d and fence %d, the journal is at version %d and fence %d; "+
			"somebody put back old data: have it consented again, or run holdfast restore with the newest backup; nothing was changed",
			ErrCorrupt, g.Address, id, ErrRolledBack, g.Version, g.State.Fence, e.GetGrantVersion(), e.GetGrantFence())
	}
	s.failover.read(&g)
	return g, nil
}

// newest reads a grant's record and its newest journal entry, if there is one.
func (s *Store) newest(ctx context.Context, id string) (Item, []Entry, error) {
	if b, ok := s.backend.(Snapshotter); ok {
		it, entries, err := b.Newest(ctx, id)
		if err != nil {
			err = fmt.Errorf("reading grant %s: %w", id, err)
		}
		return it, entries, err
	}
	entries, err := s.backend.Events(ctx, id, 1)
	if err != nil {
		return Item{}, nil, fmt.Errorf("reading the journal of grant %s: %w", id, err)
	}
	it, err := s.backend.Get(ctx, Key{KindGrant, id})
	if err != nil {
		return Item{}, nil, fmt.Errorf("reading grant %s: %w", id, err)
	}
	return it, entries, nil
}

// Update is what one Swap writes, all of it or nothing.
type Update struct {
	// Grant to write; its Version is that of the record it was read from, 0 for a new one.
	Grant *Grant
	// Consent to write, likewise.
	Consent *Consent
	// Events for the journal of Grant, oldest first.
	Events []family.Event
}

// Swap writes u in one transaction, if every record still has the version that
// it was read at. Nil means durable, and that the Version of Grant and Consent
// has been advanced. ErrConflict: nothing was written. ErrUnknown: re-read and
// look for your own attempt before anything else. Any other error: nothing was
// written.
func (s *Store) Swap(ctx context.Context, u Update) error {
	var what string
	err := s.swapSealed(ctx, func() (changes []Change, entries []Entry, err error) {
		if what, changes, entries, err = s.sealUpdate(u); err == nil {
			err = s.failover.mayStore(ctx)
		}
		return changes, entries, err
	})
	if err != nil {
		s.failover.note(u.Grant, err)
		return fmt.Errorf("storing %s: %w", what, err)
	}
	if u.Grant != nil {
		u.Grant.Version = u.Grant.next()
		s.failover.note(u.Grant, nil)
	}
	if u.Consent != nil {
		u.Consent.Version++
	}
	return nil
}

func (s *Store) sealUpdate(u Update) (what string, changes []Change, entries []Entry, err error) {
	if u.Grant == nil && u.Consent == nil {
		return "nothing", nil, nil, errors.New("an update needs a grant or a consent")
	}
	if u.Consent != nil {
		what = "consent " + u.Consent.ID
		c, err := s.sealConsent(u.Consent)
		if err != nil {
			return what, nil, nil, err
		}
		changes = append(changes, c)
	}
	if u.Grant == nil {
		if len(u.Events) > 0 {
			err = errors.New("events need their grant in the same update")
		}
		return what, changes, nil, err
	}
	what = "grant " + u.Grant.Address.String()
	c, err := s.sealGrant(u.Grant)
	if err != nil {
		return what, nil, nil, err
	}
	changes = append(changes, c)
	floor, err := s.floorChange(u.Grant)
	if err != nil {
		return what, nil, nil, err
	}
	entries, err = s.sealEvents(u.Grant, u.Events)
	return what, append(changes, floor...), entries, err
}

// Consent reads one consent: ErrNotFound, ErrCorrupt, ErrUnavailable.
func (s *Store) Consent(ctx context.Context, id string) (Consent, error) {
	it, err := s.backend.Get(ctx, Key{KindConsent, id})
	if err != nil {
		return Consent{}, fmt.Errorf("reading consent %s: %w", id, err)
	}
	return s.openConsent(it)
}

// DeleteConsent removes a consent at the version it was read at; the errors are Swap's.
func (s *Store) DeleteConsent(ctx context.Context, id string, v Version) error {
	c := Change{Old: v, Item: Item{Key: Key{KindConsent, id}}, Delete: true}
	if err := s.swapSealed(ctx, func() ([]Change, []Entry, error) { return []Change{c}, nil, nil }); err != nil {
		return fmt.Errorf("deleting consent %s: %w", id, err)
	}
	return nil
}
