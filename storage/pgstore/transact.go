package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast-io/holdfast/storage"
)

const (
	// mostTries of what others come in between of.
	mostTries = 8
	// firstPause before it is tried again; it doubles.
	firstPause = 5 * time.Millisecond
)

// transact runs f in a transaction until nobody comes in between. The error is
// storage.ErrUnknown if the commit's answer was lost, else nothing was written:
// ErrConflict as f returned it, or ErrUnavailable.
func (s *Store) transact(ctx context.Context, doing string, f func(context.Context, pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.CommitTimeout)
	defer cancel()
	var err error
	for try := range mostTries {
		if err = pause(ctx, try); err != nil {
			break
		}
		if err = s.transactOnce(ctx, f); !again(err) {
			break
		}
	}
	switch {
	case err == nil:
		s.proven.Store(time.Now().UnixNano())
		return nil
	case errors.Is(err, storage.ErrConflict):
		return err
	case errors.Is(err, storage.ErrUnknown):
		return fmt.Errorf("%s: %w", doing, err)
	}
	return unavailable(doing, err)
}

// pause waits before the given try; there is none before the first.
func pause(ctx context.Context, try int) error {
	if try == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(firstPause << (try - 1))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) transactOnce(ctx context.Context, f func(context.Context, pgx.Tx) error) error {
	conn, err := s.acquire(ctx, s.write)
	if err != nil {
		return err
	}
	defer conn.Release()
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted, AccessMode: pgx.ReadWrite})
	if err != nil {
		return unwritten(conn.Conn(), err)
	}
	err = f(ctx, tx)
	if err == nil {
		_, err = tx.Exec(ctx, "SET LOCAL statement_timeout = 0") // see prologue in commit.go
	}
	if err != nil {
		roll(conn, tx)
		return err
	}
	err = tx.Commit(ctx)
	return s.judgeCommit(conn, err)
}

// roll ends a transaction that must not be committed, on a context of its own.
func roll(conn *pgxpool.Conn, tx pgx.Tx) {
	ctx, cancel := context.WithTimeout(context.Background(), pingTimeout)
	defer cancel()
	_ = tx.Rollback(ctx) // if it fails the connection is broken, and dropped
	if conn.Conn().PgConn().TxStatus() != 'I' {
		_ = conn.Conn().Close(ctx)
	}
}

// judgeCommit says what the answer to a COMMIT means. Nothing was written only
// if the server said so: an error of its own other than the end of the session,
// or a rollback.
func (s *Store) judgeCommit(conn *pgxpool.Conn, err error) error {
	if s.unreplicated(conn.Conn()) {
		return fmt.Errorf("%w: the wait for the synchronous standby was broken off", storage.ErrUnknown)
	}
	if err == nil {
		return nil
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok && pg.SeverityUnlocalized == "ERROR" {
		return err
	}
	if errors.Is(err, pgx.ErrTxCommitRollback) || pgconn.SafeToRetry(err) {
		return err
	}
	return fmt.Errorf("%w: committing: %w", storage.ErrUnknown, plain(err))
}
