package badgerstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/holdfast-io/holdfast/storage"
)

// gcShare of a value log file must be garbage before it is rewritten.
const gcShare = 0.5

// gcLoop collects the value log, where every swap leaves its predecessor.
func (s *Store) gcLoop() {
	defer s.running.Done()
	tick := time.NewTicker(s.opts.GCInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.collect()
		case c := <-s.collections:
			all, err := s.collectGone(c.gone)
			c.done <- collected{all, err}
		case <-s.stop:
			return
		}
	}
}

// collect rewrites value log files until none is worth it. Badger would take a
// damaged entry for the end of its file and drop what stands behind it, so a
// store with damage is not collected.
func (s *Store) collect() {
	if err := s.checkLogs(); err != nil {
		s.log.log.Error("a file of the store is damaged; nothing is collected until it is whole, and the store grows", "error", err)
		return
	}
	s.rewrite(gcShare)
}

// rewrite rewrites each value log of which at least that share is garbage.
func (s *Store) rewrite(share float64) {
	for {
		select {
		case <-s.stop:
			return
		default:
		}
		err := s.db.RunValueLogGC(share)
		if errors.Is(err, badger.ErrNoRewrite) || errors.Is(err, badger.ErrRejected) {
			return
		}
		if err != nil {
			s.log.log.Error("collecting the value log failed; the store works on and grows", "error", err)
			return
		}
	}
}

// checkLogs walks the value logs that are no longer written to.
func (s *Store) checkLogs() error {
	names, err := dataFiles(s.data())
	if err != nil {
		return err
	}
	logs := valueLogs(names)
	for _, n := range logs[:max(0, len(logs)-1)] {
		name := filepath.Join(s.data(), n)
		end, err := walkLog(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // collected meanwhile
		}
		if err != nil {
			return err
		}
		info, err := os.Stat(name)
		if err == nil && info.Size() != end.offset {
			return fmt.Errorf("%w: %s is damaged at byte %d; %s", storage.ErrCorrupt, name, end.offset, wayOut)
		}
	}
	return nil
}
