package pgstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// connectTimeout of one host.
	connectTimeout = 5 * time.Second
	// deadPeer is after how long without an answer of the peer's kernel a
	// connection is given up, on either side.
	deadPeer = 10 * time.Second
	// pingTimeout of an idle connection before it is used.
	pingTimeout = 2 * time.Second
	maxConnIdle = 5 * time.Minute
)

// session is what every connection sets. A database or role may have other
// defaults, which must not weaken a commit or change what a statement sees. All
// queries go by a key, so that a plan made on a small table must not be one that
// reads all of it when it has grown; nor does a plan depend on the values, so that
// each statement is planned once and not at every call.
const session = `
SET application_name = 'holdfast';
SET synchronous_commit = on;
SET default_transaction_isolation = 'read committed';
SET default_transaction_read_only = off;
SET statement_timeout = %[1]d;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = %[1]d;
SET tcp_keepalives_idle = 5;
SET tcp_keepalives_interval = 2;
SET tcp_keepalives_count = 3;
SET tcp_user_timeout = %[2]d;
SET enable_seqscan = off;
SET enable_hashjoin = off;
SET enable_mergejoin = off;
SET jit = off;
SET plan_cache_mode = force_generic_plan;
SET timezone = 'UTC'`

// poolConfig of at most so many connections.
func (s *Store) poolConfig(conns int) (*pgxpool.Config, error) {
	c, err := pgxpool.ParseConfig(s.opts.DSN.Reveal())
	if err != nil {
		return nil, unparsed(err)
	}
	c.MaxConns, c.MaxConnIdleTime, c.PingTimeout = int32(conns), maxConnIdle, pingTimeout
	cc := c.ConnConfig
	if cc.ConnectTimeout == 0 {
		cc.ConnectTimeout = connectTimeout
	}
	if cc.ValidateConnect == nil { // after a fail-over the old primary may still answer
		cc.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	cc.OnNotice = s.notice
	c.BeforeConnect = func(_ context.Context, cc *pgx.ConnConfig) error {
		dialOnly(cc)
		return nil
	}
	set := fmt.Sprintf(session, s.opts.CallTimeout.Milliseconds(), deadPeer.Milliseconds())
	c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		if _, err := conn.Exec(ctx, set, pgx.QueryExecModeSimpleProtocol); err != nil {
			return err
		}
		return noteOrigin(ctx, conn)
	}
	return c, nil
}

// dialOnly has a connection dial with the timeouts of a dead peer, and never to
// cancel a statement: the driver cancels what it gives up on, and a cancelled
// commit becomes visible before it is replicated.
func dialOnly(cc *pgx.ConnConfig) {
	d := &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3},
		ControlContext: func(_ context.Context, network, _ string, raw syscall.RawConn) error {
			return userTimeout(network, raw, deadPeer)
		},
	}
	var connected atomic.Bool
	cc.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if connected.Load() {
			return nil, errors.New("a statement is never cancelled")
		}
		ctx, cancel := context.WithTimeout(ctx, cc.ConnectTimeout)
		defer cancel()
		return d.DialContext(ctx, network, address)
	}
	after := cc.AfterConnect
	cc.AfterConnect = func(ctx context.Context, c *pgconn.PgConn) error {
		connected.Store(true)
		if after != nil {
			return after(ctx, c)
		}
		return nil
	}
}
