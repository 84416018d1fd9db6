package pgstore

import (
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-io/holdfast/storage"
)

// rows are records as the columns of arrays.
type rows struct {
	kinds    []int16
	ids      []string
	versions []int64
	public   [][]byte
	sealed   [][]byte
	due      []*time.Time
	nanos    []int16
}

func (r *rows) add(it *storage.Item) {
	r.kinds, r.ids, r.versions = append(r.kinds, int16(it.Key.Kind)), append(r.ids, it.Key.ID), append(r.versions, int64(it.Version))
	r.public, r.sealed = append(r.public, notNull(it.Public)), append(r.sealed, notNull(it.Sealed))
	if it.Due.IsZero() {
		r.due, r.nanos = append(r.due, nil), append(r.nanos, 0)
		return
	}
	due := it.Due.UTC()
	r.due, r.nanos = append(r.due, &due), append(r.nanos, belowMicro(due))
}

func (r *rows) args() []any {
	return []any{r.kinds, r.ids, r.versions, r.public, r.sealed, r.due, r.nanos}
}

// notNull: to PostgreSQL a nil slice is no empty one.
func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// belowMicro are the nanoseconds that a timestamp of PostgreSQL does not hold.
func belowMicro(t time.Time) int16 { return int16(t.Nanosecond() % 1000) }

// writes are what a transaction writes, its locks held.
type writes struct {
	made, changed, deleted rows
	// journals that end with their grant.
	ended []string
	// entries, with their place in what is appended to their journal.
	grants []string
	places []int64
	sealed [][]byte
	// journals that grow, each once.
	grown map[string]int64
}

func (w *writes) add(changes []storage.Change, entries []storage.Entry, load bool) {
	for i := range changes {
		c := &changes[i]
		it := c.Item
		if !load {
			it.Version = c.Next()
		}
		switch {
		case c.Check:
		case c.Delete:
			w.deleted.add(&it)
			if it.Key.Kind == storage.KindGrant {
				w.ended = append(w.ended, it.Key.ID)
			}
		case c.Old == 0:
			w.made.add(&it)
		default:
			w.changed.add(&it)
		}
	}
	if w.grown == nil {
		w.grown = map[string]int64{}
	}
	for _, e := range entries {
		w.grown[e.GrantID]++
		w.grants, w.places, w.sealed = append(w.grants, e.GrantID), append(w.places, w.grown[e.GrantID]), append(w.sealed, notNull(e.Sealed))
	}
}

const (
	deleteRecords = `DELETE FROM holdfast_record AS r USING unnest($1::smallint[], $2::text[]) AS k (kind, id)
WHERE r.kind = k.kind AND r.id = k.id`

	deleteJournals = `DELETE FROM holdfast_journal WHERE grant_id = ANY ($1::text[])`

	changeRecords = `UPDATE holdfast_record AS r
SET version = k.version, public = k.public, sealed = k.sealed, due = k.due, due_nanos = k.due_nanos, claimed_until = NULL
FROM unnest($1::smallint[], $2::text[], $3::bigint[], $4::bytea[], $5::bytea[], $6::timestamptz[], $7::smallint[])
    AS k (kind, id, version, public, sealed, due, due_nanos)
WHERE r.kind = k.kind AND r.id = k.id`

	makeRecords = `INSERT INTO holdfast_record (kind, id, version, public, sealed, due, due_nanos)
SELECT k.kind, k.id, k.version, k.public, k.sealed, k.due, k.due_nanos
FROM unnest($1::smallint[], $2::text[], $3::bigint[], $4::bytea[], $5::bytea[], $6::timestamptz[], $7::smallint[])
    AS k (kind, id, version, public, sealed, due, due_nanos)
ORDER BY k.kind, k.id`

	appendEntries = `INSERT INTO holdfast_journal (grant_id, seq, sealed)
SELECT e.grant_id, coalesce((SELECT j.seq FROM holdfast_journal AS j WHERE j.grant_id = e.grant_id ORDER BY j.seq DESC LIMIT 1), 0) + e.place, e.sealed
FROM unnest($1::text[], $2::bigint[], $3::bytea[]) AS e (grant_id, place, sealed)
ORDER BY e.grant_id, e.place`

	trimJournals = `DELETE FROM holdfast_journal AS j USING unnest($1::text[]) AS g (id)
WHERE j.grant_id = g.id AND j.seq <= (SELECT n.seq FROM holdfast_journal AS n WHERE n.grant_id = g.id ORDER BY n.seq DESC LIMIT 1) - $2::bigint`
)

// queue puts the statements into a batch.
func (w *writes) queue(b *pgx.Batch) {
	if len(w.deleted.ids) > 0 {
		b.Queue(deleteRecords, w.deleted.kinds, w.deleted.ids)
	}
	if len(w.ended) > 0 {
		b.Queue(deleteJournals, w.ended)
	}
	if len(w.changed.ids) > 0 {
		b.Queue(changeRecords, w.changed.args()...)
	}
	if len(w.made.ids) > 0 {
		b.Queue(makeRecords, w.made.args()...)
	}
	if len(w.grants) > 0 {
		grown := make([]string, 0, len(w.grown))
		for id := range w.grown {
			grown = append(grown, id)
		}
		b.Queue(appendEntries, w.grants, w.places, w.sealed)
		b.Queue(trimJournals, grown, storage.JournalLength)
	}
}
