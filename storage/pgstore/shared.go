package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast-io/holdfast/storage"
)

// Now implements storage.Shared by the clock of the server, not that of a transaction.
func (s *Store) Now(ctx context.Context) (now time.Time, err error) {
	err = s.reading(ctx, "asking the database for the time", func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now)
	})
	return now.UTC(), err
}

const versionsOf = `SELECT coalesce(r.version, 0), clock_timestamp() FROM unnest($1::smallint[], $2::text[]) WITH ORDINALITY AS k (kind, id, place)
LEFT JOIN holdfast_record AS r ON r.kind = k.kind AND r.id = k.id ORDER BY k.place`

// Versions implements storage.Shared by one query.
func (s *Store) Versions(ctx context.Context, keys []storage.Key) ([]storage.Version, time.Time, error) {
	if len(keys) == 0 {
		now, err := s.Now(ctx)
		return nil, now, err
	}
	kinds, ids := make([]int16, len(keys)), make([]string, len(keys))
	for i, k := range keys {
		kinds[i], ids[i] = int16(k.Kind), k.ID
	}
	var out []storage.Version
	var now time.Time
	err := s.reading(ctx, "reading versions", func(ctx context.Context, c *pgxpool.Conn) error {
		found, err := c.Query(ctx, versionsOf, kinds, ids)
		if err != nil {
			return err
		}
		out = make([]storage.Version, 0, len(keys))
		var v int64
		_, err = pgx.ForEachRow(found, []any{&v, &now}, func() error {
			out = append(out, storage.Version(v))
			return nil
		})
		return err
	})
	return out, now.UTC(), err
}

// claimDue passes over what another replica is claiming or changing right now.
const claimDue = `WITH found AS (
    SELECT r.id FROM holdfast_record AS r
    WHERE r.kind = 1 AND r.due IS NOT NULL
    AND (r.due, r.due_nanos) >= ($1::timestamptz, $2::smallint) AND (r.due, r.due_nanos) < ($3::timestamptz, $4::smallint)
    AND (r.claimed_until IS NULL OR r.claimed_until <= clock_timestamp())
    ORDER BY r.due, r.due_nanos, r.id LIMIT $5 FOR UPDATE SKIP LOCKED
), r AS (
    UPDATE holdfast_record AS c SET claimed_until = clock_timestamp() + $6::interval
    FROM found WHERE c.kind = 1 AND c.id = found.id
    RETURNING c.kind, c.id, c.version, c.public, c.sealed, c.due, c.due_nanos
) SELECT ` + columns + ` FROM r ORDER BY r.due, r.due_nanos, r.id`

// beginningOfTime is before whatever is due.
var beginningOfTime = time.Date(-4000, 1, 1, 0, 0, 0, 0, time.UTC)

// Claim implements storage.Shared. A crash of the server may forget a claim: it
// does not wait for the disk.
func (s *Store) Claim(ctx context.Context, due storage.Span, hold time.Duration, limit int) (out []storage.Item, err error) {
	if limit <= 0 {
		return nil, fmt.Errorf("a claim needs a limit above 0, not %d", limit)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	from, before := due.From.UTC(), due.Before.UTC()
	if due.From.IsZero() {
		from = beginningOfTime
	}
	err = s.transact(ctx, "claiming what is due", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL synchronous_commit = off"); err != nil {
			return err
		}
		out, err = collect(ctx, tx, claimDue, from, belowMicro(from), before, belowMicro(before), limit, hold)
		return err
	})
	if err != nil {
		return nil, unavailable("claiming what is due", err) // unknown too: claims that nobody works on end by themselves
	}
	return out, nil
}
