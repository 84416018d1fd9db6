package storage

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// witnessEvery is how often the number of the newest commit is noted: a copy
// that is put back is found if the witness saw a commit that it lacks.
const witnessEvery = 10 * time.Second

// keeper keeps the witness of an open store up to date.
type keeper struct {
	// last is what the file says, and lastBytes how. Only the keeper's goroutine
	// touches these three; before it began, Open, and after it ended, Close.
	last      witness
	lastBytes []byte
	// tried is what was written last of all: an error may have come after it was
	// in place, and then the file is no other process's for that.
	tried   []byte
	failing bool
	// rival is set once somebody else has written the witness.
	rival atomic.Bool
	end   sync.Once
	stop  chan struct{}
	done  chan struct{}
}

// keepWitness begins to keep the witness; stopWitness ends it.
func (s *Store) keepWitness() {
	if s.cfg.WitnessFile == "" {
		return
	}
	s.keeper.stop, s.keeper.done = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(s.keeper.done)
		tick := time.NewTicker(witnessEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.noteSequence()
			case <-s.keeper.stop:
				s.noteSequence()
				return
			}
		}
	}()
}

// stopWitness notes the last commit and waits for the goroutine.
func (s *Store) stopWitness() {
	if s.keeper.stop == nil {
		return
	}
	s.keeper.end.Do(func() { close(s.keeper.stop) })
	<-s.keeper.done
}

// noteSequence writes the number of the newest commit into the witness, if it
// is another one than last time. A witness that stays behind for a while misses
// a copy that is put back, but causes no false finding: so the store works on.
func (s *Store) noteSequence() {
	k := &s.keeper
	if k.rival.Load() {
		return
	}
	theirs, err := k.theirs(s.cfg.WitnessFile)
	if err == nil && theirs {
		k.rival.Store(true)
		s.cfg.Log.Error("another process has written this store's witness, so a copy of the store may run: nothing is spent any more; "+
			"stop the other one, then start this one again and decide with holdfast grants adopt or scrub", "witness", s.cfg.WitnessFile)
		return
	}
	var n uint64
	if err == nil {
		n, err = s.sequence(context.Background())
	}
	if err == nil && (n != k.last.Sequence || k.failing) {
		w := k.last
		w.Sequence = n
		err = s.writeWitness(w)
	}
	if err != nil && !k.failing {
		s.cfg.Log.Warn("the store's witness cannot be kept up to date; it is tried again", "witness", s.cfg.WitnessFile, "error", err)
	}
	k.failing = err != nil
}

// witnessed is nil unless a copy of this store may be running.
func (s *Store) witnessed() error {
	if !s.keeper.rival.Load() {
		return nil
	}
	return fmt.Errorf("%w: another process has written the witness %s, so a copy of this store may run: stop that one, then restart this one; nothing is spent",
		ErrUnavailable, s.cfg.WitnessFile)
}
