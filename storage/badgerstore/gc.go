package badgerstore

import (
	"errors"
	"time"

	"github.com/dgraph-io/badger/v4"
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
		case <-s.stop:
			return
		}
	}
}

// collect rewrites value log files until none is worth it.
func (s *Store) collect() {
	for {
		select {
		case <-s.stop:
			return
		default:
		}
		err := s.db.RunValueLogGC(gcShare)
		if errors.Is(err, badger.ErrNoRewrite) || errors.Is(err, badger.ErrRejected) {
			return
		}
		if err != nil {
			s.log.log.Error("collecting the value log failed; the store works on and grows", "error", err)
			return
		}
	}
}
