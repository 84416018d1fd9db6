package storage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-io/holdfast/storage/fencelog"
)

// A database may fail over to a standby that lacks its newest commits, and can
// not tell so by itself. Then a refresh token that a lost commit announced has
// been sent, and the record says that it was not. So each replica notes the
// version and fence of each grant that it was told to be committed (package
// fencelog), and compares its notes with the database when that goes on in
// another history, and when it is reached again:
//
//	held       the replica stores nothing from now on; the backend refuses
//	           sessions of the new history until the replica holds
//	compared   a grant whose noted version is above the stored one is restored,
//	           if this process has it in memory, or quarantined; up to the noted
//	           version, so that the notes of others keep their meaning
//	announced  the replica's record says that it has compared
//	others     it waits for those replicas that may have lost commits, too; one
//	           that does not come within compareWait has a log that is missing,
//	           and then the whole store is quarantined
//
// A replica that ends in order takes its record away: nobody waits for it.

// Origin names the database that takes a store's writes, and which of its
// histories it is in. The zero value: the database does not tell.
type Origin struct {
	System   string
	Timeline uint64
}

// FailsOver is the part of a Backend whose database may go on from an older state
// than it has acknowledged.
type FailsOver interface {
	// Origin asks the database.
	Origin(ctx context.Context) (Origin, error)
	// Trust lets writes go to o alone: others fail with ErrUnavailable, have
	// written nothing, and call shifted, which must not block. Before the first
	// call all writes go.
	Trust(o Origin, shifted func())
	// Replicated reports whether a commit is acknowledged only once a standby has it, too.
	Replicated(ctx context.Context) (bool, error)
}

// FenceLogFile is the name of the fence log in the store's directory.
const FenceLogFile = "fences"

const (
	// beatEvery is how often a replica notes in the store that it is alive.
	beatEvery = 30 * time.Second
	// compareWait is how long a replica waits for the others after a fail-over: as
	// long as a lease is by default, within which nothing of theirs may be repeated.
	compareWait = time.Minute
	// failoverRest is between two tries to compare.
	failoverRest = time.Second
	// defaultLeeway is the longest of a built-in profile.
	defaultLeeway = 10 * time.Minute
)

// failover is what a Store over a FailsOver does beside storing.
type failover struct {
	s   *Store
	db  FailsOver
	log *fencelog.Log
	// held says why nothing is stored; nil: it is.
	held    atomic.Pointer[string]
	shifted chan struct{} // of capacity 1
	// unsure are the ids of grants whose last swap has an unknown outcome.
	unsure sync.Map
	// unwritten is why the newest note is not in the log; nil: it is.
	unwritten atomic.Pointer[error]
	atHand    atomic.Pointer[func(id string) (Grant, bool)]
	counts    LostCommits
	// followed counts the histories that were gone on with.
	followed atomic.Uint64

	end  sync.Once
	stop chan struct{}
	done chan struct{}
	// warned: the database was found to acknowledge commits that no standby has.
	warned atomic.Bool
	// closed: the log is.
	closed atomic.Bool
}

// LostCommits counts grants of which a fail-over lost commits, as far as this replica found them.
type LostCommits struct {
	// Restored from this process's memory, and Quarantined since nobody has what was lost.
	Restored, Quarantined atomic.Uint64
	// Whole counts quarantines of the whole store.
	Whole atomic.Uint64
}

// LostCommits returns the counts; nil for a store whose backend does not fail over.
func (s *Store) LostCommits() *LostCommits {
	if s.failover == nil {
		return nil
	}
	return &s.failover.counts
}

// SetAtHand gives the store a way to ask for the newest state of a grant that this
// process has in memory. The function must not call the store.
func (s *Store) SetAtHand(f func(id string) (Grant, bool)) {
	if s.failover != nil {
		s.failover.atHand.Store(&f)
	}
}

// openFailover compares the database with this replica's log, and begins to watch
// it. It waits for no other replica: until they have compared, too, Held says so.
func (s *Store) openFailover(ctx context.Context) error {
	db, ok := s.backend.(FailsOver)
	if !ok {
		return nil
	}
	now, err := db.Origin(ctx)
	if err != nil {
		return fmt.Errorf("asking the database which history it is in: %w", err)
	}
	if now == (Origin{}) {
		s.cfg.Log.Warn("the database does not tell which history it is in, so that a fail-over that lost commits would not be noticed")
		return nil
	}
	log, err := fencelog.Open(filepath.Join(s.cfg.Dir, FenceLogFile), fencelog.Slots)
	if err != nil {
		return err
	}
	f := &failover{s: s, db: db, log: log, shifted: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	if err := f.identify(); err != nil {
		return errors.Join(err, log.Close())
	}
	f.hold("this replica has just been started and is comparing its fence log with the database")
	s.failover = f
	if err := f.follow(ctx, now); err != nil {
		s.failover = nil
		return errors.Join(fmt.Errorf("comparing the fence log with the database: %w", err), log.Close())
	}
	waiting, err := f.awaited(ctx, now)
	if err == nil && len(waiting) == 0 {
		f.held.Store(nil)
	} else {
		f.shift() // the watch goes on with it
	}
	go f.watch(context.WithoutCancel(ctx)) // it goes on until Close
	return nil
}

// identify gives a new log its replica's id.
func (f *failover) identify() error {
	info := f.log.Info()
	if info.Store != "" && info.Store != f.s.StoreID() {
		return fmt.Errorf("the fence log %s is of another store, %s: give this one a directory of its own, or move the file away", filepath.Join(f.s.cfg.Dir, FenceLogFile), info.Store)
	}
	if info.Replica == "" {
		info.Replica, info.Store = strings.ToLower(rand.Text()), f.s.StoreID()
		return f.log.SetInfo(info)
	}
	return nil
}

func (f *failover) hold(why string) { f.held.Store(&why) }

// shift has the watch compare. It does not block.
func (f *failover) shift() {
	select {
	case f.shifted <- struct{}{}:
	default:
	}
}

// passing marks the context of what is stored although the replica holds.
type passing struct{}

func pass(ctx context.Context) context.Context { return context.WithValue(ctx, passing{}, true) }

// mayStore is ErrUnavailable while a fail-over is looked into.
func (f *failover) mayStore(ctx context.Context) error {
	if f == nil {
		return nil
	}
	if why := f.held.Load(); why != nil && ctx.Value(passing{}) == nil {
		return fmt.Errorf("%w: %s", ErrUnavailable, *why)
	}
	return nil
}

// healthy is an error while nothing may be stored, or not be noted.
func (f *failover) healthy(ctx context.Context) error {
	if f == nil {
		return nil
	}
	if err := f.unwritten.Load(); err != nil {
		return fmt.Errorf("%w: %w; make room in %s, or repair its disk", ErrUnavailable, *err, f.s.cfg.Dir)
	}
	return f.mayStore(ctx)
}

// note notes a committed grant, before anybody relies on it.
func (f *failover) note(g *Grant, swapped error) {
	switch {
	case f == nil || g == nil:
	case swapped == nil:
		f.add(g)
	case errors.Is(swapped, ErrUnknown):
		f.unsure.Store(g.ID, true)
	}
}

// read notes a grant whose last swap had an unknown outcome, once it was read.
func (f *failover) read(g *Grant) {
	if f == nil {
		return
	}
	if _, was := f.unsure.LoadAndDelete(g.ID); was {
		f.add(g)
	}
}

func (f *failover) add(g *Grant) {
	err := f.log.Add(fencelog.Note{Grant: g.ID, Version: uint64(g.Version), Fence: g.State.Fence, At: f.s.cfg.Now()})
	if err == nil {
		f.unwritten.Store(nil)
		return
	}
	if f.unwritten.Swap(&err) == nil {
		f.s.cfg.Log.Error("noting a commit failed; nothing is spent until it works again", "error", err)
	}
}

// close ends the watch and takes the replica's record away.
func (f *failover) close() error {
	if f == nil {
		return nil
	}
	f.end.Do(func() { close(f.stop) })
	<-f.done
	if f.closed.Swap(true) {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), failoverRest)
	defer cancel()
	if err := f.retire(ctx); err != nil {
		f.s.cfg.Log.Warn("the store still lists this replica: after a fail-over in the next minutes the others wait for it", "error", err)
	}
	return f.log.Close()
}
