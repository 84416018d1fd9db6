package broker_test

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
)

// link is a replica's way to the store.
type link struct {
	*memstore.Store
	mu sync.Mutex
	// fails is what the store says; hangs: it says nothing. Guarded by mu, as all below.
	fails error
	hangs bool
	// before a swap; nil: nothing.
	before func([]storage.Change)
	// records is what reading one says.
	records error
	// slow is how long versions are on their way back.
	slow time.Duration
	// gets counts the records that were read.
	gets atomic.Int64
}

// reach is asked before each call.
func (l *link) reach(ctx context.Context) error {
	l.mu.Lock()
	hangs, err := l.hangs, l.fails
	l.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return fmt.Errorf("%w: %w", storage.ErrUnavailable, ctx.Err())
	}
	return err
}

func (l *link) lose(err error, hangs bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fails, l.hangs = err, hangs
}

// onSwap calls f before each swap.
func (l *link) onSwap(f func([]storage.Change)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.before = f
}

func (l *link) setSlow(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slow = d
}

func (l *link) loseRecords(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = err
}

func (l *link) Get(ctx context.Context, k storage.Key) (storage.Item, error) {
	l.gets.Add(1)
	err := l.reach(ctx)
	l.mu.Lock()
	if k.Kind == storage.KindGrant {
		err = cmp.Or(err, l.records)
	}
	l.mu.Unlock()
	if err != nil {
		return storage.Item{}, err
	}
	return l.Store.Get(ctx, k)
}

func (l *link) Events(ctx context.Context, id string, n int) ([]storage.Entry, error) {
	if err := l.reach(ctx); err != nil {
		return nil, err
	}
	return l.Store.Events(ctx, id, n)
}

func (l *link) List(ctx context.Context, q storage.Query) ([]storage.Item, error) {
	if err := l.reach(ctx); err != nil {
		return nil, err
	}
	return l.Store.List(ctx, q)
}

func (l *link) Swap(ctx context.Context, c []storage.Change, e []storage.Entry) error {
	l.mu.Lock()
	before := l.before
	l.mu.Unlock()
	if before != nil {
		before(c)
	}
	if err := l.reach(ctx); err != nil {
		return err
	}
	return l.Store.Swap(ctx, c, e)
}

func (l *link) Versions(ctx context.Context, keys []storage.Key) ([]storage.Version, time.Time, error) {
	if err := l.reach(ctx); err != nil {
		return nil, time.Time{}, err
	}
	versions, now, err := l.Store.Versions(ctx, keys)
	l.mu.Lock()
	slow := l.slow
	l.mu.Unlock()
	pass(slow)
	return versions, now, err
}

func (l *link) Now(ctx context.Context) (time.Time, error) {
	if err := l.reach(ctx); err != nil {
		return time.Time{}, err
	}
	return l.Store.Now(ctx)
}

func (l *link) Claim(ctx context.Context, due storage.Span, hold time.Duration, limit int) ([]storage.Item, error) {
	if err := l.reach(ctx); err != nil {
		return nil, err
	}
	return l.Store.Claim(ctx, due, hold, limit)
}

func (l *link) Health(ctx context.Context) error {
	if err := l.reach(ctx); err != nil {
		return err
	}
	return l.Store.Health(ctx)
}

// Close leaves the store to the others.
func (l *link) Close() error { return nil }
