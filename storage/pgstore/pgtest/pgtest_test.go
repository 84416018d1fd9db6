package pgtest_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	pgtest.StopShared()
	os.Exit(code)
}

func ask(t *testing.T, dsn, question string) (answer string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.WithoutCancel(t.Context())) }()
	if err := c.QueryRow(t.Context(), question).Scan(&answer); err != nil {
		t.Fatalf("%s: %v", question, err)
	}
	return answer
}

func TestAServerSyncsAndKeepsWhatWasCommittedWhateverEndsIt(t *testing.T) {
	s := pgtest.Start(t)
	dsn := s.Database(t)
	if got := ask(t, dsn, "SHOW fsync"); got != "on" {
		t.Errorf("fsync is %q", got)
	}
	database := ask(t, dsn, "SELECT current_database()::text")
	s.Exec(t, database, "CREATE TABLE kept (word text); INSERT INTO kept VALUES ('here')")
	if got := s.Ask(t, database, "SELECT count(*) FROM kept"); got != "1" {
		t.Errorf("%s rows were kept, want 1", got)
	}
	for name, end := range map[string]func(testing.TB){"Restart": s.Restart, "Kill": func(t testing.TB) { s.Kill(t); s.StartAgain(t) }} {
		end(t)
		if got := ask(t, dsn, "SELECT word FROM kept"); got != "here" {
			t.Errorf("after %s: %q", name, got)
		}
	}
}

func TestAPausedServerAnswersLater(t *testing.T) {
	s := pgtest.Start(t, pgtest.WithoutSync())
	c, err := pgx.Connect(t.Context(), s.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	s.Pause(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := c.Ping(ctx); err == nil {
		t.Error("a paused server answered")
	}
	s.Resume(t)
	if got := ask(t, s.DSN("postgres"), "SELECT 'well'"); got != "well" {
		t.Errorf("got %q", got)
	}
}

func TestAPromotedStandbyHasWhatTheSynchronousPrimaryCommitted(t *testing.T) {
	primary := pgtest.Start(t)
	standby := pgtest.Standby(t, primary, true)
	primary.Exec(t, "postgres", "CREATE TABLE kept (word text); INSERT INTO kept VALUES ('here')")
	primary.Kill(t)
	standby.Promote(t)
	if got := ask(t, standby.DSN("postgres"), "SELECT word FROM kept"); got != "here" {
		t.Errorf("got %q", got)
	}
	standby.Exec(t, "postgres", "INSERT INTO kept VALUES ('written')")
}

func TestDatabasesOfOneServerAreApart(t *testing.T) {
	s := pgtest.Shared(t)
	if pgtest.Shared(t) != s {
		t.Fatal("there are two shared servers")
	}
	a, b := s.Database(t), s.Database(t)
	if ask(t, a, "SELECT current_database()::text") == ask(t, b, "SELECT current_database()::text") {
		t.Error("both are the same")
	}
}

// The server of a process that is killed must not stay behind.
func TestAServerEndsWithItsProcess(t *testing.T) {
	if dir := os.Getenv("PGTEST_DIE"); dir != "" {
		s := pgtest.Start(t, pgtest.WithoutSync())
		if err := os.WriteFile(filepath.Join(dir, "where"), []byte(s.SocketDir()), 0o600); err != nil {
			t.Fatal(err)
		}
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = self.Kill()
		}
		t.Fatal("still alive", err)
	}
	dir := t.TempDir()
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAServerEndsWithItsProcess$")
	c.Env = append(os.Environ(), "PGTEST_DIE="+dir)
	if out, err := c.CombinedOutput(); err == nil {
		t.Fatalf("the child ended well:\n%s", out)
	}
	where, err := os.ReadFile(filepath.Join(dir, "where"))
	if err != nil {
		t.Fatal(err)
	}
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	deadline := time.Now().Add(30 * time.Second)
	for ; ; <-look.C {
		_, err := os.Stat(string(where))
		if os.IsNotExist(err) && !anyProcessOf(string(where)) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after 30 s %s or a process of it is still there: %v", where, err)
		}
	}
}

func anyProcessOf(dir string) bool {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, name := range lines {
		if b, err := os.ReadFile(name); err == nil && strings.Contains(string(b), filepath.Join(dir, "data")) {
			return true
		}
	}
	return false
}
