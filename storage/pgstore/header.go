package pgstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast-io/holdfast/storage"
)

// Header implements storage.HeaderKeeper.
func (s *Store) Header(ctx context.Context) (header []byte, err error) {
	if s.bare {
		return nil, storage.ErrNotFound
	}
	err = s.reading(ctx, "reading the store's header", func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, "SELECT header FROM holdfast_store").Scan(&header)
	})
	if err == nil && header == nil {
		return nil, storage.ErrNotFound
	}
	return header, err
}

// SwapHeader implements storage.HeaderKeeper.
func (s *Store) SwapHeader(ctx context.Context, was, now []byte) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	return s.transact(ctx, "replacing the store's header", func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, "UPDATE holdfast_store SET header = $2 WHERE header IS NOT DISTINCT FROM $1::bytea", was, now)
		if err == nil && tag.RowsAffected() != 1 {
			err = fmt.Errorf("%w: the header was changed meanwhile", storage.ErrConflict)
		}
		return err
	})
}

var _ storage.Database = (*Store)(nil)

// Place returns where a store lies, for storage.Config. name is for people. With
// look nothing is migrated.
func Place(name string, o Options) *storage.DatabasePlace {
	return &storage.DatabasePlace{Name: name, Open: func(ctx context.Context, look bool) (storage.Database, error) {
		open := Open
		if look {
			open = Look
		}
		s, err := open(ctx, o)
		if err != nil {
			return nil, err // not a typed nil
		}
		return s, nil
	}}
}
