package pgstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast-io/holdfast/storage"
)

// Two ways to lock the rows of a group, in order of kind and id.
const (
	lockRows = `SELECT r.kind, r.id FROM unnest($1::smallint[], $2::text[]) AS k (kind, id)
JOIN holdfast_record AS r ON r.kind = k.kind AND r.id = k.id
ORDER BY r.kind, r.id FOR UPDATE OF r`
	// awaitBusy waits for the locks of others, skipBusy passes them over.
	awaitBusy = lockRows
	skipBusy  = lockRows + " SKIP LOCKED"
)

// seeVersions comes after the lock, as a statement of its own: it sees what the
// former holders of the locks committed.
const seeVersions = `SELECT r.kind, r.id, r.version FROM unnest($1::smallint[], $2::text[]) AS k (kind, id)
JOIN holdfast_record AS r ON r.kind = k.kind AND r.id = k.id`

const (
	// seePulse is for the next group, which may be sent at once.
	seePulse   = "SELECT pulse FROM holdfast_store"
	beginWrite = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
	// lockWriters is compatible with itself and excluded by lockAll.
	lockWriters = "LOCK TABLE holdfast_record IN ROW EXCLUSIVE MODE"
	// numberCommit also has the COMMIT that follows wait as long as it must: a
	// timeout there would let go of it before it is replicated, and call it done.
	numberCommit = "SELECT nextval('holdfast_commit'), set_config('statement_timeout', '0', true)"
)

// present is the state of the records that a group touches, under its locks.
type present struct {
	versions map[storage.Key]storage.Version
	locked   map[storage.Key]bool
	pulse    int64
}

// keyList are keys as columns, each once.
type keyList struct {
	kinds []int16
	ids   []string
	known map[storage.Key]bool
}

func (l *keyList) add(k storage.Key) {
	if l.known == nil {
		l.known = map[storage.Key]bool{}
	}
	if !l.known[k] {
		l.known[k] = true
		l.kinds, l.ids = append(l.kinds, int16(k.Kind)), append(l.ids, k.ID)
	}
}

// begin begins a group's transaction, in one round trip.
func begin(ctx context.Context, conn *pgxpool.Conn, group []*member, lock string) (present, error) {
	p := present{versions: map[storage.Key]storage.Version{}, locked: map[storage.Key]bool{}}
	var written, named keyList
	for _, m := range group {
		for _, c := range m.changes {
			if named.add(c.Item.Key); !c.Check {
				written.add(c.Item.Key)
			}
		}
	}
	var b pgx.Batch
	b.Queue(beginWrite)
	b.Queue(lockWriters)
	b.Queue(lock, written.kinds, written.ids).Query(func(rows pgx.Rows) error {
		var k storage.Key
		_, err := pgx.ForEachRow(rows, []any{&k.Kind, &k.ID}, func() error {
			p.locked[k] = true
			return nil
		})
		return err
	})
	b.Queue(seeVersions, named.kinds, named.ids).Query(func(rows pgx.Rows) error {
		var k storage.Key
		var v int64
		_, err := pgx.ForEachRow(rows, []any{&k.Kind, &k.ID, &v}, func() error {
			p.versions[k] = storage.Version(v)
			return nil
		})
		return err
	})
	b.Queue(seePulse).QueryRow(func(row pgx.Row) error { return row.Scan(&p.pulse) })
	err := conn.SendBatch(ctx, &b).Close()
	return p, err
}

// judge decides about each member of a group. Whoever conflicts with what is
// committed is answered; what conflicts only with another member's writing is
// judged again when that is committed, or is not.
func (p *present) judge(group []*member) (r round) {
	touched := map[storage.Key]bool{}
	for _, m := range group {
		switch fate, err := p.fate(m, touched); {
		case fate == fateConflict:
			m.done <- err
		case fate == fateLater:
			r.later = append(r.later, m)
		case fate == fateBusy:
			r.busy = append(r.busy, m)
		case m.stage.CompareAndSwap(waiting, writing):
			r.live = append(r.live, m)
			for _, k := range m.touches() {
				touched[k] = true
			}
		}
	}
	return r
}

type fate int

const (
	fateLive fate = iota
	fateConflict
	fateLater
	fateBusy
)

func (p *present) fate(m *member, touched map[storage.Key]bool) (fate, error) {
	for _, k := range m.touches() {
		if touched[k] {
			return fateLater, nil
		}
	}
	f := fateLive
	for _, c := range m.changes {
		k := c.Item.Key
		if touched[k] { // what is only checked
			return fateLater, nil
		}
		if have := p.versions[k]; have != c.Old {
			return fateConflict, fmt.Errorf("%w: record %s is at version %d, not %d", storage.ErrConflict, k.ID, have, c.Old)
		}
		if c.Old > 0 && !c.Check && !p.locked[k] {
			f = fateBusy
		}
	}
	return f, nil
}

// touches are the records and, as grants, the journals that a swap writes.
func (m *member) touches() []storage.Key {
	var keys []storage.Key
	for _, c := range m.changes {
		if !c.Check {
			keys = append(keys, c.Item.Key)
		}
	}
	for _, e := range m.entries {
		keys = append(keys, storage.Key{Kind: storage.KindGrant, ID: e.GrantID})
	}
	return keys
}

// valid finds what no database is asked for.
func (m *member) valid() error {
	seen := make(map[storage.Key]bool, len(m.changes))
	for _, c := range m.changes {
		if seen[c.Item.Key] {
			return fmt.Errorf("record %s is named twice in one swap; nothing was changed", c.Item.Key.ID)
		}
		seen[c.Item.Key] = true
	}
	return nil
}

// rollback ends a transaction that is not to be committed, or was begun only perhaps.
func rollback(conn *pgxpool.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), pingTimeout)
	defer cancel()
	c := conn.Conn()
	if !c.IsClosed() && c.PgConn().TxStatus() != 'I' {
		if _, err := c.Exec(ctx, "ROLLBACK"); err != nil {
			_ = c.Close(ctx) // the server rolls back what it finds open
		}
	}
}
