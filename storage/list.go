package storage

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	storagev1 "github.com/holdfast-io/holdfast/proto/holdfast/storage/v1"
)

const (
	defaultPage = 100
	maxPage     = 1000
)

// Grants returns one page: in order of id, or of due time if f.DueBefore is
// set. A page shorter than the limit is the last. Only grants that match are
// opened. A grant that does not open is left out, so that it cannot keep the
// others from being refreshed; it is logged, named by Damaged, and reading it
// says what is wrong with it.
func (s *Store) Grants(ctx context.Context, f Filter) ([]Grant, error) {
	if f.Limit <= 0 {
		f.Limit = defaultPage
	}
	f.Limit = min(f.Limit, maxPage)
	q := Query{Kind: KindGrant, After: f.After, DueBefore: f.DueBefore, Limit: f.Limit}
	var out []Grant
	for {
		items, err := s.backend.List(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("listing grants: %w", err)
		}
		for _, it := range items {
			g, ok := s.match(it, &f)
			if !ok {
				continue
			}
			if out = append(out, g); len(out) == f.Limit {
				return out, nil
			}
		}
		if len(items) < q.Limit {
			return out, nil
		}
		q.After = items[len(items)-1].Key.ID
	}
}

func (s *Store) match(it Item, f *Filter) (Grant, bool) {
	var p storagev1.GrantPublic
	if err := openPublic(it, &p); err != nil {
		s.refused.Add(1)
		s.noteDamage(it.Key.ID, corrupt("grant "+it.Key.ID, err))
		return Grant{}, false
	}
	same := func(want, have string) bool { return want == "" || want == have }
	if !same(f.Tenant, p.GetAddress().GetTenant()) || !same(f.Product, p.GetAddress().GetProduct()) ||
		!same(f.App, p.GetApp()) || !same(f.Account, p.GetAccount()) ||
		(f.Phase != 0 && f.Phase != family.Phase(p.GetPhase())) {
		return Grant{}, false
	}
	g, err := s.openGrantSecret(it, &p)
	if err != nil {
		s.noteDamage(it.Key.ID, err)
		return Grant{}, false
	}
	return g, true
}

// damageList remembers the ids of grants that a listing had to leave out.
type damageList struct {
	mu  sync.Mutex
	ids []string // guarded by mu, sorted
}

func (s *Store) noteDamage(id string, err error) {
	s.damaged.mu.Lock()
	defer s.damaged.mu.Unlock()
	i, known := slices.BinarySearch(s.damaged.ids, id)
	if known {
		return
	}
	s.damaged.ids = slices.Insert(s.damaged.ids, i, id)
	s.cfg.Log.Error("a grant does not open: nothing is spent for it, and listings leave it out", "grant_id", id, "error", err)
}

// Damaged returns the ids of the grants that listings had to leave out since
// the store was opened.
func (s *Store) Damaged() []string {
	s.damaged.mu.Lock()
	defer s.damaged.mu.Unlock()
	return slices.Clone(s.damaged.ids)
}

// Refused counts what was read since the store was opened and did not open as
// what its key says: changed, moved, or put back.
func (s *Store) Refused() uint64 { return s.refused.Load() }

// PurgeConsents deletes the consents that expired before t, whatever their
// status, and returns how many it deleted. A consent that changes meanwhile stays.
func (s *Store) PurgeConsents(ctx context.Context, t time.Time) (int, error) {
	n := 0
	err := eachItem(ctx, s.backend, KindConsent, func(it Item) error {
		var p storagev1.ConsentPublic
		if openPublic(it, &p) == nil && fromTime(p.GetExpiresAt()).Before(t) && s.DeleteConsent(ctx, it.Key.ID, it.Version) == nil {
			n++
		}
		return ctx.Err()
	})
	return n, err
}

var kindNames = map[Kind]string{KindGrant: "grants", KindConsent: "consents", KindApp: "apps", KindRing: "key rings", KindMeta: "values"}

// eachItem calls f with every record of a kind, in order of id, until f fails. What
// is stored or deleted meanwhile is met or not.
func eachItem(ctx context.Context, b Backend, kind Kind, f func(Item) error) error {
	q := Query{Kind: kind, Limit: maxPage}
	for {
		items, err := b.List(ctx, q)
		if err != nil {
			return fmt.Errorf("listing %s: %w", kindNames[kind], err)
		}
		for _, it := range items {
			if err := f(it); err != nil {
				return err
			}
		}
		if len(items) < q.Limit {
			return nil
		}
		q.After = items[len(items)-1].Key.ID
	}
}
