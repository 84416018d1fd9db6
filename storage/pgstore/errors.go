package pgstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"

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
	tooManyConnections  = "53300"
	cannotConnectNow    = "57P03"
	adminShutdown       = "57P01"
	crashShutdown       = "57P02"
	diskFull            = "53100"
)

// ErrAway is an ErrUnavailable, returned by whatever found no server that answers
// and takes writes: it is still starting, is restarted, fails over or can not be
// reached. That heals without a person more often than not.
var ErrAway = fmt.Errorf("%w: the database is away", storage.ErrUnavailable)

// ErrForbidden is an ErrUnavailable, returned where the role has a right too few. It
// heals once somebody grants it, and not by waiting.
var ErrForbidden = fmt.Errorf("%w: the role may not do it", storage.ErrUnavailable)

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
	kind := storage.ErrUnavailable
	switch {
	case away(err):
		kind = ErrAway
	case state(err) == insufficientRights:
		kind = ErrForbidden
	}
	return fmt.Errorf("%w: %s: %w%s", kind, doing, plain(err), hint(err))
}

// away reports whether err is of a server that does not answer, or not yet.
func away(err error) bool {
	switch state(err) {
	case cannotConnectNow, adminShutdown, crashShutdown, tooManyConnections, readOnlyTransaction:
		return true
	case "":
		if errors.Is(err, context.Canceled) || untrusted(err) {
			return false
		}
		for _, cut := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
			if errors.Is(err, cut) {
				return true
			}
		}
		_, unconnected := errors.AsType[*pgconn.ConnectError](err)
		return unconnected
	}
	return false
}

// untrusted reports whether err is of a certificate that does not pass. It goes by
// the words, since a backend knows nothing of the types.
func untrusted(err error) bool { return strings.Contains(err.Error(), "x509: ") }

// refused reports whether a server, or its certificate, has answered that who is
// configured can not use what is configured: no later try will do better.
func refused(err error) bool {
	switch state(err) {
	case invalidPassword, invalidAuth, invalidCatalog, insufficientRights:
		return true
	}
	return untrusted(err)
}

// unconnected translates an error of the first connection. What the configuration
// must be corrected for is no ErrUnavailable, and names its key.
func (s *Store) unconnected(err error) error {
	if !refused(err) {
		return unavailable("connecting to PostgreSQL", err)
	}
	from := s.opts.From
	if from == "" {
		from = "store.postgres"
	}
	what := "correct user and password in %s, or what the server lets in (pg_hba.conf)"
	switch state(err) {
	case invalidCatalog:
		what = "make the database, or correct its name in %s"
	case insufficientRights:
		what = "grant the role CONNECT on the database, or correct %s"
	case "":
		what = "correct host, sslmode and sslrootcert in %s"
	}
	return fmt.Errorf("connecting to PostgreSQL: %w; "+what, plain(err), from)
}

// hint is what to do about an error, where it is known.
func hint(err error) string {
	switch state(err) {
	case insufficientRights:
		return "; the owner of the tables gives the role the rights that the manual lists (storage/pgstore/README.md, The role)"
	case undefinedTable:
		return "; run holdfast store migrate"
	case invalidPassword, invalidAuth:
		return "; correct user and password in the connection string of store.postgres, or what the server lets in (pg_hba.conf)"
	case invalidCatalog:
		return "; make the database, or correct its name in the connection string of store.postgres"
	case readOnlyTransaction:
		return "; this server takes no writes: name all servers of the cluster in store.postgres, the one that does is found"
	case tooManyConnections:
		return "; raise max_connections of the server: each broker needs store.postgres.connections and seven more"
	case diskFull:
		return "; make room on the server's disk: brokers spend nothing before, and go on by themselves then"
	case cannotConnectNow:
		return "; wait until the server has started"
	case "":
		_, unconnected := errors.AsType[*pgconn.ConnectError](err)
		late := pgconn.Timeout(err) || errors.Is(err, context.DeadlineExceeded)
		switch {
		case errors.Is(err, context.Canceled): // by whoever asked
		case late && unconnected:
			return "; it does not answer in time: see whether the server is stopped, overloaded or cut off from here, or correct host and port in the connection string of store.postgres"
		case late:
			return "; the database does not answer in time: see whether it is stopped, overloaded or cut off from here"
		case unconnected:
			return "; start the server, or correct host, port and sslmode in the connection string of store.postgres"
		}
	}
	return ""
}

// plain keeps of a server's error its message and state: details quote values.
// Causes that people branch on (an ended context) stay recognisable.
func plain(err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return fmt.Errorf("PostgreSQL says %s %s: %s", pg.Severity, pg.Code, pg.Message)
	}
	if c, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		// Its own text names user and database; what it wraps says which host did not answer.
		return notConnected{c.Unwrap()}
	}
	return err
}

// notConnected is why no server of a connection string could be reached, in one line.
type notConnected struct{ error }

func (e notConnected) Unwrap() error { return e.error }

// Error names each reason once: the driver tries a host with TLS and without, and
// each of its addresses, and puts what came of that on lines of their own.
func (e notConnected) Error() string {
	var lines []string
	for line := range strings.Lines(e.error.Error()) {
		if line = strings.TrimSpace(line); line != "" && !slices.ContainsFunc(lines, func(said string) bool { return strings.HasSuffix(said, line) }) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}
