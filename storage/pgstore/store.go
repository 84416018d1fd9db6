package pgstore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/semaphore"

	"github.com/holdfast-io/holdfast/storage"
)

// Store is a storage.Backend over PostgreSQL. Several may be open on one
// database, in one process or many.
type Store struct {
	opts Options
	// read and write are two pools, so that a burst of reads cannot keep a
	// settlement waiting for a connection.
	read, write *pgxpool.Pool
	// id marks this store's notifications.
	id string

	queue chan *member
	// lane bounds who waits for locks of others.
	lane  *semaphore.Weighted
	hints chan []storage.Key
	// stop ends the goroutines, running waits for them. life is the context of
	// what they do: it ends a while after stop.
	stop    chan struct{}
	running sync.WaitGroup
	life    context.Context
	end     context.CancelFunc

	// mu is held for reading by every call and for writing by Close.
	mu     sync.RWMutex
	closed bool // guarded by mu

	// bare is set of a database without a schema, which is only looked at.
	bare bool
	// trusted is the history that the store is used in; nil: any.
	trusted atomic.Pointer[trust]
	doubts  doubts
	// lastPulse is the newest that was seen; nil: none yet.
	lastPulse atomic.Pointer[pulse]
	// commits is the number of the newest commit of this store that is known to be durable.
	commits atomic.Int64
	// proven is when a commit last succeeded, in Unix nanoseconds.
	proven atomic.Int64
	// cancelled holds the connections whose commit did not wait for a standby to its end.
	cancelled sync.Map
}

// Open connects to the database, brings its schema up to date (or only checks
// it, with MigrateByHand) and returns the store. It tries each server once, and
// blocks for some seconds at most where one does not answer: the error is ErrAway
// then. What the configuration must be corrected for is no ErrUnavailable.
func Open(ctx context.Context, o Options) (*Store, error) {
	return start(ctx, o, (*Store).prepareSchema)
}

// Look connects like Open and changes nothing. If the database has a schema that
// this program can not read, the error says so; one without any has no header and
// no records.
func Look(ctx context.Context, o Options) (*Store, error) {
	return start(ctx, o, (*Store).lookAtSchema)
}

func start(ctx context.Context, o Options, prepare func(*Store, context.Context) error) (*Store, error) {
	s, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := prepare(s, ctx); err != nil {
		s.disconnect()
		return nil, err
	}
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	s.queue, s.hints, s.stop = make(chan *member, queueLength), make(chan []storage.Key, queueLength), make(chan struct{})
	s.running.Add(committers + 1)
	for range committers {
		go s.commitLoop()
	}
	go s.hintLoop()
	return s, nil
}

// connect makes the pools and waits for a first answer.
func connect(ctx context.Context, o Options) (*Store, error) {
	o.complete()
	s := &Store{opts: o, id: newID(), lane: semaphore.NewWeighted(laneWidth)}
	for _, p := range []struct {
		pool  **pgxpool.Pool
		conns int
	}{{&s.read, o.MaxConns}, {&s.write, committers + laneWidth + spareWriters}} {
		c, err := s.poolConfig(p.conns)
		if err == nil {
			*p.pool, err = pgxpool.NewWithConfig(ctx, c)
		}
		if err != nil {
			s.disconnect()
			return nil, fmt.Errorf("opening the store on PostgreSQL: %w", err)
		}
	}
	if err := s.read.Ping(ctx); err != nil {
		s.disconnect()
		return nil, s.unconnected(err)
	}
	return s, nil
}

func (s *Store) disconnect() {
	for _, p := range []*pgxpool.Pool{s.read, s.write} {
		if p != nil {
			p.Close()
		}
	}
}

// enter is the way into every call; leave must follow if it returns nil.
func (s *Store) enter() error {
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return fmt.Errorf("%w: the store is closed", storage.ErrUnavailable)
	}
	return nil
}

func (s *Store) leave() { s.mu.RUnlock() }

// notice is told what a server says beside its answers.
func (s *Store) notice(c *pgconn.PgConn, n *pgconn.Notice) {
	// "canceling wait for synchronous replication": the commit goes on to be
	// reported as done, and is not.
	if n.SeverityUnlocalized == "WARNING" && n.Code == "01000" {
		s.cancelled.Store(c, true)
	}
}

// unreplicated reports, once, that a commit of this connection was.
func (s *Store) unreplicated(c *pgx.Conn) bool {
	_, yes := s.cancelled.LoadAndDelete(c.PgConn())
	return yes
}

// provenFor is how long a successful commit proves that the next one will do.
const provenFor = time.Second

// Health commits a small value, unless a commit succeeded within the last
// second, and looks whether a newer Holdfast has left this program's schema behind.
func (s *Store) Health(ctx context.Context) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if time.Since(time.Unix(0, s.proven.Load())) < provenFor {
		return nil
	}
	if err := s.checkReader(ctx); err != nil {
		return err
	}
	return s.pulse(ctx)
}

// pulse is a commit of its own: durable, and replicated where that is asked for,
// together with everything before it.
func (s *Store) pulse(ctx context.Context) error {
	err := s.transact(ctx, "proving that the database can be written", movePulse)
	return onlyUnavailable(err)
}

// Sequence implements storage.Sequencer by the newest swap of this store. Before
// there was one it commits a value of its own, so that the number is durable.
func (s *Store) Sequence(ctx context.Context) (uint64, error) {
	if n := s.commits.Load(); n > 0 {
		return uint64(n), nil
	}
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	var n int64
	err := s.transact(ctx, "numbering the newest commit", func(ctx context.Context, tx pgx.Tx) error {
		if err := movePulse(ctx, tx); err != nil {
			return err
		}
		return tx.QueryRow(ctx, "SELECT nextval('holdfast_commit')").Scan(&n)
	})
	return uint64(n), err
}

// closeGrace is how long Close waits for commits under way.
const closeGrace = 5 * time.Second

// Close waits for queued swaps, for at most some seconds, and disconnects. It
// returns nil if the store is closed already.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	close(s.stop)
	late := time.AfterFunc(closeGrace, s.end)
	s.running.Wait()
	late.Stop()
	s.end()
	s.disconnect()
	return nil
}
