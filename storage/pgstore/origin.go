package pgstore

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/holdfast-io/holdfast/storage"
)

// originOf names the cluster by the identifier that it was made with, and its
// history by the timeline of what it writes now: the control file's is that of
// the newest checkpoint, which comes a while after a promotion. Every role may
// ask both, and neither works on a standby.
const originOf = `SELECT system_identifier::text, ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint FROM pg_control_system()`

// originKey is where a connection keeps its storage.Origin.
const originKey = "holdfast origin"

// undefinedFunction is a database's that speaks PostgreSQL's protocol and is another.
const undefinedFunction = "42883"

// noteOrigin has a new connection keep which history it writes to. It holds for
// as long as the connection does: a server that is promoted was none that takes
// writes before. A pooler between may pass it on to another server, though.
func noteOrigin(ctx context.Context, c *pgx.Conn) error {
	o, err := askOrigin(ctx, c)
	if err == nil {
		c.PgConn().CustomData()[originKey] = o
	}
	return err
}

// originAt is the history that a connection writes to.
func originAt(c *pgxpool.Conn) storage.Origin {
	o, _ := c.Conn().PgConn().CustomData()[originKey].(storage.Origin)
	return o
}

func askOrigin(ctx context.Context, c *pgx.Conn) (o storage.Origin, err error) {
	var timeline int64
	err = c.QueryRow(ctx, originOf, pgx.QueryExecModeSimpleProtocol).Scan(&o.System, &timeline)
	if state(err) == undefinedFunction || state(err) == insufficientRights {
		return storage.Origin{}, nil // it does not tell
	}
	o.Timeline = uint64(timeline)
	return o, err
}

// trust is the history that writes may go to.
type trust struct {
	origin  storage.Origin
	shifted func()
}

// Origin implements storage.FailsOver: it asks the server that takes writes now,
// whether that is trusted or not.
func (s *Store) Origin(ctx context.Context) (o storage.Origin, err error) {
	if err := s.enter(); err != nil {
		return o, err
	}
	defer s.leave()
	ctx, cancel := context.WithTimeout(ctx, s.opts.CallTimeout)
	defer cancel()
	// On a connection of its own: those of the pools may be to a server that was left.
	cc := s.write.Config().ConnConfig
	dialOnly(cc)
	c, err := pgx.ConnectConfig(ctx, cc)
	if err != nil {
		return o, unavailable("asking PostgreSQL for its timeline", err)
	}
	defer func() { _ = c.Close(ctx) }()
	if o, err = askOrigin(ctx, c); err != nil {
		return o, unavailable("asking PostgreSQL for its timeline", err)
	}
	return o, nil
}

// Trust implements storage.FailsOver. Reads from another history fail as well.
func (s *Store) Trust(o storage.Origin, shifted func()) { s.trusted.Store(&trust{o, shifted}) }

// acquire takes a connection of a pool that is to the trusted history. Those that
// are left of an earlier one are closed; one to a later one is an error, and looked into.
func (s *Store) acquire(ctx context.Context, pool *pgxpool.Pool) (*pgxpool.Conn, error) {
	for {
		c, err := pool.Acquire(ctx)
		t := s.trusted.Load()
		if err != nil || t == nil {
			return c, err
		}
		o := originAt(c)
		if o == t.origin {
			return c, nil
		}
		_ = c.Conn().Close(ctx)
		c.Release() // the pool makes a new one
		if o.System == t.origin.System && o.Timeline < t.origin.Timeline && ctx.Err() == nil {
			if err := pause(ctx, 1); err != nil { // a server that was left behind may still answer
				return nil, err
			}
			continue
		}
		t.shifted()
		return nil, fmt.Errorf("%w: PostgreSQL goes on in timeline %d, and timeline %d is the one that was compared with what was committed", storage.ErrUnavailable, o.Timeline, t.origin.Timeline)
	}
}

// Replicated implements storage.FailsOver.
func (s *Store) Replicated(ctx context.Context) (bool, error) {
	d, err := s.Durability(ctx)
	return d.SynchronousStandbys != "" && d.SynchronousCommit != "off" && d.SynchronousCommit != "local", err
}

// Durability is what a server says about what its commits survive.
type Durability struct {
	// SynchronousCommit is that of this program's sessions, which set it.
	SynchronousCommit string
	// SynchronousStandbys is synchronous_standby_names; empty: no commit waits for a standby.
	SynchronousStandbys string
	Fsync               bool
	FullPageWrites      bool
	// Standbys that are connected, synchronous or not.
	Standbys int
}

// Durability asks the server. It changes nothing.
func (s *Store) Durability(ctx context.Context) (d Durability, err error) {
	err = s.reading(ctx, "asking for the settings of durability", func(ctx context.Context, c *pgxpool.Conn) error {
		return c.QueryRow(ctx, `SELECT current_setting('synchronous_commit'), current_setting('synchronous_standby_names'),
			current_setting('fsync')::bool, current_setting('full_page_writes')::bool, (SELECT count(*) FROM pg_stat_replication)`).
			Scan(&d.SynchronousCommit, &d.SynchronousStandbys, &d.Fsync, &d.FullPageWrites, &d.Standbys)
	})
	return d, err
}

var _ storage.FailsOver = (*Store)(nil)
