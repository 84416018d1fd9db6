package storage

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-io/holdfast/broker/family"
)

// QuarantineAll quarantines every grant whose family could be spent, with why
// in its journal, and then forgets that the store was restored. It returns how
// many it quarantined. Run again after an error or a crash, it goes on. Nobody
// may spend while it runs; a grant that is changed meanwhile is read again.
func (s *Store) QuarantineAll(ctx context.Context, why string) (int, error) {
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
	if !s.Restored() {
		return n, nil
	}
	return n, s.clearRestored()
}

func (s *Store) quarantine(ctx context.Context, g Grant, why string) (bool, error) {
	for {
		st, events := family.Quarantine(g.State, s.cfg.Now(), why)
		if len(events) == 0 {
			return false, nil
		}
		g.State = st
		err := s.Swap(ctx, Update{Grant: &g, Events: events})
		if !errors.Is(err, ErrConflict) && !errors.Is(err, ErrUnknown) {
			return err == nil, err
		}
		if g, err = s.Grant(ctx, g.ID); err != nil {
			return false, err
		}
	}
}
