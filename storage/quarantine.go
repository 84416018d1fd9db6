package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
)

// QuarantineAll quarantines every grant whose family could be spent, with the
// finding in its journal, if MustQuarantine. It returns how many it quarantined.
// Run again after an error or a crash, it goes on. Nobody may spend while it
// runs; a grant that is changed meanwhile is read again.
func (s *Store) QuarantineAll(ctx context.Context) (int, error) {
	why := s.header.Load().pending()
	if why == "" {
		return 0, nil
	}
	ctx = pass(ctx) // what is found after a fail-over is found while the replica holds
	if err := s.dropPending(ctx); err != nil {
		return 0, fmt.Errorf("quarantining: %w", err)
	}
	n, f := 0, Filter{Limit: maxPage}
	for {
		page, err := s.Grants(ctx, f)
		if err != nil {
			return n, err
		}
		for _, g := range page {
			done, err := s.quarantine(ctx, g, why)
			if err != nil {
				return n, fmt.Errorf("quarantining: %w", err)
			}
			if done {
				n++
			}
		}
		if len(page) < f.Limit {
			break
		}
		f.After = page[len(page)-1].ID
	}
	return n, s.told(ctx)
}

func (s *Store) quarantine(ctx context.Context, g Grant, why string) (bool, error) {
	for {
		st, events := family.Quarantine(g.State, s.cfg.Now(), why)
		if len(events) == 0 {
			return false, nil
		}
		g.State, g.Due = st, time.Time{}
		err := s.Swap(ctx, Update{Grant: &g, Events: events})
		if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrUnknown) {
			return err == nil, err
		}
		if g, err = s.Grant(ctx, g.ID); err != nil {
			return false, err
		}
	}
}

// dropPending ends the consents whose new family waits for a confirmation: the
// store that this one is a copy of may have it confirmed, and then both would
// spend it. Who consented does so again.
func (s *Store) dropPending(ctx context.Context) error {
	return eachItem(ctx, s.backend, KindConsent, func(it Item) error {
		c, err := s.openConsent(it)
		if err != nil || c.Pending == nil {
			return nil //nolint:nilerr // one that does not open can not be confirmed either
		}
		c.Pending, c.Status = nil, ConsentSuperseded
		c.Detail = "the store was found to be a copy or out of date while this waited: consent again"
		return s.Swap(ctx, Update{Consent: &c})
	})
}
