package memstore

import (
	"bytes"
	"context"
	"fmt"

	"github.com/holdfast-io/holdfast/storage"
)

// Place returns where a store lies that several replicas have in s at once. Each
// opens a view of its own, so that one which closes does not close the others.
func (s *Store) Place() *storage.DatabasePlace {
	return &storage.DatabasePlace{Name: "memory", Open: func(context.Context, bool) (storage.Database, error) { return view{s}, nil }}
}

// view is what one replica has of a Store.
type view struct{ *Store }

// Close implements storage.Backend.
func (view) Close() error { return nil }

// Header implements storage.HeaderKeeper.
func (s *Store) Header(ctx context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	if s.live.header == nil {
		return nil, storage.ErrNotFound
	}
	return bytes.Clone(s.live.header), nil
}

// SwapHeader implements storage.HeaderKeeper.
func (s *Store) SwapHeader(ctx context.Context, was, now []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return err
	}
	if !bytes.Equal(s.live.header, was) || (s.live.header == nil) != (was == nil) {
		return fmt.Errorf("%w: the header was changed meanwhile", storage.ErrConflict)
	}
	next := s.live.clone()
	next.header = bytes.Clone(now)
	return s.commit(next, nil)
}

var _ storage.Database = (*Store)(nil)
