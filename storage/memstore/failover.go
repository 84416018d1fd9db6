package memstore

import (
	"context"
	"fmt"
	"sync"

	"github.com/holdfast-io/holdfast/storage"
)

// Database is a Store as several replicas reach it that may fail over: Promote
// has it go on, in another history, from what a standby had.
type Database struct {
	*Store
	mu         sync.Mutex
	timeline   uint64 // guarded by mu
	replicated bool   // guarded by mu
}

// NewDatabase returns an empty one in its first history, without a standby.
func NewDatabase() *Database { return &Database{Store: New(), timeline: 1} }

// Place returns where a store lies that several replicas have in d at once.
func (d *Database) Place() *storage.DatabasePlace {
	return &storage.DatabasePlace{Name: "memory", Open: func(context.Context, bool) (storage.Database, error) {
		return &connection{view: view{d.Store}, d: d}, nil
	}}
}

// Synchronous says whether a standby has each commit before it is acknowledged.
func (d *Database) Synchronous(yes bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.replicated = yes
}

// Promote makes the standby, which Durable returned at some time, the database:
// whatever was committed since is lost.
func (d *Database) Promote(standby *Store) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.timeline++
	d.Store.mu.Lock()
	defer d.Store.mu.Unlock()
	d.live, d.synced = standby.live, standby.synced
}

func (d *Database) origin() storage.Origin {
	d.mu.Lock()
	defer d.mu.Unlock()
	return storage.Origin{System: "memory", Timeline: d.timeline}
}

// connection is what one replica has of a Database.
type connection struct {
	view
	d       *Database
	mu      sync.Mutex
	trusted *storage.Origin // guarded by mu
	shifted func()          // guarded by mu
}

// Origin implements storage.FailsOver.
func (c *connection) Origin(ctx context.Context) (storage.Origin, error) {
	return c.d.origin(), c.Health(ctx)
}

// Trust implements storage.FailsOver.
func (c *connection) Trust(o storage.Origin, shifted func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trusted, c.shifted = &o, shifted
}

// Replicated implements storage.FailsOver.
func (c *connection) Replicated(ctx context.Context) (bool, error) {
	c.d.mu.Lock()
	defer c.d.mu.Unlock()
	return c.d.replicated, ctx.Err()
}

// Swap implements storage.Backend.
func (c *connection) Swap(ctx context.Context, changes []storage.Change, entries []storage.Entry) error {
	c.mu.Lock()
	trusted, shifted := c.trusted, c.shifted
	c.mu.Unlock()
	if trusted != nil && *trusted != c.d.origin() {
		shifted()
		return fmt.Errorf("%w: the database is in a history that is not trusted yet", storage.ErrUnavailable)
	}
	return c.view.Swap(ctx, changes, entries)
}

var _ storage.FailsOver = (*connection)(nil)
