package storage

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	storagev1 "github.com/holdfast-io/holdfast/proto/holdfast/storage/v1"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// keyRing is the key ring at one version of its record.
type keyRing struct {
	ring    *seal.Ring
	primary seal.KeyID
	version Version
	// writers counts what may be under way to the backend, sealed by this ring.
	writers *atomic.Int64
	// formers are the rings before this one that still matter, oldest first.
	formers []formerRing
}

// formerRing is a ring that another has replaced in this process.
type formerRing struct {
	ring *seal.Ring
	// until then it opens what a reader took from the backend before.
	until time.Time
	// writers, as of the keyRing that it was; a key that it sealed by must not be
	// removed before there are none.
	writers *atomic.Int64
}

// formerFor is how long a removed key still opens in this process: a page that
// was read before a record was sealed anew is opened a moment later.
const formerFor = time.Minute

func (k *keyRing) open(blob, ad []byte, now time.Time) ([]byte, error) {
	plain, err := k.ring.Open(blob, ad)
	for i := len(k.formers) - 1; err != nil && i >= 0; i-- {
		if f := k.formers[i]; now.Before(f.until) {
			plain, err = f.ring.Open(blob, ad)
		}
	}
	return plain, err
}

// quiet reports that nothing is under way that a former ring sealed.
func (k *keyRing) quiet() bool {
	for _, f := range k.formers {
		if f.writers.Load() != 0 {
			return false
		}
	}
	return true
}

// after makes k follow the ring now, which may be nil.
func (k *keyRing) after(now *keyRing, at time.Time) {
	if now == nil {
		return
	}
	for _, f := range now.formers {
		if at.Before(f.until) || f.writers.Load() != 0 {
			k.formers = append(k.formers, f)
		}
	}
	k.formers = append(k.formers, formerRing{now.ring, at.Add(formerFor), now.writers})
}

// sealing counts a writer until it takes one from what is returned again: what
// it seals meanwhile, it seals by the ring that it is counted at, or by a newer one.
func (s *Store) sealing() *atomic.Int64 {
	writers, _ := s.sealingBy()
	return writers
}

var ringKey = Key{KindRing, "ring"}

func (s *Store) ringMaster() ([]byte, error) { return seal.Derive(s.root, seal.ForRing) }

// openRing reads the key ring; a store without any record gets a fresh one.
func (s *Store) openRing(ctx context.Context) error {
	err := s.readRing(ctx)
	if errors.Is(err, ErrNotFound) {
		return s.createRing(ctx)
	}
	return err
}

// readRing takes over the ring as it is stored, if it is a newer one.
func (s *Store) readRing(ctx context.Context) error {
	it, err := s.backend.Get(ctx, ringKey)
	if err != nil {
		return fmt.Errorf("reading the key ring: %w", err)
	}
	now := s.keys.Load()
	if now != nil && now.version == it.Version {
		return nil
	}
	next, err := s.parseRing(it)
	if err != nil {
		return corrupt("the key ring", err)
	}
	if err := s.keepRing(it); err != nil {
		return fmt.Errorf("keeping the key ring for the spill file: %w", err)
	}
	next.after(now, s.cfg.Now())
	s.keys.Store(next)
	return nil
}

func (s *Store) parseRing(it Item) (*keyRing, error) {
	var p storagev1.RingPublic
	if err := openPublic(it, &p); err != nil {
		return nil, err
	}
	if p.GetStoreId() != s.StoreID() {
		return nil, fmt.Errorf("it belongs to store %s", p.GetStoreId())
	}
	master, err := s.ringMaster()
	if err != nil {
		return nil, err
	}
	ring, err := seal.ParseRing(it.Sealed, master, recordAD(it.Key, it.Version, it.Public))
	if err != nil {
		return nil, err
	}
	primary, err := ring.Primary()
	return &keyRing{ring: ring, primary: primary, version: it.Version, writers: new(atomic.Int64)}, err
}

// ringChange is the change that stores a ring in the place of version old.
func (s *Store) ringChange(ring *seal.Ring, old Version) (Change, error) {
	master, err := s.ringMaster()
	if err != nil {
		return Change{}, err
	}
	pub, err := proto.Marshal(&storagev1.RingPublic{StoreId: s.StoreID()})
	if err != nil {
		return Change{}, err
	}
	sealed, err := ring.Marshal(master, recordAD(ringKey, old+1, pub))
	if err != nil {
		return Change{}, err
	}
	return Change{Old: old, Item: Item{Key: ringKey, Public: pub, Sealed: sealed}}, nil
}

func (s *Store) createRing(ctx context.Context) error {
	// A ring that vanished must not be replaced: nothing would open any more. One
	// that another replica has just made has not.
	for _, k := range sealedKinds {
		items, err := s.backend.List(ctx, Query{Kind: k, Limit: 1})
		if err != nil {
			return fmt.Errorf("looking for records: %w", err)
		}
		if len(items) > 0 {
			if err := s.readRing(ctx); !errors.Is(err, ErrNotFound) {
				return err
			}
			return corrupt("the key ring", errors.New("it is missing, and there are records that it sealed"))
		}
	}
	ring, err := seal.NewRing()
	if err != nil {
		return err
	}
	c, err := s.ringChange(ring, 0)
	if err != nil {
		return err
	}
	if err := s.backend.Swap(ctx, []Change{c}, nil); err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrUnknown) {
		return fmt.Errorf("storing the key ring: %w", err)
	}
	return s.readRing(ctx) // another replica's, if that was first
}
