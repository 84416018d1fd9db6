package simulation

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-io/holdfast/storage"
)

// sharedSeam is the seam of a store that replicas share.
type sharedSeam struct{ seam }

var _ storage.Shared = (*sharedSeam)(nil)

// travels lets a question, or its answer, be on its way.
func (s *sharedSeam) travels(ctx context.Context) error {
	s.life.passes(s.life.world.latency(s.life) / 4)
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	return s.admit()
}

func (s *sharedSeam) Now(ctx context.Context) (time.Time, error) {
	_, now, err := s.Versions(ctx, nil)
	return now, err
}

func (s *sharedSeam) Versions(ctx context.Context, keys []storage.Key) ([]storage.Version, time.Time, error) {
	if err := s.travels(ctx); err != nil {
		return nil, time.Time{}, err
	}
	versions, now, err := s.life.world.mem.Versions(ctx, keys)
	if terr := s.travels(ctx); terr != nil {
		return nil, time.Time{}, terr
	}
	return versions, now, err
}

func (s *sharedSeam) Claim(ctx context.Context, due storage.Span, hold time.Duration, limit int) ([]storage.Item, error) {
	if err := s.admit(); err != nil {
		return nil, err
	}
	return s.life.world.mem.Claim(ctx, due, hold, limit)
}

// Follow loses half of what there is to tell.
func (s *sharedSeam) Follow(ctx context.Context, changed func(storage.Key)) error {
	n := 0
	return s.life.world.mem.Follow(ctx, func(k storage.Key) {
		n++
		if !s.life.dead.Load() && !s.life.frozen() && dice(s.life.world.seed, "hint", s.life.replica.index, s.life.number, n).IntN(2) == 0 {
			changed(k)
		}
	})
}
