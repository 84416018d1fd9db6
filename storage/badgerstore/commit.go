package badgerstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/holdfast-io/holdfast/broker/crashpoint"
	"github.com/holdfast-io/holdfast/storage"
)

const (
	queueLength = 256
	// groupLimit bounds what one swap may have to wait for.
	groupLimit = 256
	// A group of at least crowd swaps is a sign that more are on their way.
	crowd = 4
	// mostLinger is for a disk that stalls: a commit takes a millisecond or two.
	mostLinger = 5 * time.Millisecond
)

// member is one swap on its way through the committer.
type member struct {
	changes []storage.Change
	entries []storage.Entry
	reseals []storage.Reseal
	// load writes the changes' items under the versions that they have.
	load bool
	// done takes the one answer and never blocks the committer.
	done chan error
	err  error // the committer's verdict before the commit
}

// Swap implements storage.Backend. If ctx ends while the swap waits, the swap
// may still happen: storage.ErrUnknown.
func (s *Store) Swap(ctx context.Context, changes []storage.Change, entries []storage.Entry) error {
	return s.submit(ctx, &member{changes: changes, entries: entries})
}

// Reseal implements storage.Backend.
func (s *Store) Reseal(ctx context.Context, list []storage.Reseal) error {
	return s.submit(ctx, &member{reseals: list})
}

// Load implements storage.Loader.
func (s *Store) Load(ctx context.Context, items []storage.Item, entries []storage.Entry) error {
	m := &member{entries: entries, load: true}
	for _, it := range items {
		m.changes = append(m.changes, storage.Change{Item: it})
	}
	return s.submit(ctx, m)
}

func (s *Store) submit(ctx context.Context, m *member) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	m.done = make(chan error, 1)
	select {
	case s.queue <- m:
	case <-ctx.Done():
		return fmt.Errorf("%w: waiting to commit: %w", storage.ErrUnavailable, ctx.Err())
	}
	select {
	case err := <-m.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: waiting for a commit: %w", storage.ErrUnknown, ctx.Err())
	}
}

// commitLoop is the one writer: it takes what is queued and commits it as one
// synced transaction; meanwhile the next group gathers. In a crowd it also waits for
// as long as the last commit took: each swap waits longer, at most twice as long, and
// half as many syncs leave the machine to what the swaps are waited for by.
func (s *Store) commitLoop() {
	defer s.running.Done()
	var crowded bool
	var took time.Duration
	for {
		select {
		case m := <-s.queue:
			if crowded {
				<-time.After(min(took, mostLinger))
			}
			group, began := s.gather(m), time.Now()
			s.commit(group)
			crowded, took = len(group) >= crowd, time.Since(began)
		case <-s.stop:
			// Close holds the lock: nobody is waiting, but who gave up waiting
			// may have left a swap behind.
			for len(s.queue) > 0 {
				s.commit(s.gather(<-s.queue))
			}
			return
		}
	}
}

func (s *Store) gather(first *member) []*member {
	group := []*member{first}
	for len(group) < groupLimit {
		select {
		case m := <-s.queue:
			group = append(group, m)
		default:
			return group
		}
	}
	return group
}

func (s *Store) commit(group []*member) {
	if err := s.broken.Load(); err != nil {
		answer(group, fmt.Errorf("%w: an earlier commit failed: %w: %w", storage.ErrUnavailable, storage.ErrReopen, *err))
		return
	}
	// Health keeps a reserve free before anything is spent; what was spent may
	// use most of it, or the reserve would cost what it is for.
	if err := s.checkSpace(s.opts.MinFree / 4); err != nil {
		answer(group, err)
		return
	}
	err := s.commitGroup(group)
	switch {
	case err == nil:
		s.proven.Store(time.Now().UnixNano())
		for _, m := range group {
			m.done <- m.err
		}
	case errors.Is(err, badger.ErrTxnTooBig) && len(group) > 1:
		half := len(group) / 2
		s.commit(group[:half])
		s.commit(group[half:])
	case errors.Is(err, badger.ErrTxnTooBig):
		answer(group, errors.New("the swap is too big for one transaction; nothing was changed"))
	default:
		s.broken.Store(&err)
		s.log.log.Error("a commit failed: the store refuses everything until it is reopened", "error", err)
		answer(group, fmt.Errorf("%w: committing: %w", storage.ErrUnknown, err))
	}
}

func answer(group []*member, err error) {
	for _, m := range group {
		m.done <- err
	}
}

// commitGroup commits the members that do not conflict, each seeing what the
// ones before it wrote, and leaves every member's own error in err. An error
// means that none of them can be said to be committed.
func (s *Store) commitGroup(group []*member) error {
	txn := s.db.NewTransaction(true)
	defer txn.Discard()
	s.recent.begin()
	p := planner{txn: txn, recent: &s.recent}
	for _, m := range group {
		var writes []write
		if writes, m.err = p.plan(m); m.err != nil {
			continue
		}
		if err := apply(txn, writes); err != nil {
			return err
		}
		s.recent.changed(p.changed)
	}
	next := s.commits.Load() + 1
	if err := txn.Set(commitKey, pack(commitKey, binary.BigEndian.AppendUint64(nil, next))); err != nil {
		return err
	}
	crashpoint.At(crashpoint.CommitUnsynced)
	if err := txn.Commit(); err != nil {
		return err
	}
	crashpoint.At(crashpoint.CommitSynced)
	if s.log.syncFailed.Load() {
		return errors.New("syncing the value log failed; the log has the cause")
	}
	s.recent.committed()
	s.commits.Store(next)
	s.witness.note(next)
	if err := s.pages.follow(); err != nil {
		s.log.log.Debug("the kernel may write more than was committed", "error", err)
	}
	return nil
}
