package pgstore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast-io/holdfast/broker/crashpoint"
	"github.com/holdfast-io/holdfast/storage"
)

const (
	queueLength = 256
	// groupLimit bounds what one swap may have to wait for.
	groupLimit = 128
)

// The stages of a member. Its caller and its committer may move it on, each by
// compare-and-swap, so that both know who was first.
const (
	waiting   int32 = iota // the caller may still take it back
	withdrawn              // the caller took it back: it is never written
	writing                // the transaction holds its locks, or is on its way at once: the caller can only learn the outcome
	abandoned              // the caller has gone, told that the outcome is unknown
)

// member is one swap on its way through a committer.
type member struct {
	changes []storage.Change
	entries []storage.Entry
	stage   atomic.Int32
	// done takes the one answer and never blocks the committer.
	done chan error
}

// Swap implements storage.Backend. If ctx ends before the swap's transaction is
// sent at once, or holds its locks, the swap never happens: ErrUnavailable; after
// that, ErrUnknown.
func (s *Store) Swap(ctx context.Context, changes []storage.Change, entries []storage.Entry) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	m := &member{changes: changes, entries: entries, done: make(chan error, 1)}
	if err := m.valid(); err != nil {
		return err
	}
	select {
	case s.queue <- m:
	case <-ctx.Done():
		return fmt.Errorf("%w: waiting to commit: %w", storage.ErrUnavailable, ctx.Err())
	}
	select {
	case err := <-m.done:
		return err
	case <-ctx.Done():
		return s.giveUp(ctx, m)
	}
}

// giveUp is for a caller that waits no longer.
func (s *Store) giveUp(ctx context.Context, m *member) error {
	if m.stage.CompareAndSwap(waiting, withdrawn) {
		return fmt.Errorf("%w: waiting to commit: %w", storage.ErrUnavailable, ctx.Err())
	}
	// Doubtful from before anybody is told so: who re-reads must not be quicker.
	s.doubts.add(m)
	if m.stage.CompareAndSwap(writing, abandoned) {
		return fmt.Errorf("%w: waiting for a commit: %w", storage.ErrUnknown, ctx.Err())
	}
	return <-m.done // it has just been answered
}

// again takes a member back for another try; false: its caller has gone.
func (m *member) again() bool {
	s := m.stage.Load()
	return s == waiting || s == writing && m.stage.CompareAndSwap(writing, waiting)
}

// commitLoop takes what is queued and commits it as one transaction; meanwhile
// the next group gathers.
func (s *Store) commitLoop() {
	defer s.running.Done()
	for {
		select {
		case m := <-s.queue:
			s.commit(s.gather(m))
		case <-s.stop:
			return // Close holds the lock: nobody is waiting, and who gave up took its swap back
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

// commit commits a group, in as many transactions as it takes.
func (s *Store) commit(group []*member) {
	ctx, cancel := context.WithTimeout(s.life, s.opts.CommitTimeout)
	defer cancel()
	failures := 0
	for len(group) > 0 {
		if err := pause(ctx, failures); err != nil {
			s.conclude(group, err)
			return
		}
		r, err := s.commitOnce(ctx, group, skipBusy)
		for _, m := range r.busy {
			s.running.Go(func() { s.commitBusy(m) })
		}
		if again(err) && failures < mostTries {
			failures++
			group = append(stillWanted(r.live), r.later...)
			continue
		}
		s.conclude(r.live, err)
		group, failures = r.later, 0
	}
}

// conclude answers the members of a transaction.
func (s *Store) conclude(live []*member, err error) {
	switch {
	case err == nil:
		s.proven.Store(time.Now().UnixNano())
		s.hint(live)
	case errors.Is(err, storage.ErrUnknown):
		for _, m := range live {
			s.doubts.add(m)
		}
	default:
		err = unavailable("committing", err)
	}
	for _, m := range live {
		m.done <- err
	}
}

func stillWanted(group []*member) (wanted []*member) {
	for _, m := range group {
		if m.again() {
			wanted = append(wanted, m)
		}
	}
	return wanted
}

// commitBusy commits a swap of records that somebody else holds locked, such as
// a replica whose connection hangs. It waits for that lock, so that nobody else
// has to.
func (s *Store) commitBusy(m *member) {
	ctx, cancel := context.WithTimeout(s.life, s.opts.CommitTimeout)
	defer cancel()
	if err := s.lane.Acquire(ctx, 1); err != nil {
		s.conclude([]*member{m}, err)
		return
	}
	defer s.lane.Release(1)
	for try := 0; ; try++ {
		err := pause(ctx, try)
		r := round{live: []*member{m}}
		if err == nil {
			r, err = s.commitOnce(ctx, r.live, awaitBusy)
		}
		if !again(err) || try == mostTries {
			s.conclude(r.live, err)
			return
		}
		if len(stillWanted(r.live)) == 0 {
			return
		}
	}
}

// round is what became of a group's members in one transaction; those that are
// in none of the lists have had their answer, or want none.
type round struct {
	// live are written by it, or were to be.
	live []*member
	// later touch what another member writes, and come in the next one.
	later []*member
	// busy touch what somebody else holds locked.
	busy []*member
}

// commitOnce commits what it can of a group in one transaction. An error is
// ErrUnknown, or says that nothing was written; then all are in live or later.
func (s *Store) commitOnce(ctx context.Context, group []*member, lock string) (round, error) {
	none := round{live: group}
	conn, err := s.acquire(ctx, s.write)
	if err != nil {
		return none, err
	}
	defer conn.Release()
	if lock == skipBusy {
		left, r, err := s.commitAtOnce(ctx, conn, group)
		if len(left) == 0 {
			return r, err
		}
		group, none = left, round{live: left}
	}
	p, err := begin(ctx, conn, group, lock)
	if err != nil {
		rollback(conn)
		return none, unwritten(conn.Conn(), err)
	}
	s.sawPulse(conn, p.pulse)
	r := p.judge(group)
	if len(r.live) == 0 {
		rollback(conn)
		return r, nil
	}
	crashpoint.At(crashpoint.CommitUnsynced)
	if err := s.finish(ctx, conn, r.live); err != nil {
		rollback(conn)
		return r, err
	}
	crashpoint.At(crashpoint.CommitSynced)
	return r, nil
}

// finish writes what the members want and commits. Both go in one round trip,
// and after a statement that fails the server ignores the COMMIT.
func (s *Store) finish(ctx context.Context, conn *pgxpool.Conn, live []*member) error {
	var w writes
	for _, m := range live {
		w.add(m.changes, m.entries, false)
	}
	var b pgx.Batch
	w.queue(&b)
	b.Queue(numberCommit)
	b.Queue("COMMIT")
	return s.sendCommit(ctx, conn, &b)
}

// sendCommit sends statements, of which the last two number the commit and commit.
func (s *Store) sendCommit(ctx context.Context, conn *pgxpool.Conn, b *pgx.Batch) error {
	results := conn.SendBatch(ctx, b)
	defer func() { _ = results.Close() }()
	for range b.Len() - 2 {
		if _, err := results.Exec(); err != nil {
			return s.judgeWrite(err)
		}
	}
	var number int64
	if err := results.QueryRow().Scan(&number, nil); err != nil {
		return s.judgeWrite(err)
	}
	tag, err := results.Exec()
	if err == nil && tag.String() != "COMMIT" {
		err = pgx.ErrTxCommitRollback
	}
	if err := s.judgeCommit(conn, err); err != nil {
		return err
	}
	for {
		have := s.commits.Load()
		if number <= have || s.commits.CompareAndSwap(have, number) {
			return nil
		}
	}
}

// judgeWrite says what the failure of a statement means that a COMMIT follows:
// if the server has refused the statement it ignores the COMMIT; if the
// connection broke it may have received both.
func (s *Store) judgeWrite(err error) error {
	if state(err) != "" || pgconn.SafeToRetry(err) {
		return err
	}
	return fmt.Errorf("%w: committing: %w", storage.ErrUnknown, plain(err))
}
