package badgerstore

import (
	"fmt"
	"log/slog"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
)

// Bare is Badger with the options of a Store and nothing around it: what a
// benchmark compares a Store with. It does not look for damage before it opens
// files, and leaves the notes of a Store untrue: use it on a directory whose
// records are of no value.
type Bare struct{ db *badger.DB }

// OpenBare opens Badger below dir, where a Store has its files.
func OpenBare(dir string, key []byte) (*Bare, error) {
	var o Options
	o.complete()
	db, err := badger.Open(o.badgerOptions(filepath.Join(dir, dataDir), key, &logger{log: slog.New(slog.DiscardHandler)}))
	if err != nil {
		return nil, fmt.Errorf("opening bare Badger: %w", err)
	}
	return &Bare{db}, nil
}

// Commit stores values in one synced transaction, without a look at what was there.
func (b *Bare) Commit(values map[string][]byte) error {
	return b.db.Update(func(txn *badger.Txn) error {
		for k, v := range values {
			if err := txn.Set([]byte(k), v); err != nil {
				return err
			}
		}
		return nil
	})
}

// Close closes Badger.
func (b *Bare) Close() error { return b.db.Close() }
