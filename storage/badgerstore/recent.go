package badgerstore

import (
	"errors"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/holdfast-io/holdfast/storage"
)

// mostRecent grants are remembered: about 3 MiB, once so many were changed.
const mostRecent = 16384

// newest is what the committer must know of a grant to change it.
type newest struct {
	version storage.Version
	due     time.Time
	// head is the number of the newest journal entry.
	head uint64
}

// recent remembers the newest of grants that were changed lately, so that a
// change need not read the record that it replaces from the value log: a grant
// whose attempt is announced is settled a moment later. What it says is what
// Badger would say, since nobody but the committer changes these keys, and
// after a commit that failed the store is not used any more. It belongs to
// the committer.
type recent struct {
	grants map[string]newest
	// group is what the group under way changes; it counts once that is committed.
	group map[string]newest
}

func newRecent() recent {
	return recent{grants: make(map[string]newest), group: make(map[string]newest)}
}

// of returns the newest of a grant, the group's own changes included; version 0
// is a grant that there is not.
func (r *recent) of(txn *badger.Txn, id string) (newest, error) {
	if n, ok := r.group[id]; ok {
		return n, nil
	}
	if n, ok := r.grants[id]; ok {
		return n, nil
	}
	old, err := getRecord(txn, storage.Key{Kind: storage.KindGrant, ID: id})
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return newest{}, err
	}
	last, err := head(txn, id)
	return newest{version: old.Version, due: old.Due, head: last}, err
}

// begin forgets what an earlier group would have changed.
func (r *recent) begin() { clear(r.group) }

// changed notes what a member of the group changes.
func (r *recent) changed(of map[string]newest) {
	for id, n := range of {
		r.group[id] = n
	}
}

// committed makes the group's changes count.
func (r *recent) committed() {
	for id, n := range r.group {
		if _, known := r.grants[id]; !known && len(r.grants) >= mostRecent {
			for some := range r.grants {
				delete(r.grants, some)
				break
			}
		}
		r.grants[id] = n
	}
}
