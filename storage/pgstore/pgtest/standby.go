package pgtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Standby starts a hot standby of primary by streaming replication, which ends
// with the test. If sync is set, the primary's commits wait for it from now on;
// a primary has one synchronous standby, the newest.
func Standby(t testing.TB, primary *Server, sync bool, opts ...Option) *Server {
	t.Helper()
	s := prepare(t, opts)
	t.Cleanup(func() { s.end(t.Logf) })
	name := fmt.Sprintf("standby_%d", s.port)
	s.run(t, "pg_basebackup", "-D", s.data(), "-X", "stream", "-c", "fast", "--no-sync", "-R",
		"-d", fmt.Sprintf("host=127.0.0.1 port=%d user=postgres application_name=%s", primary.port, name))
	s.configure(t)
	s.StartAgain(t)
	if sync {
		primary.Exec(t, "postgres", fmt.Sprintf("ALTER SYSTEM SET synchronous_standby_names = '%s'", name))
		primary.Exec(t, "postgres", "SELECT pg_reload_conf()")
	}
	want := map[bool]string{true: "sync", false: "async"}[sync]
	primary.Await(t, fmt.Sprintf("SELECT EXISTS (SELECT FROM pg_stat_replication WHERE application_name = '%s' AND state = 'streaming' AND sync_state = '%s')", name, want))
	return s
}

// Promote makes a standby a primary and waits until it takes writes.
func (s *Server) Promote(t testing.TB) {
	t.Helper()
	s.Exec(t, "postgres", "SELECT pg_promote(true, 60)")
	s.Await(t, "SELECT NOT pg_is_in_recovery()")
}

// Await polls a question, such as one about pg_stat_replication, until the answer is yes.
func (s *Server) Await(t testing.TB, question string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startWithin)
	defer cancel()
	c, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(ctx) }()
	for yes := false; !yes; {
		if err := c.QueryRow(ctx, question).Scan(&yes); err != nil {
			t.Fatalf("%s: %v", question, err)
		}
		if !yes {
			time.Sleep(20 * time.Millisecond) // a look at another process, not a synchronisation
		}
	}
}
