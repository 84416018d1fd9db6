package badgerstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/holdfast-io/holdfast/storage"
)

// write is one key to set, or to delete if value is nil.
type write struct{ key, value []byte }

// plan checks a member against the transaction and returns what it writes.
// Nothing is written before all of a member is known to apply, so that a
// conflict leaves no trace in a group's transaction.
func plan(txn *badger.Txn, m *member) ([]write, error) {
	var writes []write
	seen := make(map[storage.Key]bool, len(m.changes))
	for _, c := range m.changes {
		if seen[c.Item.Key] {
			return nil, fmt.Errorf("record %s is named twice in one swap; nothing was changed", c.Item.Key.ID)
		}
		seen[c.Item.Key] = true
		w, err := planChange(txn, c, m.load)
		if err != nil {
			return nil, err
		}
		writes = append(writes, w...)
	}
	for _, r := range m.reseals {
		w, err := planReseal(txn, r)
		if err != nil {
			return nil, err
		}
		writes = append(writes, w)
	}
	w, err := planEntries(txn, m.entries)
	return append(writes, w...), err
}

// planReseal replaces sealed bytes and leaves version, index and number as they are.
func planReseal(txn *badger.Txn, r storage.Reseal) (write, error) {
	gone := fmt.Errorf("%w: record %s is not what was to be sealed anew", storage.ErrConflict, r.Key.ID)
	if r.Seq == 0 {
		it, err := getRecord(txn, r.Key)
		if errors.Is(err, storage.ErrNotFound) || err == nil && !bytes.Equal(it.Sealed, r.Was) {
			return write{}, gone
		}
		it.Sealed = r.Now
		key := recordKey(r.Key)
		return write{key, pack(key, encodeRecord(it))}, err
	}
	last, err := head(txn, r.Key.ID)
	if err != nil {
		return write{}, err
	}
	if r.Seq > last || r.Seq+storage.JournalLength <= last {
		return write{}, gone
	}
	e, err := entry(txn, r.Key.ID, r.Seq)
	if err != nil {
		return write{}, err
	}
	if !bytes.Equal(e.Sealed, r.Was) {
		return write{}, gone
	}
	k := slotKey(r.Key.ID, r.Seq)
	return write{k, pack(k, append(binary.BigEndian.AppendUint64(nil, r.Seq), r.Now...))}, nil
}

func planChange(txn *badger.Txn, c storage.Change, load bool) ([]write, error) {
	// Blind writes do not conflict in Badger: the record must be read.
	old, err := getRecord(txn, c.Item.Key)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return nil, err
	}
	if old.Version != c.Old {
		return nil, fmt.Errorf("%w: record %s is at version %d, not %d", storage.ErrConflict, c.Item.Key.ID, old.Version, c.Old)
	}
	if c.Check {
		return nil, nil
	}
	indexed := c.Item.Key.Kind == storage.KindGrant
	var writes []write
	if indexed && !old.Due.IsZero() {
		writes = append(writes, write{key: dueKey(old.Due, c.Item.Key.ID)})
	}
	key := recordKey(c.Item.Key)
	if c.Delete {
		writes = append(writes, write{key: key})
		if indexed {
			w, err := planJournalDelete(txn, c.Item.Key.ID)
			return append(writes, w...), err
		}
		return writes, nil
	}
	it := c.Item
	if !load {
		it.Version = c.Next()
	}
	writes = append(writes, write{key, pack(key, encodeRecord(it))})
	if indexed && !it.Due.IsZero() {
		writes = append(writes, write{dueKey(it.Due, it.Key.ID), []byte{}})
	}
	return writes, nil
}

func planEntries(txn *badger.Txn, entries []storage.Entry) ([]write, error) {
	heads := make(map[string]uint64)
	var writes []write
	for _, e := range entries {
		seq, known := heads[e.GrantID]
		if !known {
			var err error
			if seq, err = head(txn, e.GrantID); err != nil {
				return nil, err
			}
		}
		seq++
		heads[e.GrantID] = seq
		k := slotKey(e.GrantID, seq)
		v := append(binary.BigEndian.AppendUint64(nil, seq), e.Sealed...)
		writes = append(writes, write{k, pack(k, v)})
	}
	for id, seq := range heads {
		k := headKey(id)
		writes = append(writes, write{k, pack(k, binary.BigEndian.AppendUint64(nil, seq))})
	}
	return writes, nil
}

// planJournalDelete removes the journal of a deleted grant.
func planJournalDelete(txn *badger.Txn, grantID string) ([]write, error) {
	last, err := head(txn, grantID)
	if err != nil || last == 0 {
		return nil, err
	}
	writes := []write{{key: headKey(grantID)}}
	for seq := last; seq > 0 && seq+storage.JournalLength > last; seq-- {
		writes = append(writes, write{key: slotKey(grantID, seq)})
	}
	return writes, nil
}

func apply(txn *badger.Txn, writes []write) error {
	for _, w := range writes {
		var err error
		if w.value == nil {
			err = txn.Delete(w.key)
		} else {
			err = txn.Set(w.key, w.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
