package storage

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	storagev1 "github.com/holdfast-io/holdfast/proto/holdfast/storage/v1"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// Meta is one small named value of the store, such as the clock's high-water mark. It is sealed.
type Meta struct {
	Name  string
	Value []byte
	// Version it was read at; 0 for a new one.
	Version Version
}

// Meta reads the value of that name: ErrNotFound, ErrCorrupt, ErrUnavailable.
func (s *Store) Meta(ctx context.Context, name string) (Meta, error) {
	it, err := s.backend.Get(ctx, Key{KindMeta, name})
	if err != nil {
		return Meta{}, fmt.Errorf("reading the store's value %q: %w", name, err)
	}
	var p storagev1.MetaPublic
	var x storagev1.MetaSecret
	if err = openPublic(it, &p); err == nil {
		err = s.openSecret(it, &x)
	}
	if err == nil && p.GetName() != name {
		err = fmt.Errorf("it is the record of %q", p.GetName())
	}
	if err != nil {
		return Meta{}, corrupt(fmt.Sprintf("the store's value %q", name), err)
	}
	return Meta{Name: name, Value: x.GetValue(), Version: it.Version}, nil
}

// SwapMeta writes m if its record still has m.Version, and advances that. The errors are Swap's.
func (s *Store) SwapMeta(ctx context.Context, m *Meta) error { return s.swapMetas(ctx, m) }

// swapMetas swaps several values in one transaction.
func (s *Store) swapMetas(ctx context.Context, metas ...*Meta) error {
	var changes []Change
	for _, m := range metas {
		c, err := s.sealChange(Key{KindMeta, m.Name}, m.Version, &storagev1.MetaPublic{Name: m.Name}, &storagev1.MetaSecret{Value: m.Value})
		if err != nil {
			return fmt.Errorf("storing the store's value %q: %w", m.Name, err)
		}
		changes = append(changes, c)
	}
	if err := s.backend.Swap(ctx, changes, nil); err != nil {
		return fmt.Errorf("storing the store's value %q: %w", metas[0].Name, err)
	}
	for _, m := range metas {
		m.Version++
	}
	return nil
}

var ringKey = Key{KindRing, "ring"}

// openRing reads the key ring; a store without any record gets a fresh one.
func (s *Store) openRing(ctx context.Context) error {
	key, err := seal.Derive(s.root, seal.ForRing)
	if err != nil {
		return err
	}
	it, err := s.backend.Get(ctx, ringKey)
	if errors.Is(err, ErrNotFound) {
		return s.createRing(ctx, key)
	}
	if err != nil {
		return fmt.Errorf("reading the key ring: %w", err)
	}
	var p storagev1.RingPublic
	if err = openPublic(it, &p); err == nil && p.GetStoreId() != s.StoreID() {
		err = fmt.Errorf("it belongs to store %s", p.GetStoreId())
	}
	if err == nil {
		s.ring, err = seal.ParseRing(it.Sealed, key, recordAD(it.Key, it.Version, it.Public))
	}
	if err != nil {
		return corrupt("the key ring", err)
	}
	return nil
}

func (s *Store) createRing(ctx context.Context, key []byte) error {
	// A ring that vanished must not be replaced: nothing would open any more.
	for _, k := range []Kind{KindGrant, KindConsent, KindApp, KindMeta} {
		items, err := s.backend.List(ctx, Query{Kind: k, Limit: 1})
		if err != nil {
			return fmt.Errorf("looking for records: %w", err)
		}
		if len(items) > 0 {
			return corrupt("the key ring", errors.New("it is missing, and there are records that it sealed"))
		}
	}
	ring, err := seal.NewRing()
	if err != nil {
		return err
	}
	pub, err := proto.Marshal(&storagev1.RingPublic{StoreId: s.StoreID()})
	if err != nil {
		return err
	}
	sealed, err := ring.Marshal(key, recordAD(ringKey, 1, pub))
	if err != nil {
		return err
	}
	c := Change{Item: Item{Key: ringKey, Public: pub, Sealed: sealed}}
	if err := s.backend.Swap(ctx, []Change{c}, nil); err != nil {
		return fmt.Errorf("storing the key ring: %w", err)
	}
	s.ring = ring
	return nil
}
