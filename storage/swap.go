package storage

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/holdfast-io/holdfast/storage/seal"
)

// mostResealed is how often a swap is sealed again because the ring has changed:
// twice in a rotation, and no rotation is so quick that a swap meets many.
const mostResealed = 16

// swapSealed swaps what sealed returns, which it sealed by the key ring. The errors
// are those of Backend.Swap.
//
// Other replicas of a shared store rotate the ring, too. One that ends a rotation
// removes a key once nothing in the store is sealed by it, and can not see who is
// still sealing by it elsewhere. So there each swap also checks that the ring's
// record is still at the version that this replica knows: by the time that a pass
// looks through the records, after a Reseal, every swap by a former ring is done
// or conflicts, and is sealed anew here.
func (s *Store) swapSealed(ctx context.Context, sealed func() ([]Change, []Entry, error)) error {
	_, shared := s.Shared()
	for tries := 1; ; tries++ {
		known, err := s.swapOnce(ctx, shared, sealed)
		if !shared || !errors.Is(err, ErrConflict) || tries == mostResealed {
			return err
		}
		if rerr := s.readRing(ctx); rerr != nil || s.keys.Load().version == known {
			return errors.Join(err, rerr)
		}
	}
}

// swapOnce also returns the version of the ring's record that it checked for.
func (s *Store) swapOnce(ctx context.Context, shared bool, sealed func() ([]Change, []Entry, error)) (Version, error) {
	writers, version := s.sealingBy()
	defer writers.Add(-1)
	changes, entries, err := sealed()
	if err != nil {
		return version, err
	}
	if shared {
		if err := s.stillHere(ctx); err != nil {
			return version, err
		}
		changes = append(changes, Change{Old: version, Item: Item{Key: ringKey}, Check: true})
	}
	return version, s.backend.Swap(ctx, changes, entries)
}

// sealingBy is sealing, and the version of that ring: the one that seals
// meanwhile is this or a newer one.
func (s *Store) sealingBy() (*atomic.Int64, Version) {
	for {
		k := s.keys.Load()
		k.writers.Add(1)
		if s.keys.Load() == k {
			return k.writers, k.version
		}
		k.writers.Add(-1) // a newer ring came in between, and nobody has seen this
	}
}

// ringTimeout bounds the look for a newer ring.
const ringTimeout = 5 * time.Second

// newerRing looks, in a shared store, for a ring that another replica has put in
// place, if this one does not know the key that a blob was sealed by.
func (s *Store) newerRing(blob []byte) bool {
	id, ok := seal.SealedBy(blob)
	if _, shared := s.Shared(); !ok || !shared {
		return false
	}
	k := s.keys.Load()
	if k.ring.Has(id) {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), ringTimeout)
	defer cancel()
	if err := s.readRing(ctx); err != nil {
		s.cfg.Log.Warn("looking for a newer key ring failed", "error", err)
		return false
	}
	return s.keys.Load() != k
}
