package badgerstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/holdfast-io/holdfast/storage"
)

// Badger deletes a value in three steps, each in its own time: a compaction
// notices that the key is gone, the value log's collection finds enough garbage
// in a file that is no longer written to, and rewrites it. Collect makes all of
// that happen at once, and looks into the files afterwards.

const (
	// mostIndex is the size of the tree, in bytes, above which it is not compacted
	// as a whole at somebody's wish: that would take the disk from everybody.
	mostIndex = 1 << 30
	// anyGarbage of a value log makes it worth rewriting for a collection.
	anyGarbage = 1e-9
	// collectRounds: what a compaction of Badger's own was at work on is
	// compacted by the next round.
	collectRounds = 4
	// flushLooks at the memory tables are made, flushPause apart: 30 s.
	flushLooks = 600
	flushPause = 50 * time.Millisecond
)

// fillerPrefix is of keys that only push others out of a file. It has none
// between two collections.
const fillerPrefix = 'x'

// collection is a wish on its way to the one goroutine that rewrites files.
type collection struct {
	gone []storage.Key
	done chan collected // never blocks
}

type collected struct {
	all bool
	err error
}

// Collect implements storage.Collector. It needs free space of a few value logs.
func (s *Store) Collect(ctx context.Context, gone []storage.Key) (bool, error) {
	if err := s.enter(); err != nil {
		return false, err
	}
	s.leave() // not held while waiting: Close must not wait for a collection
	c := &collection{gone: gone, done: make(chan collected, 1)}
	closed := fmt.Errorf("%w: the store is closed", storage.ErrUnavailable)
	select {
	case s.collections <- c:
	case <-s.stop:
		return false, closed
	case <-ctx.Done():
		return false, ctx.Err()
	}
	select {
	case r := <-c.done:
		return r.all, r.err
	case <-s.stop:
		return false, closed
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// collectGone is run by the goroutine that collects, and by no other.
func (s *Store) collectGone(gone []storage.Key) (bool, error) {
	if err := s.checkLogs(); err != nil {
		return false, err
	}
	if err := s.checkSpace(s.opts.MinFree + 3*uint64(s.opts.valueLogSize)); err != nil {
		return false, err
	}
	if index, _ := s.db.Size(); index > mostIndex {
		return false, nil
	}
	left, err := s.newRemains(gone)
	if err != nil {
		return false, err
	}
	defer left.close()
	for range collectRounds {
		if err := s.flushed(s.turnOver); err != nil {
			return false, fmt.Errorf("collecting: %w", err)
		}
		if err := s.db.Flatten(1); err != nil {
			return false, fmt.Errorf("collecting: compacting: %w", err)
		}
		s.rewrite(anyGarbage)
		if found, err := left.any(); err != nil || !found {
			return err == nil, err
		}
	}
	return false, nil
}

// flushed runs f and waits until every memory table from before it has become a
// table of the tree: compacted earlier, the tree would not know yet what is
// deleted, and the collection would carry it over.
func (s *Store) flushed(f func() error) error {
	before, err := dataFiles(s.data())
	if err == nil {
		err = f()
	}
	if err != nil {
		return err
	}
	before = slices.DeleteFunc(before, func(name string) bool { return !strings.HasSuffix(name, writeLogSuffix) })
	for range flushLooks {
		now, err := dataFiles(s.data())
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(before, func(name string) bool { return slices.Contains(now, name) }) {
			return nil
		}
		select {
		case <-time.After(flushPause):
		case <-s.stop:
			return fmt.Errorf("%w: the store is being closed", storage.ErrUnavailable)
		}
	}
	return errors.New("a memory table is not written to its file")
}

// turnOver has Badger begin a new value log and a new memory table, by writing
// until it does: it offers no other way without closing it.
func (s *Store) turnOver() error {
	newest := func() (string, error) {
		names, err := dataFiles(s.data())
		logs := valueLogs(names)
		if err == nil && len(logs) == 0 {
			err = errors.New("there is no value log")
		}
		if err != nil {
			return "", err
		}
		return logs[len(logs)-1], nil
	}
	was, err := newest()
	if err != nil {
		return err
	}
	value := make([]byte, min(1<<20, s.opts.valueLogSize/4))
	now := was
	for written := int64(0); now == was && written <= 2*s.opts.valueLogSize; written += int64(len(value)) {
		if err := s.fill(setFiller([]byte{fillerPrefix}, value)); err != nil {
			return err
		}
		if now, err = newest(); err != nil {
			return err
		}
	}
	// Keys lie in the tree: a memory table of them is full soon.
	size := min(60_000, s.opts.memTableSize/32)
	count := 2 + s.opts.memTableSize/size
	key := func(i int64) []byte {
		k := binary.BigEndian.AppendUint64([]byte{fillerPrefix}, uint64(i))
		return append(k, make([]byte, size)...)
	}
	for i := int64(0); i < count; i += 2 {
		if err := s.fill(setFiller(key(i), nil), setFiller(key(i+1), nil)); err != nil {
			return err
		}
	}
	for i := int64(0); i < count; i += 2 {
		if err := s.fill(deleteFiller(key(i)), deleteFiller(key(i+1))); err != nil {
			return err
		}
	}
	return s.fill(deleteFiller([]byte{fillerPrefix}))
}

// setFiller packs what it writes, as all values are: one that a crash leaves
// behind must not look damaged.
func setFiller(key, value []byte) func(*badger.Txn) error {
	return func(txn *badger.Txn) error { return txn.Set(key, pack(key, value)) }
}

func deleteFiller(key []byte) func(*badger.Txn) error {
	return func(txn *badger.Txn) error { return txn.Delete(key) }
}

func (s *Store) fill(writes ...func(*badger.Txn) error) error {
	select {
	case <-s.stop:
		return fmt.Errorf("%w: the store is being closed", storage.ErrUnavailable)
	default:
	}
	return s.db.Update(func(txn *badger.Txn) error {
		for _, write := range writes {
			if err := write(txn); err != nil {
				return err
			}
		}
		return nil
	})
}
