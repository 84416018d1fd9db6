package storage

import (
	"context"
	"fmt"

	storagev1 "github.com/holdfast-io/holdfast/proto/holdfast/storage/v1"
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
	err := s.swapSealed(ctx, func() (changes []Change, _ []Entry, err error) {
		for _, m := range metas {
			c, err := s.sealMeta(m)
			if err != nil {
				return nil, nil, err
			}
			changes = append(changes, c)
		}
		return changes, nil, nil
	})
	if err != nil {
		return fmt.Errorf("storing the store's value %q: %w", metas[0].Name, err)
	}
	for _, m := range metas {
		m.Version++
	}
	return nil
}

func (s *Store) sealMeta(m *Meta) (Change, error) {
	return s.sealChange(Key{KindMeta, m.Name}, m.Version, &storagev1.MetaPublic{Name: m.Name}, &storagev1.MetaSecret{Value: m.Value})
}
