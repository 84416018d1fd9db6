package pgstore

import (
	"io/fs"
	"log/slog"
	"time"

	"github.com/holdfast-io/holdfast/secret"
)

// Options of a Store. The zero value of each but DSN is right for production.
type Options struct {
	// DSN is the connection string, as a URL or in keywords and values; it may name
	// several hosts, of which the one that takes writes is used. The environment
	// (PGSSLMODE and so on) completes it.
	DSN secret.String
	// From says, for people, where the DSN was configured; "" means store.postgres.
	From string
	// Log of the store; nil means slog.Default().
	Log *slog.Logger
	// MaxConns is how many connections read at once; 0 means 8. Writing takes up
	// to six more, and listening one.
	MaxConns int
	// CallTimeout bounds a read, and the time that a swap waits for locks; 0 means 5 s.
	CallTimeout time.Duration
	// CommitTimeout bounds a commit, which waits for synchronous standbys; 0 means
	// 20 s. After it the connection is dropped and the outcome is unknown.
	CommitTimeout time.Duration
	// MigrateByHand: Open applies no migration, and refuses a database that lacks one.
	MigrateByHand bool
	// migrations of a test; nil means the program's own.
	migrations fs.FS
}

const (
	defaultMaxConns      = 8
	defaultCallTimeout   = 5 * time.Second
	defaultCommitTimeout = 20 * time.Second
	// committers commit groups at once: while one waits for the disk the next gathers.
	committers = 2
	// laneWidth is how many swaps wait at once for locks of others.
	laneWidth = 2
	// spareWriters are connections for what goes beside the groups: a seal anew,
	// a record in doubt, a hint.
	spareWriters = 2
)

func (o *Options) complete() {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.MaxConns == 0 {
		o.MaxConns = defaultMaxConns
	}
	if o.CallTimeout == 0 {
		o.CallTimeout = defaultCallTimeout
	}
	if o.CommitTimeout == 0 {
		o.CommitTimeout = defaultCommitTimeout
	}
}
