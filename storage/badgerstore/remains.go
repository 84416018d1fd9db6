package badgerstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/y"

	"github.com/holdfast-io/holdfast/storage"
)

// remains looks through the value logs for entries of records that are gone.
type remains struct {
	store *Store
	keys  *badger.KeyRegistry
	// gone are Badger's keys, until what time of Badger's they count.
	gone  map[string]bool
	until uint64
}

// newRemains is for what was stored under the keys by now.
func (s *Store) newRemains(gone []storage.Key) (*remains, error) {
	o := s.db.Opts()
	keys, err := badger.OpenKeyRegistry(badger.KeyRegistryOptions{
		Dir: s.data(), ReadOnly: true, EncryptionKey: o.EncryptionKey, EncryptionKeyRotationDuration: o.EncryptionKeyRotationDuration,
	})
	if err != nil {
		return nil, fmt.Errorf("reading the keys of the value log: %w", err)
	}
	r := &remains{store: s, keys: keys, gone: make(map[string]bool)}
	txn := s.db.NewTransaction(false)
	r.until = txn.ReadTs()
	txn.Discard()
	for _, k := range gone {
		r.gone[string(recordKey(k))] = true
		if k.Kind != storage.KindGrant {
			continue
		}
		r.gone[string(headKey(k.ID))] = true
		for seq := range uint64(storage.JournalLength) {
			r.gone[string(slotKey(k.ID, seq))] = true
		}
	}
	return r, nil
}

func (r *remains) close() { _ = r.keys.Close() } // only read

// any reports whether some value log still has an entry of them.
func (r *remains) any() (bool, error) {
	names, err := dataFiles(r.store.data())
	if err != nil {
		return true, err
	}
	for _, n := range valueLogs(names) {
		found, err := r.in(filepath.Join(r.store.data(), n))
		if errors.Is(err, os.ErrNotExist) {
			continue // collected meanwhile
		}
		if found || err != nil {
			return true, err
		}
	}
	return false, nil
}

// live reports that an entry is what its key stands for now: the record was made
// anew after it was deleted.
func (r *remains) live(key []byte) bool {
	live := false
	_ = r.store.db.View(func(txn *badger.Txn) error { // an error leaves it for dead
		it, err := txn.Get(y.ParseKey(key))
		live = err == nil && it.Version() == y.ParseTs(key)
		return err
	})
	return live
}

func (r *remains) in(name string) (bool, error) {
	f, err := os.Open(name)
	if err != nil {
		return true, err
	}
	defer func() { _ = f.Close() }() // only read
	var head [logHeaderLen]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return true, fmt.Errorf("reading %s: %w", name, err)
	}
	data, err := r.keys.DataKey(binary.BigEndian.Uint64(head[:8]))
	if err != nil {
		return true, fmt.Errorf("reading %s: %w", name, err)
	}
	found, bad := false, error(nil)
	_, err = walkEntries(name, func(offset int64, key []byte) {
		if data != nil {
			// An entry is encrypted under the file's IV and its own offset (Badger 4.9.6).
			iv := binary.BigEndian.AppendUint32(append([]byte{}, head[8:]...), uint32(offset))
			if err := y.XORBlock(key, key, data.GetData(), iv); err != nil {
				bad = err
				return
			}
		}
		if len(key) > 8 && y.ParseTs(key) <= r.until && r.gone[string(y.ParseKey(key))] && !r.live(key) {
			found = true
		}
	})
	return found, errors.Join(err, bad)
}
