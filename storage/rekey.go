package storage

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/holdfast-io/holdfast/broker/crashpoint"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// The data keys are rotated while the store is in use. Each step is durable
// before the next, and what is left to do follows from the store alone:
//
//	ring of two keys, the new one primary, and metaRekey      one swap
//	every record, journal entry and kept settlement under     pass after pass, by
//	another key is sealed anew at the version that it has     Reseal's comparison
//	a pass that finds nothing under another key, begun when   (nothing is written)
//	nobody could be writing by the former ring any more
//	ring of the new key alone, and metaRekey with the end     one swap
//
// So a ring of more than one key is a rotation that runs. Whoever writes in
// between seals by the new key, and whoever reads finds both in the ring. A
// backup holds the ring of its time, and so does the store that it is restored
// into: it goes on with the rotation that it was taken in, or has the keys that
// were removed since.
//
// metaRekey is two times in nanoseconds since 1970, big-endian: when the newest
// rotation began, and when it ended (0: it has not).
const metaRekey = "key_rotation"

// KeyRotation is how the newest rotation of the data keys stands.
type KeyRotation struct {
	// StartedAt is zero if none was begun since the store was made.
	StartedAt time.Time
	// EndedAt is zero while it runs.
	EndedAt time.Time
}

// Running reports that there are records to be sealed anew, or keys to be removed.
func (r KeyRotation) Running() bool { return !r.StartedAt.IsZero() && r.EndedAt.IsZero() }

// KeyRotation reads how the newest rotation stands. The errors are Meta's, but for ErrNotFound.
func (s *Store) KeyRotation(ctx context.Context) (KeyRotation, error) {
	m, err := s.metaOrNew(ctx, metaRekey)
	return parseRotation(m), err
}

func parseRotation(m Meta) (r KeyRotation) {
	if len(m.Value) != 16 {
		return r
	}
	r.StartedAt = time.Unix(0, int64(binary.BigEndian.Uint64(m.Value))).UTC()
	if end := int64(binary.BigEndian.Uint64(m.Value[8:])); end != 0 {
		r.EndedAt = time.Unix(0, end).UTC()
	}
	return r
}

func (r KeyRotation) value() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(r.StartedAt.UnixNano()))
	if r.EndedAt.IsZero() {
		return binary.BigEndian.AppendUint64(b, 0)
	}
	return binary.BigEndian.AppendUint64(b, uint64(r.EndedAt.UnixNano()))
}

// BeginKeyRotation makes a new data key durable, which seals from now on, or
// returns the rotation that runs already, without waiting for a pass of it.
// ResealPass does the rest. The errors are Swap's, or ctx's; after any of them
// calling it again is safe.
func (s *Store) BeginKeyRotation(ctx context.Context) (KeyRotation, error) {
	if !s.rekeying.TryAcquire(1) {
		if r, err := s.KeyRotation(ctx); err == nil && r.Running() && s.keys.Load().ring.Keys() > 1 {
			return r, nil // a pass, which may take hours
		}
		// The first or the last swap of a rotation: that is a moment.
		if err := s.rekeying.Acquire(ctx, 1); err != nil {
			return KeyRotation{}, fmt.Errorf("waiting for a rotation that begins or ends: %w", err)
		}
	}
	defer s.rekeying.Release(1)
	if err := s.readRing(ctx); err != nil { // an earlier try may have been stored unknown to us
		return KeyRotation{}, err
	}
	m, err := s.metaOrNew(ctx, metaRekey)
	if err != nil {
		return KeyRotation{}, err
	}
	k := s.keys.Load()
	if r := parseRotation(m); r.Running() && k.ring.Keys() > 1 {
		return r, nil
	}
	ring, err := k.ring.WithNewPrimary()
	if err != nil {
		return KeyRotation{}, err
	}
	r := KeyRotation{StartedAt: s.cfg.Now().UTC()}
	if err := s.swapRing(ctx, k, ring, m, r); err != nil {
		return KeyRotation{}, fmt.Errorf("storing a new data key: %w", err)
	}
	crashpoint.At(crashpoint.RekeyBegun)
	return r, nil
}

// swapRing stores a ring in the place of k's, and how the rotation stands with it.
func (s *Store) swapRing(ctx context.Context, k *keyRing, ring *seal.Ring, m Meta, r KeyRotation) error {
	defer s.sealing().Add(-1)
	m.Value = r.value()
	ringChange, err := s.ringChange(ring, k.version)
	if err != nil {
		return err
	}
	metaChange, err := s.sealMeta(&m)
	if err != nil {
		return err
	}
	if err := s.backend.Swap(ctx, []Change{ringChange, metaChange}, nil); err != nil {
		return err
	}
	return s.readRing(ctx)
}

// endKeyRotation removes all keys but the primary from the ring. The caller has
// found that they seal nothing any more.
func (s *Store) endKeyRotation(ctx context.Context) error {
	crashpoint.At(crashpoint.RekeyClean)
	k := s.keys.Load()
	m, err := s.metaOrNew(ctx, metaRekey)
	if err != nil {
		return err
	}
	ring, err := k.ring.OnlyPrimary()
	if err != nil {
		return err
	}
	r := parseRotation(m)
	r.EndedAt = s.cfg.Now().UTC()
	if err := s.swapRing(ctx, k, ring, m, r); err != nil {
		return fmt.Errorf("removing data keys that seal nothing any more: %w", err)
	}
	crashpoint.At(crashpoint.RekeyEnded)
	return nil
}

// CountRecords counts all that a pass goes through; grants count with their journals.
func (s *Store) CountRecords(ctx context.Context) (uint64, error) {
	var n uint64
	for _, kind := range sealedKinds {
		if err := eachItem(ctx, s.backend, kind, func(Item) error { n++; return nil }); err != nil {
			return n, fmt.Errorf("counting records: %w", err)
		}
	}
	return n, nil
}
