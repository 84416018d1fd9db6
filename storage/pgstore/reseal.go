package pgstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-io/holdfast/storage"
)

// lockAll excludes every transaction that writes records, of all replicas, and
// itself. All of them wait while it waits, so that it does not for long: one
// that hangs is ended by the server soon.
const (
	shortWait = "SET LOCAL lock_timeout = 1000"
	lockAll   = "LOCK TABLE holdfast_record IN SHARE ROW EXCLUSIVE MODE"
)

// excludeWriters returns when no other transaction that writes is under way.
func excludeWriters(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, shortWait); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, lockAll)
	return err
}

const (
	resealRecord = "UPDATE holdfast_record SET sealed = $4 WHERE kind = $1 AND id = $2 AND sealed = $3"
	resealEntry  = "UPDATE holdfast_journal SET sealed = $4 WHERE grant_id = $1 AND seq = $2 AND sealed = $3"
)

// Reseal implements storage.Backend. It holds the lock that excludes writers, so
// every swap that returned before, with whatever answer and on whatever replica,
// has ended: one that answered ErrUnknown held its own lock before it did.
func (s *Store) Reseal(ctx context.Context, list []storage.Reseal) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	return s.transact(ctx, "sealing anew", func(ctx context.Context, tx pgx.Tx) error {
		if err := excludeWriters(ctx, tx); err != nil {
			return err
		}
		for _, r := range list {
			query, args := resealRecord, []any{int16(r.Key.Kind), r.Key.ID, notNull(r.Was), notNull(r.Now)}
			if r.Seq != 0 {
				query, args = resealEntry, []any{r.Key.ID, int64(r.Seq), notNull(r.Was), notNull(r.Now)}
			}
			tag, err := tx.Exec(ctx, query, args...)
			if err != nil {
				return err
			}
			if tag.RowsAffected() != 1 {
				return fmt.Errorf("%w: record %s is not what was to be sealed anew", storage.ErrConflict, r.Key.ID)
			}
		}
		return movePulse(ctx, tx) // so that nothing happens any more that is still on its way
	})
}

// Load implements storage.Loader.
func (s *Store) Load(ctx context.Context, items []storage.Item, entries []storage.Entry) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	var w writes
	changes := make([]storage.Change, len(items))
	for i, it := range items {
		changes[i].Item = it
	}
	w.add(changes, entries, true)
	return s.transact(ctx, "loading records", func(ctx context.Context, tx pgx.Tx) error {
		if taken, err := anyOf(ctx, tx, &w.made); err != nil || taken != "" {
			return errors.Join(err, conflictOf(taken))
		}
		var b pgx.Batch
		w.queue(&b)
		return tx.SendBatch(ctx, &b).Close()
	})
}

// anyOf returns the id of a record that exists already; empty: none.
func anyOf(ctx context.Context, tx pgx.Tx, r *rows) (id string, err error) {
	err = tx.QueryRow(ctx, `SELECT r.id FROM unnest($1::smallint[], $2::text[]) AS k (kind, id)
JOIN holdfast_record AS r ON r.kind = k.kind AND r.id = k.id LIMIT 1`, r.kinds, r.ids).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	return id, err
}

func conflictOf(id string) error {
	if id == "" {
		return nil
	}
	return fmt.Errorf("%w: record %s exists already", storage.ErrConflict, id)
}
