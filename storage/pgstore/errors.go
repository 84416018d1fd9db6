package pgstore

import (
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/holdfast-io/holdfast/storage"
)

// The SQLSTATEs that somebody branches on, see PostgreSQL's appendix A.
const (
	uniqueViolation     = "23505"
	serialization       = "40001"
	deadlock            = "40P01"
	lockNotAvailable    = "55P03"
	insufficientRights  = "42501"
	undefinedTable      = "42P01"
	invalidCatalog      = "3D000"
	invalidPassword     = "28P01"
	invalidAuth         = "28000"
	readOnlyTransaction = "25006"
)

func state(err error) string {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg.Code
	}
	return ""
}

// errDisconnected: the connection had ended before anything was written over it.
var errDisconnected = errors.New("the connection has ended")

// unwritten marks an error that ended the connection before anything was written.
func unwritten(c *pgx.Conn, err error) error {
	if err != nil && c.IsClosed() {
		return fmt.Errorf("%w: %w", errDisconnected, err)
	}
	return err
}

// again reports whether what failed so may succeed when it is tried again:
// somebody else came in between, or the connection was one from before a restart.
func again(err error) bool {
	if errors.Is(err, errDisconnected) {
		return true
	}
	switch state(err) {
	case serialization, deadlock, uniqueViolation:
		return true
	}
	return false
}

// onlyUnavailable turns an unknown outcome, of a commit that nobody asks the outcome of, into
// ErrUnavailable.
func onlyUnavailable(err error) error {
	if errors.Is(err, storage.ErrUnknown) {
		return fmt.Errorf("%w: %s", storage.ErrUnavailable, err.Error())
	}
	return err
}

// unavailable translates an error of a call that changed nothing. Values that
// the driver was given, or the connection string, are never part of it.
func unavailable(doing string, err error) error {
	if errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrCorrupt) {
		return err
	}
	hint := ""
	switch state(err) {
	case insufficientRights, undefinedTable:
		hint = "; run holdfast store migrate, and give the role the rights that its manual lists"
	case invalidPassword, invalidAuth, invalidCatalog:
		hint = "; correct store.postgres in the configuration"
	case readOnlyTransaction:
		hint = "; this server takes no writes: name all servers of the cluster in store.postgres, the one that does is found"
	}
	return fmt.Errorf("%w: %s: %w%s", storage.ErrUnavailable, doing, plain(err), hint)
}

// plain keeps of a server's error its message and state: details quote values.
// Causes that people branch on (an ended context) stay recognisable.
func plain(err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fmt.Errorf("PostgreSQL says %s %s: %s", pg.Severity, pg.Code, pg.Message)
	}
	if c, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		// Its own text names user and database; what it wraps says which host did not answer.
		return fmt.Errorf("connecting: %w", c.Unwrap())
	}
	return err
}
