package storage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// A store in a database is started by many replicas, each with a witness of its
// own. What one may conclude:
//
//	missing           nothing: this is a new replica, or one on a new machine
//	of another store  that this file is not about this store, and nothing else: the
//	or damaged        replica does not start. The others vouch for the store, and
//	                  one leftover file must not quarantine the grants of all
//	starts since      nothing: others were started, or this one with another file
//	fewer starts      the database was put back to before a start that was durable
//	another start     it went on from before that start: the ids of the newest
//	of that number    starts are kept in the store for this
//	fewer commits     it was put back, unless it is in another history (Origin), as
//	                  after a fail-over: then the fence logs tell which grants lost
//	                  commits, and the others go on
//
// What no witness can tell is a copy of the database that replicas without
// witnesses are started on: they look like new replicas of the original.

// metaStarts holds the ids of the newest starts by their number, as JSON.
const metaStarts = "starts"

// mostStarts ids are kept.
const mostStarts = 64

// starts is the value of metaStarts.
func (p *past) starts() map[uint64]string {
	known := map[uint64]string{}
	_ = json.Unmarshal(p.ids.Value, &known) // it was sealed: nobody else wrote it
	return known
}

// addStart notes a start in the list of the newest ones.
func (p *past) addStart(number uint64, id string) error {
	known := p.starts()
	known[number] = id
	numbers := slices.Sorted(maps.Keys(known))
	for _, n := range numbers[:max(0, len(numbers)-mostStarts)] {
		delete(known, n)
	}
	var err error
	p.ids.Value, err = json.Marshal(known)
	return err
}

// origin is the history that the database is in; empty: it does not tell.
func (s *Store) origin(ctx context.Context) (string, error) {
	db, ok := s.backend.(FailsOver)
	if !ok {
		return "", nil
	}
	o, err := db.Origin(ctx)
	if err != nil || o == (Origin{}) {
		return "", err
	}
	return fmt.Sprintf("%s/%d", o.System, o.Timeline), nil
}

// compareShared returns what the witness of one replica says against a store in
// a database; an error if the file is not about it.
func compareShared(w witness, state witnessState, p *past, file string) (string, error) {
	const wayOut = "move the file away, and this one starts as a new replica; nothing was changed"
	switch state {
	case witnessMissing:
		return "", nil
	case witnessForeign:
		return "", fmt.Errorf("the witness %s is of another store, %.64s, that this replica belonged to: %s", file, w.StoreID, wayOut)
	case witnessDamaged:
		return "", fmt.Errorf("%w: the witness %s is damaged or was edited: %s", ErrCorrupt, file, wayOut)
	}
	number := p.number()
	id, known := p.starts()[w.Epoch]
	switch {
	case number < w.Epoch:
		return fmt.Sprintf("rolled back or restored from a snapshot: the store is at start %d, and a replica's witness saw start %d", number, w.Epoch), nil
	case w.Start != "" && known && id != w.Start:
		return fmt.Sprintf("rolled back and started again, or started elsewhere: the store's start %d is not the one that a replica's witness saw", w.Epoch), nil
	case w.Origin == p.origin && p.sequence < w.Sequence:
		return fmt.Sprintf("rolled back or restored from a snapshot: the store ends at commit %d, and a replica's witness saw commit %d", p.sequence, w.Sequence), nil
	}
	return "", nil
}

// startTries: replicas that start at once count their starts one after another.
const startTries = 32

// startShared is start's part that other replicas may come in between of.
func (s *Store) startShared(ctx context.Context) error {
	var err error
	for range startTries {
		if err = s.startOnce(ctx); !errors.Is(err, ErrConflict) && !errors.Is(err, ErrUnknown) {
			return err
		}
	}
	return err
}
