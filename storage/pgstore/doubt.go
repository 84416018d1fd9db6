package pgstore

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-io/holdfast/storage"
)

// doubts are the records whose newest swap had an unknown outcome.
type doubts struct {
	mu sync.Mutex
	// keys by the number of the doubt, so that one which arises while another is
	// looked into stays; guarded by mu.
	keys map[storage.Key]uint64
	last uint64
}

func (d *doubts) add(m *member) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.keys == nil {
		d.keys = map[storage.Key]uint64{}
	}
	d.last++
	for _, k := range m.touches() {
		d.keys[k] = d.last
	}
}

func (d *doubts) about(k storage.Key) (number uint64, doubtful bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	number, doubtful = d.keys[k]
	return number, doubtful
}

func (d *doubts) end(k storage.Key, number uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.keys[k] == number {
		delete(d.keys, k)
	}
}

// certain waits until what is read of a record is final and durable, if its last
// swap from here ended unknown: until the transaction of that swap has ended, and
// a later one was committed.
func (s *Store) certain(ctx context.Context, k storage.Key) error {
	number, doubtful := s.doubts.about(k)
	if !doubtful {
		return nil
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	ctx, cancel := context.WithTimeout(ctx, s.opts.CallTimeout)
	defer cancel()
	err := s.transact(ctx, "finding out what became of a commit", func(ctx context.Context, tx pgx.Tx) error {
		return awaitWriter(ctx, tx, k)
	})
	if err == nil {
		s.doubts.end(k, number)
	}
	return onlyUnavailable(err)
}

// awaitWriter waits for the transaction that may be writing the record.
func awaitWriter(ctx context.Context, tx pgx.Tx, k storage.Key) error {
	// A record that is there was locked before anything was unknown about it.
	tag, err := tx.Exec(ctx, "SELECT FROM holdfast_record WHERE kind = $1 AND id = $2 FOR UPDATE", int16(k.Kind), k.ID)
	if err == nil && tag.RowsAffected() == 0 {
		// One that is being made can only be waited for with all others.
		err = excludeWriters(ctx, tx)
	}
	if err == nil {
		err = movePulse(ctx, tx)
	}
	return err
}

// movePulse writes a value, which the commit makes durable together with all before
// it. Swaps that were sent at once before, and come later, find it moved and fail.
// Within its transaction it comes last: the rows of records are locked before that
// of the store.
func movePulse(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, "UPDATE holdfast_store SET pulse = pulse + 1")
	return err
}
