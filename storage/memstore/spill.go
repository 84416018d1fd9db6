package memstore

import (
	"fmt"
	"io"
	"maps"
	"sync"

	"github.com/holdfast-io/holdfast/storage"
)

// block is the unit that Spill keeps; whatever lies in one is synced or lost as a whole.
const block = 4096

// Spill is a storage.SpillFile in memory, for tests and simulations. It takes
// memory only for what was written. Give each store its own, and give the same
// one again to the store that takes a crashed one's place.
type Spill struct {
	mu     sync.Mutex
	size   int64
	live   map[int64][block]byte // guarded by mu
	synced map[int64][block]byte // what survives Crash; guarded by mu
	fault  func() error          // guarded by mu
}

var _ storage.SpillFile = (*Spill)(nil)

// NewSpill returns an empty one. A store lays out Config.SpillSlots slots in it.
func NewSpill() *Spill {
	return &Spill{live: map[int64][block]byte{}, synced: map[int64][block]byte{}}
}

// Crash throws away what was not synced.
func (s *Spill) Crash() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = maps.Clone(s.synced)
}

// SetFault asks f before every write and every sync; an error is returned in its place. nil: none.
func (s *Spill) SetFault(f func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

func (s *Spill) failing() error {
	if s.fault == nil {
		return nil
	}
	return s.fault()
}

// WriteAt implements io.WriterAt.
func (s *Spill) WriteAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failing(); err != nil {
		return 0, err
	}
	for n := 0; n < len(p); {
		at := off + int64(n)
		b := s.live[at/block]
		n += copy(b[at%block:], p[n:])
		s.live[at/block] = b
	}
	if end := off + int64(len(p)); end > s.size {
		s.size = (end + storage.SlotSize - 1) / storage.SlotSize * storage.SlotSize
	}
	return len(p), nil
}

// ReadAt implements io.ReaderAt.
func (s *Spill) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if off+int64(len(p)) > s.size {
		return 0, fmt.Errorf("reading beyond the spill's end: %w", io.ErrUnexpectedEOF)
	}
	for n := 0; n < len(p); {
		at := off + int64(n)
		b := s.live[at/block]
		n += copy(p[n:], b[at%block:])
	}
	return len(p), nil
}

// Sync implements storage.SpillFile.
func (s *Spill) Sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.failing(); err != nil {
		return err
	}
	s.synced = maps.Clone(s.live)
	return nil
}

// Size implements storage.SpillFile.
func (s *Spill) Size() (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size, nil
}

// Close implements storage.SpillFile; the next store goes on with s.
func (s *Spill) Close() error { return nil }
