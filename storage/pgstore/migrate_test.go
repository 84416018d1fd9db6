package pgstore

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
	"github.com/holdfast-io/holdfast/storage/storetest"
)

func quiet(dsn string) Options {
	return Options{DSN: secret.New(dsn), Log: slog.New(slog.DiscardHandler)}
}

func opened(t *testing.T, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// run runs statements, as psql would.
func run(t *testing.T, dsn, sql string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context()) // cleanups run statements, too
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(ctx) }()
	if _, err := c.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func applied(t *testing.T, dsn string) (versions []int64) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	rows, err := c.Query(t.Context(), "SELECT version_id FROM holdfast_migration ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	if versions, err = pgx.CollectRows(rows, pgx.RowTo[int64]); err != nil {
		t.Fatal(err)
	}
	return versions
}

func TestReplicasThatStartAtOnceMigrateOnce(t *testing.T) {
	dsn := pgtest.Shared(t).Database(t)
	errs := make(chan error)
	const replicas = 6
	for range replicas {
		go func() {
			s, err := Open(t.Context(), quiet(dsn))
			if err == nil {
				err = errors.Join(s.Swap(t.Context(), nil, []storage.Entry{{GrantID: "g", Sealed: []byte("e")}}), s.Close())
			}
			errs <- err
		}()
	}
	for range replicas {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := applied(t, dsn); !slices.Equal(got, []int64{0, 1}) {
		t.Errorf("applied %v", got)
	}
}

func TestAMigrationByHandIsCheckedAndTheSameAsOneByTheProgram(t *testing.T) {
	dsn := pgtest.Shared(t).Database(t)
	o := quiet(dsn)
	o.MigrateByHand = true
	_, err := Open(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "00001_records.sql") || !strings.Contains(err.Error(), "--print") {
		t.Fatalf("got %v, want an error that names the migration and how to see it", err)
	}
	pending, err := Pending(t.Context(), o)
	if err != nil || len(pending) != 1 {
		t.Fatalf("pending are %v, error %v", pending, err)
	}
	seen, err := Look(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := seen.Header(t.Context()); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("looking at it: %v", err)
	}
	if err := seen.Close(); err != nil {
		t.Error(err)
	}
	run(t, dsn, Script(pending))
	opened(t, o)
	if done, err := Migrate(t.Context(), o); err != nil || len(done) > 0 {
		t.Errorf("migrated %v after that, error %v", done, err)
	}
	byProgram := pgtest.Shared(t).Database(t)
	if _, err := Migrate(t.Context(), quiet(byProgram)); err != nil {
		t.Fatal(err)
	}
	if a, b := shape(t, dsn), shape(t, byProgram); a != b || a == "" {
		t.Errorf("by hand it is\n%s\nby the program\n%s", a, b)
	}
}

// shape is what the catalog says about the schema.
func shape(t *testing.T, dsn string) (text string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close(context.Background()) }()
	const columns = `SELECT string_agg(format('%s.%s %s %s %s', table_name, column_name, data_type, is_nullable, column_default), E'\n' ORDER BY table_name, column_name)
|| (SELECT string_agg(indexdef, E'\n' ORDER BY indexname) FROM pg_indexes WHERE schemaname = 'public')
FROM information_schema.columns WHERE table_schema = 'public'`
	if err := c.QueryRow(t.Context(), columns).Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}

// empty makes a database that has the schema as good as new.
const empty = "TRUNCATE holdfast_record, holdfast_journal; UPDATE holdfast_store SET header = NULL"

var sqlBlock = regexp.MustCompile("(?s)```sql\n(.*?)```")

// A role with exactly the rights that the manual lists passes everything.
func TestTheDocumentedRoleIsEnough(t *testing.T) {
	manual, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	grants := sqlBlock.FindStringSubmatch(string(manual))
	if grants == nil {
		t.Fatal("README.md lists no rights")
	}
	owner := pgtest.Shared(t).Database(t)
	if _, err := Migrate(t.Context(), quiet(owner)); err != nil {
		t.Fatal(err)
	}
	run(t, owner, grants[1]+"ALTER ROLE holdfast_broker PASSWORD 'broker'")
	t.Cleanup(func() { run(t, owner, "DROP OWNED BY holdfast_broker; DROP ROLE holdfast_broker") })
	role := func(t *testing.T) Options {
		t.Helper()
		run(t, owner, empty)
		o := quiet(strings.Replace(owner, "postgres@", "holdfast_broker:broker@", 1))
		o.MigrateByHand = true
		return o
	}
	storetest.Run(t, func(t *testing.T) storage.Backend { return opened(t, role(t)) })
	storetest.RunShared(t, func(t *testing.T) (one, other storage.Backend) {
		o := role(t)
		return opened(t, o), opened(t, o)
	})
	t.Run("what it lacks is named", func(t *testing.T) {
		s := opened(t, role(t))
		if p, err := s.Prepared(t.Context()); err != nil || len(p.Pending)+len(p.Rights) > 0 || !p.ByHand {
			t.Errorf("of the documented role: %+v, %v", p, err)
		}
		run(t, owner, "REVOKE DELETE ON holdfast_journal FROM holdfast_broker; REVOKE USAGE ON SEQUENCE holdfast_commit FROM holdfast_broker")
		defer run(t, owner, "GRANT DELETE ON holdfast_journal TO holdfast_broker; GRANT USAGE ON SEQUENCE holdfast_commit TO holdfast_broker")
		want := []string{"DELETE on holdfast_journal", "USAGE on holdfast_commit"}
		if p, err := s.Prepared(t.Context()); err != nil || !slices.Equal(p.Rights, want) {
			t.Errorf("got %+v, %v; want %v", p, err, want)
		}
		if _, err := s.Sequence(t.Context()); !errors.Is(err, ErrForbidden) || !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("numbering without the right to: %v", err)
		}
	})
	t.Run("the header is swapped", func(t *testing.T) {
		s := opened(t, role(t))
		if err := s.SwapHeader(t.Context(), nil, []byte("h")); err != nil {
			t.Error(err)
		}
		if b, err := s.Header(t.Context()); err != nil || string(b) != "h" {
			t.Errorf("got %q, %v", b, err)
		}
		if err := s.SwapHeader(t.Context(), nil, []byte("other")); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("making it again: %v", err)
		}
		if _, err := s.write.Exec(t.Context(), "CREATE TABLE mine ()"); err == nil {
			t.Error("it may make tables")
		}
	})
}

// withNext is the program's migrations and one more.
func withNext(t *testing.T, sql string) fstest.MapFS {
	t.Helper()
	out := fstest.MapFS{}
	names, err := embedded.ReadDir("migrations")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		b, err := embedded.ReadFile("migrations/" + n.Name())
		if err != nil {
			t.Fatal(err)
		}
		out[n.Name()] = &fstest.MapFile{Data: b}
	}
	out["09999_next.sql"] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + sql + "\n-- +goose Down\nSELECT 1;\n")}
	return out
}

// The release before goes on beside the next one, which has migrated, and can
// even be started again.
func TestTheReleaseBeforeGoesOnAfterTheNextHasMigrated(t *testing.T) {
	dsn := pgtest.Shared(t).Database(t)
	old := opened(t, quiet(dsn))
	grant := func(v storage.Version) []storage.Change {
		return []storage.Change{{Old: v, Item: storage.Item{Key: storage.Key{Kind: storage.KindGrant, ID: "g"}, Sealed: []byte("s")}}}
	}
	if err := old.Swap(t.Context(), grant(0), nil); err != nil {
		t.Fatal(err)
	}
	next := quiet(dsn)
	next.migrations = withNext(t, "ALTER TABLE holdfast_record ADD COLUMN hint text; ALTER TABLE holdfast_journal ADD COLUMN kind smallint NOT NULL DEFAULT 0;")
	newer := opened(t, next)
	for v := storage.Version(1); v < 20; v += 2 {
		if err := old.Swap(t.Context(), grant(v), []storage.Entry{{GrantID: "g", Sealed: []byte("e")}}); err != nil {
			t.Fatalf("the old one: %v", err)
		}
		if err := newer.Swap(t.Context(), grant(v+1), []storage.Entry{{GrantID: "g", Sealed: []byte("e")}}); err != nil {
			t.Fatalf("the new one: %v", err)
		}
		if it, err := old.Get(t.Context(), storage.Key{Kind: storage.KindGrant, ID: "g"}); err != nil || it.Version != v+2 {
			t.Fatalf("the old one reads version %d, %v", it.Version, err)
		}
	}
	if err := old.Health(t.Context()); err != nil {
		t.Errorf("the old one is unhealthy: %v", err)
	}
	opened(t, quiet(dsn))
}

func TestAProgramTooOldForTheSchemaStops(t *testing.T) {
	dsn := pgtest.Shared(t).Database(t)
	old := opened(t, quiet(dsn))
	next := quiet(dsn)
	next.migrations = withNext(t, "UPDATE holdfast_schema SET min_reader = 9999;")
	opened(t, next)
	if _, err := Open(t.Context(), quiet(dsn)); err == nil || !strings.Contains(err.Error(), "start the newer Holdfast") {
		t.Errorf("opening it: %v", err)
	}
	old.proven.Store(0) // as after a second
	if err := old.Health(t.Context()); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("the one that runs is healthy: %v", err)
	}
}

// Each migration keeps the program of the one before: this looks at all that there will be.
func TestEveryMigrationKeepsTheReleaseBefore(t *testing.T) {
	dsn := pgtest.Shared(t).Database(t)
	all := withNext(t, "SELECT 1;")
	delete(all, "09999_next.sql")
	names := slices.Sorted(maps.Keys(all))
	some := fstest.MapFS{}
	before := int64(0)
	for _, name := range names {
		some[name] = all[name]
		o := quiet(dsn)
		o.migrations = maps.Clone(some)
		s := opened(t, o)
		st, err := s.schemaState(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if st.minReader > max(before, 1) {
			t.Errorf("after %s programs of version %d, the one before, are refused: want min_reader at most that, not %d", name, before, st.minReader)
		}
		before = st.applied
	}
}
