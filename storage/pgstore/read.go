package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast-io/holdfast/storage"
)

// reading runs f, which only reads, on a connection; once more on another one if
// that connection has ended meanwhile.
func (s *Store) reading(ctx context.Context, doing string, f func(context.Context, *pgxpool.Conn) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	ctx, cancel := context.WithTimeout(ctx, s.opts.CallTimeout)
	defer cancel()
	var err error
	for range 1 + s.opts.MaxConns { // a restart of the server ends all of them
		if err = s.readOnce(ctx, f); err == nil || errors.Is(err, storage.ErrNotFound) {
			return err
		}
		if ctx.Err() != nil || !again(err) {
			break
		}
	}
	return unavailable(doing, err)
}

func (s *Store) readOnce(ctx context.Context, f func(context.Context, *pgxpool.Conn) error) error {
	conn, err := s.acquire(ctx, s.read)
	if err != nil {
		return err
	}
	defer conn.Release()
	err = f(ctx, conn)
	if errors.Is(err, pgx.ErrNoRows) {
		return storage.ErrNotFound
	}
	return unwritten(conn.Conn(), err)
}

// record is a row of columns.
type record struct {
	kind    int16
	id      string
	version int64
	public  []byte
	sealed  []byte
	due     *time.Time
	nanos   int16
}

const columns = "r.kind, r.id, r.version, r.public, r.sealed, r.due, r.due_nanos"

func (r *record) targets() []any {
	return []any{&r.kind, &r.id, &r.version, &r.public, &r.sealed, &r.due, &r.nanos}
}

func (r *record) item() storage.Item {
	it := storage.Item{
		Key: storage.Key{Kind: storage.Kind(r.kind), ID: r.id}, Version: storage.Version(r.version), Public: r.public, Sealed: r.sealed,
	}
	if r.due != nil {
		it.Due = r.due.Add(time.Duration(r.nanos)).UTC()
	}
	return it
}

// Get implements storage.Backend.
func (s *Store) Get(ctx context.Context, key storage.Key) (storage.Item, error) {
	if err := s.certain(ctx, key); err != nil {
		return storage.Item{}, err
	}
	var r record
	err := s.reading(ctx, "reading a record", func(ctx context.Context, c *pgxpool.Conn) error {
		const get = "SELECT " + columns + " FROM holdfast_record AS r WHERE r.kind = $1 AND r.id = $2"
		return c.QueryRow(ctx, get, int16(key.Kind), key.ID).Scan(r.targets()...)
	})
	if err != nil {
		return storage.Item{}, err
	}
	return r.item(), nil
}

// newestOf reads both in one round trip, and as they were at one moment.
const newestOf = "SELECT " + columns + `, j.seq, j.sealed FROM holdfast_record AS r
LEFT JOIN LATERAL (SELECT n.seq, n.sealed FROM holdfast_journal AS n WHERE n.grant_id = r.id ORDER BY n.seq DESC LIMIT 1) AS j ON true
WHERE r.kind = $1 AND r.id = $2`

// Newest implements storage.Snapshotter.
func (s *Store) Newest(ctx context.Context, grantID string) (storage.Item, []storage.Entry, error) {
	key := storage.Key{Kind: storage.KindGrant, ID: grantID}
	if err := s.certain(ctx, key); err != nil {
		return storage.Item{}, nil, err
	}
	var r record
	var seq *int64
	e := storage.Entry{GrantID: grantID}
	err := s.reading(ctx, "reading a grant and its journal", func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, newestOf, int16(key.Kind), key.ID).Scan(append(r.targets(), &seq, &e.Sealed)...)
	})
	if err != nil {
		return storage.Item{}, nil, err
	}
	if seq == nil {
		return r.item(), []storage.Entry{}, nil // as Events says it
	}
	e.Seq = uint64(*seq)
	return r.item(), []storage.Entry{e}, nil
}

const (
	listByID = "SELECT " + columns + " FROM holdfast_record AS r WHERE r.kind = $1 AND r.id > $2 ORDER BY r.id LIMIT $3"

	// The kind as a literal, for the partial index.
	listByDue = "SELECT " + columns + ` FROM holdfast_record AS r
WHERE r.kind = 1 AND r.due IS NOT NULL AND (r.due, r.due_nanos) < ($1::timestamptz, $2::smallint) ORDER BY r.due, r.due_nanos, r.id LIMIT $3`

	// The page goes on after the due time that the last record has now; if that has
	// gone from the index, it begins anew.
	listByDueAfter = "SELECT " + columns + ` FROM holdfast_record AS r
WHERE r.kind = 1 AND r.due IS NOT NULL AND (r.due, r.due_nanos) < ($1::timestamptz, $2::smallint)
AND (r.due, r.due_nanos, r.id) > ($4::timestamptz, $5::smallint, $6::text) ORDER BY r.due, r.due_nanos, r.id LIMIT $3`

	dueOf = `SELECT r.due, r.due_nanos FROM holdfast_record AS r
WHERE r.kind = 1 AND r.id = $3 AND r.due IS NOT NULL AND (r.due, r.due_nanos) < ($1::timestamptz, $2::smallint)`
)

// List implements storage.Backend.
func (s *Store) List(ctx context.Context, q storage.Query) (out []storage.Item, err error) {
	if q.Limit <= 0 {
		return nil, fmt.Errorf("a listing needs a limit above 0, not %d", q.Limit)
	}
	if !q.DueBefore.IsZero() && q.Kind != storage.KindGrant {
		return nil, errors.New("only grants have a due time")
	}
	if s.bare {
		return nil, nil
	}
	err = s.reading(ctx, "listing records", func(ctx context.Context, c *pgxpool.Conn) error {
		query, args, err := listQuery(ctx, c, q)
		if err != nil {
			return err
		}
		out, err = collect(ctx, c, query, args...)
		return err
	})
	return out, err
}

func listQuery(ctx context.Context, c *pgxpool.Conn, q storage.Query) (string, []any, error) {
	if q.DueBefore.IsZero() {
		return listByID, []any{int16(q.Kind), q.After, q.Limit}, nil
	}
	before := q.DueBefore.UTC()
	args := []any{before, belowMicro(before), q.Limit}
	if q.After == "" {
		return listByDue, args, nil
	}
	var due time.Time
	var nanos int16
	err := c.QueryRow(ctx, dueOf, before, belowMicro(before), q.After).Scan(&due, &nanos)
	if errors.Is(err, pgx.ErrNoRows) {
		return listByDue, args, nil
	}
	return listByDueAfter, append(args, due, nanos, q.After), err
}

// collect returns the records that a query finds.
func collect(ctx context.Context, c interface {
	Query(context.Context, string, ...any) (pgx.Rows, error)
}, query string, args ...any,
) ([]storage.Item, error) {
	found, err := c.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(found, func(row pgx.CollectableRow) (storage.Item, error) {
		var r record
		err := row.Scan(r.targets()...)
		return r.item(), err
	})
}

// Events implements storage.Backend.
func (s *Store) Events(ctx context.Context, grantID string, limit int) (out []storage.Entry, err error) {
	if err := s.certain(ctx, storage.Key{Kind: storage.KindGrant, ID: grantID}); err != nil {
		return nil, err
	}
	err = s.reading(ctx, "reading a journal", func(ctx context.Context, c *pgxpool.Conn) error {
		const events = "SELECT j.seq, j.sealed FROM holdfast_journal AS j WHERE j.grant_id = $1 ORDER BY j.seq DESC LIMIT $2"
		found, err := c.Query(ctx, events, grantID, min(max(limit, 0), storage.JournalLength))
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(found, func(row pgx.CollectableRow) (storage.Entry, error) {
			e := storage.Entry{GrantID: grantID}
			var seq int64
			err := row.Scan(&seq, &e.Sealed)
			e.Seq = uint64(seq)
			return e, err
		})
		return err
	})
	return out, err
}
