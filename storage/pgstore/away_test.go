package pgstore

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
)

func TestADatabaseThatIsAwayIsToldFromAConfigurationThatIsWrong(t *testing.T) {
	server := pgtest.Start(t)
	for _, sql := range []string{"CREATE ROLE broker LOGIN PASSWORD 'right'", "CREATE DATABASE shut", "REVOKE CONNECT ON DATABASE shut FROM PUBLIC"} {
		server.Exec(t, "postgres", sql)
	}
	at := func(user, database string) string {
		return "postgres://" + user + "@" + server.Addr() + "/" + database + "?sslmode=disable&connect_timeout=1"
	}
	rows := []struct {
		name, dsn string
		away      bool
		says      string
	}{
		{"a wrong password", at("broker:hunter2", "postgres"), false, "correct user and password in the file (store.postgres.dsn_file)"},
		{"an unknown role", at("nobody:hunter2", "postgres"), false, "correct user and password in the file (store.postgres.dsn_file)"},
		{"no password", at("broker", "postgres"), false, "correct user and password in the file (store.postgres.dsn_file)"},
		{"an unknown database", at("broker:right", "nowhere"), false, "make the database, or correct its name in the file (store.postgres.dsn_file)"},
		{"a database that is closed to the role", at("broker:right", "shut"), false, "grant the role CONNECT on the database"},
		{"a server that is starting up", refusing(t, cannotConnectNow), true, "wait until the server has started"},
		{"a server that is shut down", refusing(t, adminShutdown), true, ""},
		{"a server without a connection to spare", refusing(t, tooManyConnections), true, "max_connections"},
		{"a server that has just died", refusing(t, ""), true, ""},
		{"no server", "postgres://a:hunter2@127.0.0.1:1/x", true, "start the server"},
	}
	for _, row := range rows {
		o := quiet(row.dsn)
		o.From = "the file (store.postgres.dsn_file)"
		_, err := Open(t.Context(), o)
		if err == nil || errors.Is(err, ErrAway) != row.away || errors.Is(err, storage.ErrUnavailable) != row.away ||
			!strings.Contains(err.Error(), row.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got %v", row.name, err)
		}
	}
	server.Pause(t)
	defer server.Resume(t)
	if _, err := Open(t.Context(), quiet(at("postgres", "postgres"))); !errors.Is(err, ErrAway) {
		t.Errorf("a server that hangs: got %v", err)
	}
}

// A broker that runs has had its database: what is refused to it now is somebody's
// change of the moment, and no reason to call its configuration wrong.
func TestAStoreThatIsOpenIsNeverWronglyConfigured(t *testing.T) {
	server := pgtest.Start(t)
	server.Exec(t, "postgres", "CREATE ROLE broker LOGIN PASSWORD 'right' SUPERUSER")
	s := opened(t, quiet("postgres://broker:right@"+server.Addr()+"/postgres?sslmode=disable"))
	server.Exec(t, "postgres", "ALTER ROLE broker PASSWORD 'another'")
	server.TerminateBackends(t, "postgres")
	if _, err := s.Get(t.Context(), storage.Key{Kind: storage.KindGrant, ID: "g"}); !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "correct user and password") {
		t.Errorf("got %v", err)
	}
}

// refusing is the connection string of a server that answers everybody with one
// error, or, without a code, hangs up.
func refusing(t *testing.T, code string) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			b := pgproto3.NewBackend(c, c)
			if _, err := b.ReceiveStartupMessage(); err == nil && code != "" {
				b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: code, Message: "not now"})
				_ = b.Flush() // the client has gone, perhaps
			}
			_ = c.Close() // see above
		}
	}()
	t.Cleanup(func() {
		_ = lis.Close() // ends the goroutine
		<-done
	})
	return "postgres://a:hunter2@" + lis.Addr().String() + "/x?sslmode=disable"
}
