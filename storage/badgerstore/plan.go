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

// planner checks one member against the transaction and the recent changes, and
// collects what it writes. Nothing is written before all of a member is known to
// apply, so that a conflict leaves no trace in a group's transaction.
type planner struct {
	txn    *badger.Txn
	recent *recent
	// changed are the grants that the member changes.
	changed map[string]newest
}

func (p *planner) plan(m *member) ([]write, error) {
	var writes []write
	seen := make(map[storage.Key]bool, len(m.changes))
	p.changed = make(map[string]newest, len(m.changes))
	for _, c := range m.changes {
		if seen[c.Item.Key] {
			return nil, fmt.Errorf("record %s is named twice in one swap; nothing was changed", c.Item.Key.ID)
		}
		seen[c.Item.Key] = true
		w, err := p.change(c, m.load)
		if err != nil {
			return nil, err
		}
		writes = append(writes, w...)
	}
	for _, r := range m.reseals {
		w, err := planReseal(p.txn, r)
		if err != nil {
			return nil, err
		}
		writes = append(writes, w)
	}
	w, err := p.entries(m.entries)
	return append(writes, w...), err
}

// old returns what is known of the record that a change replaces.
func (p *planner) old(k storage.Key) (newest, error) {
	if k.Kind == storage.KindGrant {
		return p.recent.of(p.txn, k.ID)
	}
	it, err := getRecord(p.txn, k)
	if errors.Is(err, storage.ErrNotFound) {
		return newest{}, nil
	}
	return newest{version: it.Version}, err
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

func (p *planner) change(c storage.Change, load bool) ([]write, error) {
	id, indexed := c.Item.Key.ID, c.Item.Key.Kind == storage.KindGrant
	old, err := p.old(c.Item.Key)
	if err != nil {
		return nil, err
	}
	if old.version != c.Old {
		return nil, fmt.Errorf("%w: record %s is at version %d, not %d", storage.ErrConflict, id, old.version, c.Old)
	}
	if c.Check {
		return nil, nil
	}
	var writes []write
	if indexed && !old.due.IsZero() {
		writes = append(writes, write{key: dueKey(old.due, id)})
	}
	key := recordKey(c.Item.Key)
	if c.Delete {
		writes = append(writes, write{key: key})
		if indexed {
			writes = append(writes, deleteJournal(id, old.head)...)
			p.changed[id] = newest{}
		}
		return writes, nil
	}
	it := c.Item
	if !load {
		it.Version = c.Next()
	}
	writes = append(writes, write{key, pack(key, encodeRecord(it))})
	if indexed && !it.Due.IsZero() {
		writes = append(writes, write{dueKey(it.Due, id), []byte{}})
	}
	if indexed {
		p.changed[id] = newest{version: it.Version, due: it.Due, head: old.head}
	}
	return writes, nil
}

func (p *planner) entries(entries []storage.Entry) ([]write, error) {
	heads := make(map[string]uint64)
	var writes []write
	for _, e := range entries {
		seq, known := heads[e.GrantID]
		if !known {
			old, err := p.recent.of(p.txn, e.GrantID)
			if err != nil {
				return nil, err
			}
			seq = old.head
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
		if err := p.numbered(id, seq); err != nil {
			return nil, err
		}
	}
	return writes, nil
}

// numbered notes the number of a grant's newest entry.
func (p *planner) numbered(id string, seq uint64) error {
	n, known := p.changed[id]
	if !known {
		var err error
		if n, err = p.recent.of(p.txn, id); err != nil {
			return err
		}
	}
	n.head = seq
	p.changed[id] = n
	return nil
}

// deleteJournal removes the journal of a deleted grant.
func deleteJournal(grantID string, last uint64) []write {
	if last == 0 {
		return nil
	}
	writes := []write{{key: headKey(grantID)}}
	for seq := last; seq > 0 && seq+storage.JournalLength > last; seq-- {
		writes = append(writes, write{key: slotKey(grantID, seq)})
	}
	return writes
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
