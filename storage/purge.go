package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// A purge deletes a grant's record and journal, and the consents for it. What it
// leaves in the store is one small value:
//
//	floor        no version, generation or fence of a purged grant was above it
//	uncollected  keys whose sealed bytes the backend's files may still hold
//	spent        random ids of deleted consents, until their connect links end
//
// A consent's record is what makes its link good for one use, so that its id is
// remembered for as long as somebody could use the link again.
//
// A grant has the same id again after it was purged and consented anew, so its
// numbers begin above the floor: a late writer of the old one meets a conflict, a
// late settlement belongs to no family any more, and an old row that somebody puts
// back is older than the new one's journal.

// metaPurges holds that value.
const metaPurges = "purges"

// mostUncollected keys are remembered; those of more purges are left to the
// backend's own housekeeping.
const mostUncollected = 5000

// mostSpent links are remembered. More in the life of a link is no work of
// operators: a purge beyond it waits.
const mostSpent = 5000

type purges struct {
	Floor       uint64 `json:"floor"`
	Uncollected []Key  `json:"uncollected,omitempty"`
	// Spent are Unix seconds by id of a consent.
	Spent map[string]int64 `json:"spent,omitempty"`
}

// spend remembers the consents whose links, made with them, are good for linkTTL.
func (p *purges) spend(consents []Consent, linkTTL time.Duration, now time.Time) error {
	maps.DeleteFunc(p.Spent, func(_ string, end int64) bool { return end < now.Unix() })
	for i := range consents {
		// A minute more, since clocks differ.
		if end := consents[i].CreatedAt.Add(linkTTL + time.Minute); !end.Before(now) {
			if p.Spent == nil {
				p.Spent = map[string]int64{}
			}
			p.Spent[consents[i].ID] = end.Unix()
		}
	}
	if len(p.Spent) > mostSpent {
		return fmt.Errorf("%w: the links of %d consents of purged grants are remembered until they end: purge the rest after %v",
			ErrUnavailable, mostSpent, linkTTL)
	}
	return nil
}

// Spent reports whether a consent was deleted by a purge while its link was good.
// The errors are Meta's, but for ErrNotFound.
func (s *Store) Spent(ctx context.Context, consentID string) (bool, error) {
	_, p, err := s.readPurges(ctx)
	_, ok := p.Spent[consentID]
	return ok, err
}

// Purged says what a purge deleted.
type Purged struct{ Events, Consents int }

func (s *Store) readPurges(ctx context.Context) (Meta, purges, error) {
	m, err := s.metaOrNew(ctx, metaPurges)
	var p purges
	if err == nil && len(m.Value) > 0 {
		err = json.Unmarshal(m.Value, &p)
	}
	if err != nil {
		return m, p, fmt.Errorf("reading what was purged: %w", err)
	}
	return m, p, nil
}

func (m *Meta) setPurges(p purges) error {
	b, err := json.Marshal(p)
	m.Value = b
	return err
}

// NewGrant returns the grant at a for its first consent. The caller must have
// seen ErrNotFound for it before.
func (s *Store) NewGrant(ctx context.Context, a Address) (Grant, error) {
	m, p, err := s.readPurges(ctx)
	g := Grant{ID: a.GrantID(), Address: a, Floor: Version(p.Floor)}
	g.State.Generation, g.State.Fence = p.Floor, p.Floor
	if _, shared := s.Shared(); shared && err == nil {
		g.FloorOf = &m
	}
	return g, err
}

// floorChange makes the swap that makes a grant conflict with every purge since its
// floor was read: another replica may have made the same grant, and have purged it,
// meanwhile. It changes nothing but the version of what is known of purges.
func (s *Store) floorChange(g *Grant) ([]Change, error) {
	if g.FloorOf == nil || g.Version != 0 {
		return nil, nil
	}
	c, err := s.sealMeta(g.FloorOf)
	return []Change{c}, err
}

// next is the version under which the grant is stored next.
func (g *Grant) next() Version {
	return (&Change{Old: g.Version, Floor: g.Floor}).Next()
}

// ConsentsFor returns the consents for the grant at a.
func (s *Store) ConsentsFor(ctx context.Context, a Address) ([]Consent, error) {
	var out []Consent
	err := eachItem(ctx, s.backend, KindConsent, func(it Item) error {
		if c, err := s.openConsent(it); err == nil && c.Address == a {
			out = append(out, c)
		}
		return nil
	})
	return out, err
}

// PurgeGrant deletes the grant, its journal and the consents, all in one swap,
// if all have the versions they were read at. Connect links are good for linkTTL
// after their consent was made; those of the consents stay used. The errors are
// Swap's. Backups, and until CollectPurged the backend's files, keep what they
// hold of it, sealed.
func (s *Store) PurgeGrant(ctx context.Context, g *Grant, consents []Consent, linkTTL time.Duration) (Purged, error) {
	entries, err := s.backend.Events(ctx, g.ID, JournalLength)
	if err != nil {
		return Purged{}, fmt.Errorf("reading the journal of grant %s: %w", g.Address, err)
	}
	changes := []Change{{Old: g.Version, Item: Item{Key: Key{KindGrant, g.ID}}, Delete: true}}
	for i := range consents {
		changes = append(changes, Change{Old: consents[i].Version, Item: Item{Key: Key{KindConsent, consents[i].ID}}, Delete: true})
	}
	for range 8 { // purges of other grants change the same value
		err = s.purgeOnce(ctx, g, changes, consents, linkTTL)
		if err == nil {
			return Purged{Events: len(entries), Consents: len(consents)}, nil
		}
		now, rerr := s.backend.Get(ctx, Key{KindGrant, g.ID})
		switch {
		case errors.Is(err, ErrUnknown) && errors.Is(rerr, ErrNotFound):
			return Purged{Events: len(entries), Consents: len(consents)}, nil
		case !errors.Is(err, ErrConflict) || rerr != nil || now.Version != g.Version:
			return Purged{}, err
		}
	}
	return Purged{}, err
}

func (s *Store) purgeOnce(ctx context.Context, g *Grant, changes []Change, consents []Consent, linkTTL time.Duration) error {
	m, p, err := s.readPurges(ctx)
	if err != nil {
		return err
	}
	p.Floor = max(p.Floor, uint64(g.Version)+1, g.State.Generation+1, g.State.Fence+1)
	if err := p.spend(consents, linkTTL, s.cfg.Now()); err != nil {
		return fmt.Errorf("purging grant %s: %w", g.Address, err)
	}
	if _, ok := s.backend.(Collector); ok {
		for _, c := range changes {
			p.Uncollected = append(p.Uncollected, c.Item.Key)
		}
		p.Uncollected = p.Uncollected[max(0, len(p.Uncollected)-mostUncollected):]
	}
	if err := m.setPurges(p); err != nil {
		return err
	}
	err = s.swapSealed(ctx, func() ([]Change, []Entry, error) {
		c, err := s.sealMeta(&m)
		return append(slices.Clone(changes), c), nil, err
	})
	if err != nil {
		return fmt.Errorf("purging grant %s: %w", g.Address, err)
	}
	return nil
}

// CollectPurged has the backend rewrite its files, so that none holds anything
// more of what was purged, and reports whether that was verified. It may take
// minutes; ctx ends only the waiting. Without anything to collect it returns at once.
func (s *Store) CollectPurged(ctx context.Context) (bool, error) {
	b, ok := s.backend.(Collector)
	if !ok {
		return false, nil
	}
	_, before, err := s.readPurges(ctx)
	if err != nil || len(before.Uncollected) == 0 {
		return err == nil, err
	}
	done, err := b.Collect(ctx, before.Uncollected)
	if err != nil || !done {
		return false, err
	}
	for range 8 {
		m, p, err := s.readPurges(ctx)
		if err != nil {
			return true, err
		}
		p.Uncollected = slices.DeleteFunc(p.Uncollected, func(k Key) bool { return slices.Contains(before.Uncollected, k) })
		if err := m.setPurges(p); err != nil {
			return true, err
		}
		if err := s.SwapMeta(ctx, &m); !errors.Is(err, ErrConflict) {
			return true, err
		}
	}
	return true, nil // the next collection finds nothing, and says so
}
