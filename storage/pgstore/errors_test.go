package pgstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/holdfast-io/holdfast/storage"
)

func TestAServerThatIsNotReachedIsNamedOnce(t *testing.T) {
	for dsn, servers := range map[string]int{
		"postgres://a:hunter2@127.0.0.1:1/holdfast":             1, // tried with TLS and without
		"postgres://a:hunter2@127.0.0.1:1,127.0.0.1:2/holdfast": 2,
	} {
		_, err := pgx.Connect(t.Context(), dsn)
		err = unavailable("connecting to PostgreSQL", err)
		got := err.Error()
		if !errors.Is(err, storage.ErrUnavailable) || strings.Count(got, "dial error") != servers || strings.Contains(got, "\n") ||
			!strings.Contains(got, "start the server, or correct host, port and sslmode") || strings.Contains(got, "hunter2") {
			t.Errorf("%s: got %v", dsn, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := pgx.Connect(ended, "postgres://127.0.0.1:1/holdfast")
	if err = unavailable("connecting to PostgreSQL", err); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "start the server") {
		t.Errorf("of a call that was given up: %v", err)
	}
}

// A server that takes a connection and then says nothing has been started already.
func TestAServerThatHangsIsNotToldToBeStarted(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = pgx.Connect(ctx, "postgres://"+l.Addr().String()+"/holdfast?sslmode=disable")
	if err = unavailable("connecting to PostgreSQL", err); !strings.Contains(err.Error(), "does not answer in time") || strings.Contains(err.Error(), "start the server") ||
		!errors.Is(err, ErrAway) {
		t.Errorf("got %v", err)
	}
}

// The driver says once which step failed, and then only the cause again.
func TestACauseThatIsSaidAgainWithoutItsStepIsSaidOnce(t *testing.T) {
	if got := (notConnected{errors.New("resolving: no such host\nno such host")}).Error(); got != "resolving: no such host" {
		t.Errorf("got %q", got)
	}
}

func TestEachKnownErrorSaysWhatToDo(t *testing.T) {
	for code, want := range map[string]string{
		insufficientRights: "the owner of the tables gives the role the rights", undefinedTable: "holdfast store migrate", invalidPassword: "correct user and password",
		invalidAuth: "pg_hba.conf", invalidCatalog: "make the database", readOnlyTransaction: "name all servers", tooManyConnections: "max_connections",
		cannotConnectNow: "wait until the server has started", diskFull: "make room",
	} {
		if err := unavailable("asking", &pgconn.PgError{Code: code}); !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", code, err)
		}
	}
	if err := unavailable("asking", fmt.Errorf("waiting: %w", context.DeadlineExceeded)); !strings.Contains(err.Error(), "does not answer in time: see whether it is stopped") {
		t.Errorf("of a database that hangs: %v", err)
	}
	if err := unavailable("asking", errors.New("x")); !strings.HasSuffix(err.Error(), "asking: x") {
		t.Errorf("got %v", err)
	}
}
