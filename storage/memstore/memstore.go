// Package memstore is a storage.Backend in memory, for tests and simulations
// that crash it: Crash throws away whatever was not synced, and faults make a
// swap end in each of the ways that a real backend's may.
package memstore

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/storage"
)

// Fault is how a swap ends.
type Fault int

const (
	// None: the swap is applied and synced.
	None Fault = iota
	// Refused: nothing is written, storage.ErrUnavailable.
	Refused
	// UnknownKept: applied and synced, but the answer is storage.ErrUnknown.
	UnknownKept
	// UnknownLost: the sync failed, storage.ErrUnknown; the swap is gone after Crash.
	UnknownLost
	// Unsynced: the backend lies: the swap succeeds and is gone after Crash.
	Unsynced
)

// Store keeps records in memory. The zero value is not usable; see New.
type Store struct {
	mu     sync.Mutex
	live   state // what calls see; guarded by mu
	synced state // what survives Crash; guarded by mu
	closed bool  // guarded by mu
	broken bool  // guarded by mu: refuses everything until Crash or reopening
	fault  func([]storage.Change) Fault
	clock  func() time.Time // guarded by mu; nil: time.Now
	// claims are until when, by grant id; guarded by mu.
	claims map[string]time.Time
	// followers by number, follower the last number, silent: they are told
	// nothing; guarded by mu.
	followers map[int]func(storage.Key)
	follower  int
	silent    bool
}

type state struct {
	records map[storage.Key]storage.Item
	journal map[string][]storage.Entry // oldest first
	commits uint64
	header  []byte // never changed in place; nil: none
}

func (s state) clone() state {
	// Items and slices of entries are never changed in place.
	return state{maps.Clone(s.records), maps.Clone(s.journal), s.commits, s.header}
}

// New returns an empty store.
func New() *Store {
	empty := state{records: map[storage.Key]storage.Item{}, journal: map[string][]storage.Entry{}}
	return &Store{live: empty, synced: empty, claims: map[string]time.Time{}, followers: map[int]func(storage.Key){}}
}

// Opener returns the function that storage.Config wants as its Backend: it
// opens s again with what it held when it was closed.
func (s *Store) Opener() func(string, []byte) (storage.Backend, error) {
	return func(string, []byte) (storage.Backend, error) {
		s.Crash()
		return s, nil
	}
}

// SetFault asks f before every swap how it shall end; nil: None. f is called
// with the store's lock held.
func (s *Store) SetFault(f func([]storage.Change) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Crash discards what was not synced and opens the store again.
func (s *Store) Crash() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = s.synced
	s.closed, s.broken = false, false
	clear(s.claims)
}

// Durable returns a store of its own with what a crash at this moment would
// leave, for those who check that nothing is used before it is durable.
func (s *Store) Durable() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := New()
	d.live, d.synced = s.synced, s.synced
	return d
}

// usable is called with mu held.
func (s *Store) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
	}
	if s.closed {
		return fmt.Errorf("%w: the store is closed", storage.ErrUnavailable)
	}
	if s.broken {
		return fmt.Errorf("%w: a sync failed: %w", storage.ErrUnavailable, storage.ErrReopen)
	}
	return nil
}

// Get implements storage.Backend.
func (s *Store) Get(ctx context.Context, key storage.Key) (storage.Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return storage.Item{}, err
	}
	it, ok := s.live.records[key]
	if !ok {
		return storage.Item{}, storage.ErrNotFound
	}
	return copied(it), nil
}

func copied(it storage.Item) storage.Item {
	it.Public, it.Sealed = bytes.Clone(it.Public), bytes.Clone(it.Sealed)
	return it
}

// List implements storage.Backend.
func (s *Store) List(ctx context.Context, q storage.Query) ([]storage.Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	if q.Limit <= 0 {
		return nil, fmt.Errorf("a listing needs a limit above 0, not %d", q.Limit)
	}
	byDue := !q.DueBefore.IsZero()
	order := func(a, b storage.Item) int {
		if byDue && !a.Due.Equal(b.Due) {
			return a.Due.Compare(b.Due)
		}
		return cmp.Compare(a.Key.ID, b.Key.ID)
	}
	inIndex := func(it storage.Item) bool { return !it.Due.IsZero() && it.Due.Before(q.DueBefore) }
	after, skip := s.live.records[storage.Key{Kind: q.Kind, ID: q.After}], true
	if byDue {
		skip = inIndex(after)
	}
	after.Key.ID = q.After
	var out []storage.Item
	for k, it := range s.live.records {
		if k.Kind == q.Kind && (!byDue || inIndex(it)) && (!skip || order(it, after) > 0) {
			out = append(out, copied(it))
		}
	}
	slices.SortFunc(out, order)
	return out[:min(len(out), q.Limit)], nil
}

// Events implements storage.Backend.
func (s *Store) Events(ctx context.Context, grantID string, limit int) ([]storage.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	var out []storage.Entry
	for _, e := range slices.Backward(s.live.journal[grantID]) {
		if len(out) >= limit {
			break
		}
		e.Sealed = bytes.Clone(e.Sealed)
		out = append(out, e)
	}
	return out, nil
}

// Collect implements storage.Collector: there are no files.
func (s *Store) Collect(ctx context.Context, _ []storage.Key) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.usable(ctx)
	return err == nil, err
}

// Health implements storage.Backend.
func (s *Store) Health(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usable(ctx)
}

// Sequence implements storage.Sequencer.
func (s *Store) Sequence(ctx context.Context) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.synced.commits, s.usable(ctx)
}

// Close implements storage.Backend.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}
