package config

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const storeLine = "  dir: store\n"

func TestASharedStoreDecodes(t *testing.T) {
	d := dir(t)
	write(t, filepath.Join(d, "files/dsn"), "postgres://holdfast:hunter2@db.example.com/holdfast\n")
	text := strings.Replace(whole, storeLine, storeLine+"  kind: postgres\n  postgres:\n    dsn_file: files/dsn\n    migrate: by_hand\n    connections: 20\n  serve_stale_for: 1m\n", 1)
	c, _, err := Parse(filepath.Join(d, "holdfast.yaml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p := c.Store.Postgres
	if p.DSNFile != filepath.Join(d, "files/dsn") || p.Migrate != MigrateByHand || p.Connections != 20 || c.Store.ServeStaleFor != time.Minute {
		t.Errorf("got %+v", c.Store)
	}
	dsn, err := p.DSN()
	if err != nil || dsn.Reveal() != "postgres://holdfast:hunter2@db.example.com/holdfast" {
		t.Errorf("connection string: %v", err)
	}
	t.Setenv("HOLDFAST_TEST_DSN", "host=db.example.com")
	text = strings.Replace(whole, storeLine, storeLine+"  kind: postgres\n  postgres: {dsn_env: HOLDFAST_TEST_DSN}\n", 1)
	if c, _, err = Parse(filepath.Join(d, "holdfast.yaml"), []byte(text)); err != nil {
		t.Fatal(err)
	}
	if c.Store.ServeStaleFor != 5*time.Minute || c.Store.Postgres.Migrate != MigrateAuto {
		t.Errorf("defaults: %+v", c.Store)
	}
}

func TestEachProblemOfAStoreIsReported(t *testing.T) {
	const shared = "  kind: postgres\n  postgres:\n    dsn_file: files/secret\n"
	for _, row := range []struct{ name, add, want string }{
		{"an unknown kind", "  kind: sqlite\n", `store.kind: "sqlite": want one of badger, postgres`},
		{"no connection string", "  kind: postgres\n", "store.postgres.dsn_file: missing; write the connection string"},
		{"a file that is not there", "  kind: postgres\n  postgres:\n    dsn_file: none\n", "store.postgres.dsn_file: open "},
		{"an empty variable", "  kind: postgres\n  postgres:\n    dsn_env: HOLDFAST_NOWHERE\n", "store.postgres.dsn_env: the environment variable HOLDFAST_NOWHERE is empty"},
		{"both", shared + "    dsn_env: HOME\n", "store.postgres.dsn_env: the connection string is in dsn_file already"},
		{"what is no connection string", shared, "store.postgres.dsn_file: the connection string is none of PostgreSQL's"},
		{"a variable that holds none", "  kind: postgres\n  postgres:\n    dsn_env: HOLDFAST_TEST_NONE\n", "store.postgres.dsn_env: HOLDFAST_TEST_NONE: the connection string is none"},
		{"an unknown way to migrate", shared + "    migrate: never\n", `store.postgres.migrate: "never": want one of auto, by_hand`},
		{"too many connections", shared + "    connections: 5000\n", "store.postgres.connections: 5000 is not from 1 to 100"},
		{"stale for a day", shared + "  serve_stale_for: 24h\n", "store.serve_stale_for: 24h0m0s is not from 1s to 1h0m0s"},
		{"a database of an embedded store", "  postgres:\n    dsn_file: files/secret\n", "store.postgres: the store is embedded"},
		{"an embedded store that is stale", "  serve_stale_for: 1m\n", "store.serve_stale_for: an embedded store is one replica's own"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Setenv("HOLDFAST_TEST_NONE", "hunter2")
			text := strings.Replace(whole, storeLine, storeLine+row.add, 1)
			if text == whole {
				t.Fatal("the whole file's store looks otherwise")
			}
			_, _, err := Parse(filepath.Join(dir(t), "holdfast.yaml"), []byte(text))
			if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "hunter2") {
				t.Fatalf("want a problem with\n  %s\ngot\n  %v", row.want, err)
			}
		})
	}
}

func TestReplicasMustNotHaveToAgreeBetterThanTheyCan(t *testing.T) {
	shared := strings.Replace(whole, storeLine, storeLine+"  kind: postgres\n  postgres:\n    dsn_file: files/dsn\n", 1)
	for _, row := range []struct{ text, want string }{
		{strings.Replace(shared, "clock_margin: 5s", "clock_margin: 500ms", 1), "provider.clock_margin: 500ms is too short for replicas"},
		{strings.Replace(whole, "clock_margin: 5s", "clock_margin: 500ms", 1), ""},
		{strings.Replace(shared, "clock_margin: 5s", "clock_margin: 1s", 1), ""},
	} {
		d := dir(t)
		write(t, filepath.Join(d, "files/dsn"), "host=db.example.com")
		_, _, err := Parse(filepath.Join(d, "holdfast.yaml"), []byte(row.text))
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("got %v, want %q", err, row.want)
		}
	}
}
