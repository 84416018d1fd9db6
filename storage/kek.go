package storage

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/holdfast-io/holdfast/storage/seal"
)

// ErrKEK is returned when the KEK does not give out the store's root key: it can
// not be reached, or it refuses. The store that is open works on; the next start
// would fail.
var ErrKEK = errors.New("key-encryption key unavailable")

// CheckKEK asks the KEK for the store's root key, as a start would. It blocks as
// long as the KEK does, or until ctx ends. The error is ErrKEK and says what to do.
func (s *Store) CheckKEK(ctx context.Context) error {
	h := s.header.Load()
	if s.cfg.Database != nil && h.KEKID != s.cfg.KEK.ID() {
		return s.rewrapped(h.KEKID)
	}
	root, err := s.cfg.KEK.Unwrap(ctx, h.WrappedRoot)
	if errors.Is(err, seal.ErrOpen) {
		return fmt.Errorf("%w: KEK %s does not open what is in %s: put the header or the key back from a copy before this process ends",
			ErrKEK, s.cfg.KEK.ID(), s.cfg.headerName())
	}
	if err != nil {
		return fmt.Errorf("%w: asking KEK %s for the root key: %w", ErrKEK, s.cfg.KEK.ID(), err)
	}
	if subtle.ConstantTimeCompare(root, s.root) != 1 {
		return fmt.Errorf("%w: KEK %s gives out another root key than this store's", ErrKEK, s.cfg.KEK.ID())
	}
	return nil
}

// rewrapped is for a replica that runs under the former KEK, while another one, or
// an operator, has had the root key wrapped by the next: it goes on until it is
// restarted with that, which the log asks for. It is no error.
func (s *Store) rewrapped(by string) error {
	if was := s.toldKEK.Swap(&by); was == nil || *was != by {
		s.cfg.Log.Warn("the root key of the store is wrapped by another KEK by now: configure that one before this replica is started again",
			"configured", s.cfg.KEK.ID(), "now", by, "store", s.cfg.Place())
	}
	return nil
}
