package storage

import (
	"context"
	"crypto/hmac"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/holdfast-io/holdfast/storage/seal"
)

// RewrapSummary says which KEK wraps the store's root key by now.
type RewrapSummary struct {
	StoreID string
	// From and To are the ids of the KEKs.
	From, To string
}

// Rewrap has the root key of the store in cfg.Dir, which must not be in use, or in
// cfg.Database, whose replicas go on and want the new KEK at their next start,
// wrapped by to in place of cfg.KEK; the two may be the same, for one that has
// rotated its key. No record is read or written: one small file is replaced, and
// until the new one is durable the old one is in its place. Before that, to has
// given the root key back once.
func Rewrap(ctx context.Context, cfg Config, to seal.KEK) (sum RewrapSummary, err error) {
	if err := cfg.complete(); err != nil {
		return sum, err
	}
	cfg.MustExist = true
	h, root, err := openHeader(ctx, &cfg)
	if err != nil {
		return sum, errors.Join(err, cfg.release())
	}
	// The backend's lock keeps a broker, which writes the header too, away; the
	// header in a database is compared when it is swapped.
	s, err := openBackend(cfg, h, root)
	if err != nil {
		return sum, errors.Join(err, cfg.release())
	}
	defer func() { err = errors.Join(err, s.backend.Close()) }()
	was, err := s.cfg.rawHeader(ctx)
	var now header
	if err == nil {
		now, err = parseHeader(s.cfg.headerName(), was)
	}
	if err != nil || !hmac.Equal(now.MAC, h.MAC) {
		return sum, errors.Join(fmt.Errorf("%w: the store's header was changed by somebody else at the same moment: try again; nothing was changed", ErrConflict), err)
	}
	sum = RewrapSummary{StoreID: h.StoreID, From: h.KEKID, To: to.ID()}
	wrapped, err := to.Wrap(ctx, root)
	if err != nil {
		return sum, fmt.Errorf("asking KEK %s to wrap the root key: %w; nothing was changed", to.ID(), kekError(err))
	}
	back, err := to.Unwrap(ctx, wrapped)
	if err != nil {
		return sum, fmt.Errorf("asking KEK %s for the root key that it has just wrapped: %w; nothing was changed", to.ID(), kekError(err))
	}
	if subtle.ConstantTimeCompare(back, root) != 1 {
		return sum, fmt.Errorf("KEK %s gives back another key than it was given: it is of no use; nothing was changed", to.ID())
	}
	h.KEKID, h.WrappedRoot = to.ID(), wrapped
	b, err := h.encode(root)
	if err != nil {
		return sum, err
	}
	if err := s.cfg.swapHeader(ctx, was, b); err != nil {
		return sum, fmt.Errorf("replacing the store's header: %w; keep both keys until it opens with one of them", err)
	}
	return sum, nil
}

// kekError marks a provider that is down as ErrUnavailable.
func kekError(err error) error {
	if errors.Is(err, seal.ErrUnavailable) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}
