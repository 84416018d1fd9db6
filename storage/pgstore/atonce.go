package pgstore

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast-io/holdfast/broker/crashpoint"
	"github.com/holdfast-io/holdfast/storage"
)

// A group that only changes records is sent at once, with its COMMIT: see the
// package. Each of its two statements fails on the server if something is not as
// the members want it, and the server then ignores the COMMIT. What makes them
// fail is the cast of a sentence to a number, which the server's log shows.

// changeAtOnce writes the group, if every record that it changes is there at its
// old version and nobody else holds it locked. The journals come last: an entry
// would wait for somebody who is appending another in its place, and nobody is
// to a grant whose record is locked here.
const changeAtOnce = `WITH locked AS MATERIALIZED (
    SELECT k.* FROM unnest($1::smallint[], $2::text[], $3::bigint[], $4::bytea[], $5::bytea[], $6::timestamptz[], $7::smallint[], $8::bigint[])
        AS k (kind, id, version, public, sealed, due, due_nanos, old)
    JOIN holdfast_record AS r ON r.kind = k.kind AND r.id = k.id
    ORDER BY r.kind, r.id FOR UPDATE OF r SKIP LOCKED
), changed AS (
    UPDATE holdfast_record AS r
    SET version = k.version, public = k.public, sealed = k.sealed, due = k.due, due_nanos = k.due_nanos, claimed_until = NULL
    FROM locked AS k WHERE r.kind = k.kind AND r.id = k.id AND r.version = k.old RETURNING r.id
), allowed AS MATERIALIZED (
    SELECT (CASE WHEN count(*) = $9::bigint THEN '1' ELSE 'a swap found ' || count(*) || ' of ' || $9::bigint || ' records as it needs them, and is judged anew' END)::int AS one
    FROM changed
), grown AS (
    INSERT INTO holdfast_journal (grant_id, seq, sealed)
    SELECT e.grant_id, coalesce((SELECT j.seq FROM holdfast_journal AS j WHERE j.grant_id = e.grant_id ORDER BY j.seq DESC LIMIT 1), 0) + e.place, e.sealed
    FROM unnest($10::text[], $11::bigint[], $12::bytea[]) AS e (grant_id, place, sealed)
    WHERE (SELECT one FROM allowed) = 1
    RETURNING grant_id, seq
), trimmed AS (
    DELETE FROM holdfast_journal AS j USING (SELECT grant_id, max(seq) AS seq FROM grown GROUP BY grant_id) AS g
    WHERE j.grant_id = g.grant_id AND j.seq <= g.seq - $13::bigint
) SELECT one FROM allowed`

// numberAtOnce is numberCommit, if the records that are only checked are at their
// versions, and the pulse is what it was. It comes after the locks, as a statement
// of its own: it sees what the former holders of the locks committed.
const numberAtOnce = `SELECT (CASE
WHEN (SELECT pulse FROM holdfast_store) = $1::bigint
AND (SELECT count(*) FROM unnest($2::smallint[], $3::text[], $4::bigint[]) AS k (kind, id, version)
    JOIN holdfast_record AS r ON r.kind = k.kind AND r.id = k.id AND r.version = k.version) = $5::bigint
THEN nextval('holdfast_commit')::text ELSE 'a swap came late or found a record at another version, and is judged anew' || $5::bigint END)::bigint,
set_config('statement_timeout', '0', true)`

// invalidText is the state of a cast that fails.
const invalidText = "22P02"

// pulse is a number that was committed in the store's row. In another history it
// may have been another one.
type pulse struct {
	origin storage.Origin
	number int64
}

// sawPulse keeps what the next group is sent at once with. One that is older than
// what another group saw meanwhile only costs a round trip.
func (s *Store) sawPulse(conn *pgxpool.Conn, number int64) {
	s.lastPulse.Store(&pulse{originAt(conn), number})
}

// knownPulse returns it, if the connection is to the history that it is of.
func (s *Store) knownPulse(conn *pgxpool.Conn) (number int64, known bool) {
	p := s.lastPulse.Load()
	if p == nil || p.origin != originAt(conn) {
		return 0, false
	}
	return p.number, true
}

// atOnce is a group on its way in one round trip.
type atOnce struct {
	writes writes
	olds   []int64
	// checked are records that are not written, with the versions that they must have.
	checked  keyList
	versions []int64
	pulse    int64
}

// onlyChanges returns a group as what can be sent at once; false if it is more than
// changes of different records, that are there.
func onlyChanges(group []*member) (a atOnce, ok bool) {
	changed, checked := map[storage.Key]bool{}, map[storage.Key]storage.Version{}
	for _, m := range group {
		for _, c := range m.changes {
			k := c.Item.Key
			if c.Old == 0 || c.Delete || changed[k] {
				return a, false
			}
			if !c.Check {
				changed[k] = true
				a.olds = append(a.olds, int64(c.Old))
				continue
			}
			if v, twice := checked[k]; twice && v != c.Old {
				return a, false
			} else if !twice {
				checked[k] = c.Old
				a.checked.add(k)
				a.versions = append(a.versions, int64(c.Old))
			}
		}
		// Whoever appends to a journal must hold the lock of its grant.
		for _, e := range m.entries {
			if !m.writes(storage.Key{Kind: storage.KindGrant, ID: e.GrantID}) {
				return a, false
			}
		}
		a.writes.add(m.changes, m.entries, false)
	}
	for k := range checked {
		if changed[k] {
			return a, false
		}
	}
	return a, len(a.olds) > 0
}

func (m *member) writes(k storage.Key) bool {
	return slices.ContainsFunc(m.changes, func(c storage.Change) bool { return c.Item.Key == k && !c.Check })
}

func (a *atOnce) queue(b *pgx.Batch) {
	b.Queue(beginWrite)
	b.Queue(changeAtOnce, append(a.writes.changed.args(), a.olds, len(a.olds),
		a.writes.grants, a.writes.places, a.writes.sealed, storage.JournalLength)...)
	b.Queue(numberAtOnce, a.pulse, a.checked.kinds, a.checked.ids, a.versions, len(a.versions))
	b.Queue("COMMIT")
}

// commitAtOnce tries to commit a group in one round trip. It returns the members
// that are left to be judged; none: r and the error are what commitOnce returns.
func (s *Store) commitAtOnce(ctx context.Context, conn *pgxpool.Conn, group []*member) (left []*member, r round, err error) {
	number, known := s.knownPulse(conn)
	if _, ok := onlyChanges(group); !ok || !known {
		return group, r, nil
	}
	for _, m := range group {
		if m.stage.CompareAndSwap(waiting, writing) {
			r.live = append(r.live, m)
		}
	}
	if len(r.live) == 0 {
		return nil, r, nil
	}
	a, _ := onlyChanges(r.live)
	a.pulse = number
	var b pgx.Batch
	a.queue(&b)
	crashpoint.At(crashpoint.CommitUnsynced)
	if err = s.sendCommit(ctx, conn, &b); err == nil {
		crashpoint.At(crashpoint.CommitSynced)
		return nil, r, nil
	}
	rollback(conn)
	if errors.Is(err, storage.ErrUnknown) {
		return nil, r, err
	}
	if state(err) == invalidText && !conn.Conn().IsClosed() {
		return stillWanted(r.live), round{}, nil
	}
	return nil, r, unwritten(conn.Conn(), err)
}
