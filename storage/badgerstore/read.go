package badgerstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/holdfast-io/holdfast/storage"
)

// get returns a copy of a key's value without its checksum, or storage.ErrNotFound.
func get(txn *badger.Txn, key []byte) ([]byte, error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, storage.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	packed, err := item.ValueCopy(nil)
	if err != nil {
		return nil, err
	}
	return unpack(key, packed)
}

func getRecord(txn *badger.Txn, k storage.Key) (storage.Item, error) {
	b, err := get(txn, recordKey(k))
	if errors.Is(err, storage.ErrNotFound) {
		return storage.Item{}, err
	}
	var it storage.Item
	if err == nil {
		it, err = decodeRecord(k, b)
	}
	if err != nil {
		return storage.Item{}, damaged("record "+k.ID, err)
	}
	return it, nil
}

// damaged names what cannot be read; Badger's error names the file.
func damaged(what string, err error) error {
	return fmt.Errorf("%w: %s cannot be read: %w; %s", storage.ErrCorrupt, what, err, wayOut)
}

// view runs f on one consistent state of the store.
func (s *Store) view(ctx context.Context, f func(*badger.Txn) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	return s.db.View(f)
}

// Get implements storage.Backend.
func (s *Store) Get(ctx context.Context, key storage.Key) (it storage.Item, err error) {
	err = s.view(ctx, func(txn *badger.Txn) error {
		it, err = getRecord(txn, key)
		return err
	})
	return it, err
}

// Newest implements storage.Snapshotter. Each view waits for the commit under way,
// so that two of them take twice as long.
func (s *Store) Newest(ctx context.Context, grantID string) (it storage.Item, newest []storage.Entry, err error) {
	err = s.view(ctx, func(txn *badger.Txn) error {
		if it, err = getRecord(txn, storage.Key{Kind: storage.KindGrant, ID: grantID}); err != nil {
			return err
		}
		newest, err = entries(txn, grantID, 1)
		return err
	})
	return it, newest, err
}

// List implements storage.Backend. A record that cannot be read is listed with
// its key alone, so that one damaged record does not hide the others.
func (s *Store) List(ctx context.Context, q storage.Query) (out []storage.Item, err error) {
	if q.Limit <= 0 {
		return nil, fmt.Errorf("a listing needs a limit above 0, not %d", q.Limit)
	}
	err = s.view(ctx, func(txn *badger.Txn) error {
		if !q.DueBefore.IsZero() {
			out, err = s.listDue(txn, q)
		} else {
			out = s.listByID(txn, q)
		}
		return err
	})
	return out, err
}

func (s *Store) listByID(txn *badger.Txn, q storage.Query) []storage.Item {
	prefix := recordKey(storage.Key{Kind: q.Kind})
	var out []storage.Item
	for key := range keys(txn, prefix, recordKey(storage.Key{Kind: q.Kind, ID: q.After})) {
		id := string(key[len(prefix):])
		if id == q.After {
			continue
		}
		out = append(out, s.listed(txn, storage.Key{Kind: q.Kind, ID: id}))
		if len(out) == q.Limit {
			break
		}
	}
	return out
}

// listDue walks the due index. The page goes on after the due time that
// q.After has now; if that has gone from the index, it begins anew.
func (s *Store) listDue(txn *badger.Txn, q storage.Query) ([]storage.Item, error) {
	if q.Kind != storage.KindGrant {
		return nil, errors.New("only grants have a due time")
	}
	start := []byte{duePrefix}
	if q.After != "" {
		it, err := getRecord(txn, storage.Key{Kind: q.Kind, ID: q.After})
		if err != nil && !errors.Is(err, storage.ErrNotFound) && !errors.Is(err, storage.ErrCorrupt) {
			return nil, err
		}
		if err == nil && !it.Due.IsZero() && it.Due.Before(q.DueBefore) {
			start = append(dueKey(it.Due, q.After), 0)
		}
	}
	end := dueKey(q.DueBefore, "")
	var out []storage.Item
	for key := range keys(txn, []byte{duePrefix}, start) {
		if bytes.Compare(key, end) >= 0 {
			break
		}
		out = append(out, s.listed(txn, storage.Key{Kind: q.Kind, ID: string(key[dueKeyPrefixLen:])}))
		if len(out) == q.Limit {
			break
		}
	}
	return out, nil
}

func (s *Store) listed(txn *badger.Txn, k storage.Key) storage.Item {
	it, err := getRecord(txn, k)
	if err != nil {
		s.log.log.Error("a record cannot be read", "id", k.ID, "error", err)
		return storage.Item{Key: k}
	}
	return it
}

// keys yields the keys of a prefix from start on, in order.
func keys(txn *badger.Txn, prefix, start []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
		defer it.Close()
		for it.Seek(start); it.Valid(); it.Next() {
			if !yield(it.Item().KeyCopy(nil)) {
				return
			}
		}
	}
}

// Events implements storage.Backend.
func (s *Store) Events(ctx context.Context, grantID string, limit int) (out []storage.Entry, err error) {
	err = s.view(ctx, func(txn *badger.Txn) error {
		out, err = entries(txn, grantID, limit)
		return err
	})
	return out, err
}

func entries(txn *badger.Txn, grantID string, limit int) (out []storage.Entry, err error) {
	last, err := head(txn, grantID)
	if err != nil {
		return nil, err
	}
	n := min(uint64(max(limit, 0)), storage.JournalLength, last)
	for seq := last; seq > last-n; seq-- {
		e, err := entry(txn, grantID, seq)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// head returns the number of the newest journal entry; 0: there is none.
func head(txn *badger.Txn, grantID string) (uint64, error) {
	b, err := get(txn, headKey(grantID))
	if errors.Is(err, storage.ErrNotFound) {
		return 0, nil
	}
	if err == nil && len(b) != 8 {
		err = errDamaged
	}
	if err != nil {
		return 0, damaged("the journal of grant "+grantID, err)
	}
	return binary.BigEndian.Uint64(b), nil
}

func entry(txn *badger.Txn, grantID string, seq uint64) (storage.Entry, error) {
	b, err := get(txn, slotKey(grantID, seq))
	if err == nil && (len(b) < 8 || binary.BigEndian.Uint64(b) != seq) {
		err = errDamaged
	}
	if errors.Is(err, storage.ErrNotFound) {
		err = errDamaged // the head says that it is there
	}
	if err != nil {
		return storage.Entry{}, damaged(fmt.Sprintf("journal entry %d of grant %s", seq, grantID), err)
	}
	return storage.Entry{GrantID: grantID, Seq: seq, Sealed: b[8:]}, nil
}

var (
	_ storage.Backend     = (*Store)(nil)
	_ storage.Sequencer   = (*Store)(nil)
	_ storage.Snapshotter = (*Store)(nil)
)
