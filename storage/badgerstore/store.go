package badgerstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/holdfast-io/holdfast/storage"
)

// dataDir is Badger's directory below the store's.
const dataDir = "badger"

// Store is a storage.Backend over Badger.
type Store struct {
	opts Options
	dir  string
	db   *badger.DB
	log  *logger
	lock *dirLock

	queue       chan *member
	collections chan *collection
	// stop ends the goroutines, running waits for them.
	stop    chan struct{}
	running sync.WaitGroup

	// mu is held for reading by every call and for writing by Close, so that
	// no call meets a closed Badger.
	mu     sync.RWMutex
	closed bool // guarded by mu

	// broken is set once a commit's outcome is unknown: from then on nothing
	// that Badger says can be trusted until the store is reopened.
	broken atomic.Pointer[error]

	// commits counts commits, durably; only the committer changes it.
	commits atomic.Uint64
	recent  recent // the committer's
	witness *witness
	pages   *pages // the committer's
	// proven is when a commit last succeeded, in Unix nanoseconds.
	proven atomic.Int64
}

// Opener returns the function that storage.Config wants as its Backend.
func Opener(o Options) func(dir string, key []byte) (storage.Backend, error) {
	return func(dir string, key []byte) (storage.Backend, error) {
		s, err := Open(dir, key, o)
		if err != nil {
			return nil, err // not a typed nil
		}
		return s, nil
	}
}

// Open opens the store below dir, which must exist; key (32 bytes) encrypts
// Badger's files. Damage that Badger would mend by dropping records is found
// before Badger touches a file: then Open fails and has changed nothing.
func Open(dir string, key []byte, o Options) (*Store, error) {
	o.complete()
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{opts: o, dir: dir, log: &logger{log: o.Log}, lock: lock,
		queue: make(chan *member, queueLength), collections: make(chan *collection), recent: newRecent(), stop: make(chan struct{})}
	if err := s.open(key); err != nil {
		return nil, errors.Join(whatHelps(err), lock.release())
	}
	s.running.Add(2)
	go s.commitLoop()
	go s.gcLoop()
	return s, nil
}

func (s *Store) data() string { return filepath.Join(s.dir, dataDir) }

func (s *Store) open(key []byte) error {
	if err := s.checkSpace(openRoom); err != nil {
		return err
	}
	if err := s.inspect(key); err != nil {
		return err
	}
	var err error
	if s.witness, err = openWitness(s.dir); err != nil {
		return err
	}
	if s.db, err = badger.Open(s.opts.badgerOptions(s.data(), key, s.log)); err != nil {
		return errors.Join(fmt.Errorf("%w: opening %s: %w; %s", storage.ErrCorrupt, s.data(), err, wayOut), s.witness.close())
	}
	commits, err := readCommits(s.db)
	if err == nil && commits < s.witness.seen {
		err = lostCommits(s.data(), commits, s.witness.seen)
	}
	s.commits.Store(commits)
	if err == nil {
		s.pages, err = newPages(s.data())
	}
	if err != nil {
		return errors.Join(err, s.db.Close(), s.witness.close())
	}
	return nil
}

const wayOut = "put the file back from a copy or run holdfast restore with the newest backup"

func lostCommits(dir string, have, want uint64) error {
	return fmt.Errorf("%w: %s ends at commit %d and commit %d was acknowledged: a file was damaged or put back from an older copy; %s; nothing was changed",
		storage.ErrCorrupt, dir, have, want, wayOut)
}

// readCommits returns the number of the newest commit that Badger knows of.
func readCommits(db *badger.DB) (n uint64, err error) {
	err = db.View(func(txn *badger.Txn) error {
		b, err := get(txn, commitKey)
		if errors.Is(err, storage.ErrNotFound) {
			return nil
		}
		if err == nil && len(b) != 8 {
			err = errDamaged
		}
		if err == nil {
			n = binary.BigEndian.Uint64(b)
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("%w: reading the number of the newest commit: %w; %s", storage.ErrCorrupt, err, wayOut)
	}
	return n, nil
}

// enter is the way into every call; leave must follow if it returns nil.
func (s *Store) enter() error {
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return fmt.Errorf("%w: the store is closed", storage.ErrUnavailable)
	}
	if err := s.broken.Load(); err != nil {
		s.mu.RUnlock()
		return fmt.Errorf("%w: a commit failed: %w: %w", storage.ErrUnavailable, storage.ErrReopen, *err)
	}
	return nil
}

func (s *Store) leave() { s.mu.RUnlock() }

// MustReopen returns why the store refuses everything until it is opened again;
// nil: it does not. It never blocks.
func (s *Store) MustReopen() error {
	if err := s.broken.Load(); err != nil {
		return fmt.Errorf("%w: a commit failed: %w", storage.ErrReopen, *err)
	}
	return nil
}

// provenFor is how long a successful commit proves that the next one will do.
const provenFor = time.Second

// Health commits a small value, unless a commit succeeded within the last
// second; then it only looks at the free space.
func (s *Store) Health(ctx context.Context) error {
	if err := s.checkSpace(s.opts.MinFree); err != nil {
		return err
	}
	if time.Since(time.Unix(0, s.proven.Load())) < provenFor {
		if err := s.enter(); err != nil {
			return err
		}
		s.leave()
		return nil
	}
	return s.submit(ctx, &member{}) // every commit writes its number
}

// checkSpace is where a full disk is an error and not yet a crash.
func (s *Store) checkSpace(least uint64) error { return space(s.dir, least) }

// Sequence implements storage.Sequencer. It does not block.
func (s *Store) Sequence(context.Context) (uint64, error) { return s.commits.Load(), nil }

// Close waits for queued swaps, closes Badger and notes what its files hold,
// so that the next Open can tell whether one was damaged. It returns nil if
// the store is closed already.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	close(s.stop)
	s.running.Wait()
	err := errors.Join(s.db.Close(), s.witness.close())
	if err == nil && s.broken.Load() == nil {
		err = s.writeInventory()
	}
	return errors.Join(err, s.lock.release())
}
