package pgstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"github.com/pressly/goose/v3/lock"

	"github.com/holdfast-io/holdfast/storage"
)

// The schema's rule: a migration only adds (tables, columns with defaults,
// indexes), so that replicas of the release before go on while the new ones have
// migrated. One that takes something away comes a release after the last
// program that used it, and raises holdfast_schema.min_reader: an older program
// than that refuses to start, and a running one turns unhealthy.

//go:embed migrations/*.sql
var embedded embed.FS

// migrationTable is where goose keeps what was applied.
const migrationTable = "holdfast_migration"

// migrationLock is the advisory lock under which migrations run ("holdfast" as a number).
const migrationLock = 0x686f6c6466617374

// Migration is one step of the schema.
type Migration struct {
	Version int64
	// Name of its file.
	Name string
	// SQL of the step upwards.
	SQL string
}

func (s *Store) migrationFiles() fs.FS {
	if s.opts.migrations != nil {
		return s.opts.migrations
	}
	sub, _ := fs.Sub(embedded, "migrations") // a constant and valid name
	return sub
}

// steps are all migrations that this program knows, in order.
func (s *Store) steps() ([]Migration, error) {
	files := s.migrationFiles()
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var out []Migration
	for _, name := range names {
		number, _, _ := strings.Cut(path.Base(name), "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("migration %s has no number", name)
		}
		b, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		up, _, _ := strings.Cut(string(b), "-- +goose Down")
		up = strings.TrimPrefix(strings.TrimSpace(up), "-- +goose Up")
		out = append(out, Migration{version, name, strings.TrimSpace(up)})
	}
	return out, nil
}

// schemaState is how far the database's schema is.
type schemaState struct {
	// applied is the newest migration; 0: none.
	applied int64
	// minReader is the oldest schema that a program must know to use it.
	minReader int64
}

func (s *Store) schemaState(ctx context.Context) (st schemaState, err error) {
	err = s.reading(ctx, "reading the schema's version", func(ctx context.Context, c *pgxpool.Conn) error {
		var there bool
		if err := c.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", migrationTable).Scan(&there); err != nil || !there {
			return err
		}
		const newest = "SELECT coalesce(max(version_id), 0) FROM " + migrationTable + " WHERE is_applied"
		if err := c.QueryRow(ctx, newest).Scan(&st.applied); err != nil || st.applied == 0 {
			return err
		}
		return c.QueryRow(ctx, "SELECT min_reader FROM holdfast_schema").Scan(&st.minReader)
	})
	return st, err
}

// prepareSchema brings the schema up to date, or says what is missing.
func (s *Store) prepareSchema(ctx context.Context) error {
	pending, err := s.pending(ctx)
	if err != nil || len(pending) == 0 {
		return err
	}
	if s.opts.MigrateByHand {
		return lacksByHand(pending)
	}
	_, err = s.migrate(ctx, pending)
	return err
}

func lacksByHand(pending []Migration) error {
	return fmt.Errorf("the database's schema lacks %s, and store.postgres.migrate is by_hand: see the SQL with holdfast store migrate --print, "+
		"have it applied by the owner of the tables, then run this again; nothing was changed", named(pending))
}

// lookAtSchema only finds out whether there is one that this program can read.
// What was added since is not missed by who only looks.
func (s *Store) lookAtSchema(ctx context.Context) error {
	pending, err := s.pending(ctx)
	if err == nil && len(pending) > 0 {
		s.bare = pending[0].Version == 1
	}
	return err
}

// pending are the migrations that the database lacks. An error says so if it is
// of a newer program that this one must not follow.
func (s *Store) pending(ctx context.Context) ([]Migration, error) {
	steps, err := s.steps()
	if err != nil {
		return nil, err
	}
	st, err := s.schemaState(ctx)
	if err != nil {
		return nil, err
	}
	if err := readable(st, steps); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(steps, func(m Migration) bool { return m.Version <= st.applied }), nil
}

func readable(st schemaState, steps []Migration) error {
	if known := steps[len(steps)-1].Version; known < st.minReader {
		return fmt.Errorf("%w: the database's schema is at version %d and wants programs that know version %d, this one knows %d: "+
			"start the newer Holdfast that migrated it; nothing was changed", storage.ErrUnavailable, st.applied, st.minReader, known)
	}
	return nil
}

// checkReader finds that a newer Holdfast has taken something away that this
// program uses.
func (s *Store) checkReader(ctx context.Context) error {
	st, err := s.schemaState(ctx)
	if err != nil {
		return err
	}
	steps, err := s.steps()
	if err != nil {
		return err
	}
	return readable(st, steps)
}

func named(steps []Migration) string {
	names := make([]string, len(steps))
	for i, m := range steps {
		names[i] = m.Name
	}
	return "migration " + strings.Join(names, ", ")
}

// migrate applies what is pending. Several replicas may do so at once: each
// migration is applied by one of them, and the others wait.
func (s *Store) migrate(ctx context.Context, pending []Migration) ([]Migration, error) {
	c, err := s.poolConfig(1)
	if err != nil {
		return nil, err
	}
	cc := c.ConnConfig
	dialOnly(cc)
	cc.RuntimeParams["lock_timeout"] = "10000" // who waits for a table's lock makes everybody else wait
	db := stdlib.OpenDB(*cc)
	defer func() { _ = db.Close() }()
	p, err := s.provider(db)
	if err != nil {
		return nil, err
	}
	if _, err := p.Up(ctx); err != nil {
		return nil, fmt.Errorf("%w; a role that owns the tables applies it with holdfast store migrate, or see the SQL with --print",
			unavailable("applying "+named(pending), rootCause(err)))
	}
	s.opts.Log.Info("the database's schema was brought up to date", "schema", named(pending))
	return pending, nil
}

// rootCause is what the server said, without the statement that goose quotes.
func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

func (s *Store) provider(db *sql.DB) (*goose.Provider, error) {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(migrationLock), lock.WithLockTimeout(1, 300), lock.WithUnlockTimeout(1, 10))
	if err != nil {
		return nil, err
	}
	versions, err := database.NewStore(database.DialectPostgres, migrationTable)
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectCustom, db, s.migrationFiles(),
		goose.WithStore(versions), goose.WithSessionLocker(locker), goose.WithDisableGlobalRegistry(true), goose.WithSlog(s.opts.Log))
}

// Pending returns the migrations that a database lacks. It changes nothing.
func Pending(ctx context.Context, o Options) ([]Migration, error) {
	s, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	defer s.disconnect()
	return s.pending(ctx)
}

// Migrate applies the migrations that a database lacks, and returns them. The
// role must be allowed to make tables, or own those that are there.
func Migrate(ctx context.Context, o Options) ([]Migration, error) {
	s, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	defer s.disconnect()
	pending, err := s.pending(ctx)
	if err != nil || len(pending) == 0 {
		return nil, err
	}
	return s.migrate(ctx, pending)
}

// Script is the SQL that applies migrations by hand and records them, each in
// one transaction.
func Script(steps []Migration) string {
	var b strings.Builder
	for _, m := range steps {
		fmt.Fprintf(&b, "-- %s\nBEGIN;\n", m.Name)
		if m.Version == 1 {
			fmt.Fprintf(&b, `CREATE TABLE %[1]s (
    id         integer   PRIMARY KEY GENERATED BY DEFAULT AS IDENTITY,
    version_id bigint    NOT NULL,
    is_applied boolean   NOT NULL,
    tstamp     timestamp NOT NULL DEFAULT now()
);
INSERT INTO %[1]s (version_id, is_applied) VALUES (0, true);
`, migrationTable)
		}
		fmt.Fprintf(&b, "%s\nINSERT INTO %s (version_id, is_applied) VALUES (%d, true);\nCOMMIT;\n\n", m.SQL, migrationTable, m.Version)
	}
	return b.String()
}
