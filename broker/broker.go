package broker

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

// Broker owns the grants of one store. Make one with New; end it with Close.
// It is safe for concurrent use.
type Broker struct {
	cfg     Config
	store   *storage.Store
	clock   *clock
	now     func() time.Time
	log     *slog.Logger
	apps    map[string]*app
	hot     cache
	flights singleflight.Group
	watch   watch
	// strays are the apps of due grants that are not configured any more, once told.
	strays  sync.Map
	started time.Time
	// unstored are the settlements that wait for a store that takes them.
	unstored unstored
	census   atomic.Pointer[Census]
	rekey    rekeying
	kek      kekWatch
	// own are the ids of the attempts of this process that are under way.
	own sync.Map
	// throttle of draws.
	throttle *throttle
	listings *listings
	// replica is nil where the store belongs to this process alone.
	replica *replica

	// work counts detached attempts; Close waits for it.
	work   sync.WaitGroup
	mu     sync.Mutex // guards closed
	closed bool
	// ctx ends detached work's patience, not its settlements: see detach.
	ctx    context.Context
	cancel context.CancelFunc
}

// New returns a broker over cfg. It starts goroutines that Close ends.
func New(cfg Config) (*Broker, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	cfg.applyDefaults()
	apps, err := newApps(cfg.Apps, cfg.Log)
	if err != nil {
		return nil, err
	}
	for _, a := range apps {
		a.load = newLoad(cfg.Load, cfg.Timing)
	}
	b := &Broker{
		cfg: cfg, store: cfg.Store, log: cfg.Log, apps: apps,
		clock: newClock(cfg.Now, cfg.Timing.ClockMargin, cfg.Log),
		watch: newWatch(), throttle: newThrottle(cfg.Limits), listings: newListings(),
	}
	b.now = b.clock.now
	b.clock.corrected = b.forgetTimes
	if b.replica, err = newReplica(b); err != nil {
		return nil, err
	}
	if b.replica != nil {
		b.clock.store.shared = b.replica.shared
		for _, a := range apps {
			a.shared = true
		}
	}
	if err := b.clock.load(cfg.Store); err != nil {
		return nil, err
	}
	b.started = b.now()
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.store.SetAtHand(b.atHand)
	b.drainFound() // before any sweep or call
	if err := b.resumeRekey(); err != nil {
		b.cancel()
		return nil, err
	}
	b.work.Go(b.sweep)
	b.work.Go(b.followUpEach)
	if b.replica != nil {
		b.replica.start()
	}
	if cfg.SweepEvery > 0 {
		b.work.Go(func() { b.count(b.ctx) })
		b.work.Go(func() { b.clock.keep(b.ctx, b.store, b.cfg.Provider) })
		b.work.Go(b.shareAppsEvery)
		b.work.Go(b.sweepDueEvery)
		b.work.Go(b.followLimitsEvery)
		b.work.Go(b.retireEvery)
		b.work.Go(func() { b.watchKEK(b.ctx) })
	}
	return b, nil
}

// Close refuses new attempts and waits until those under way have settled, or
// ctx ends: then it says that some had not.
func (b *Broker) Close(ctx context.Context) error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.cancel()
	b.logUnstored("waiting for settlements that are not stored yet")
	done := make(chan struct{})
	go func() {
		b.work.Wait()
		b.drain(ctx, true) // what waited for its next turn
		close(done)
	}()
	select {
	case <-done:
		b.logUnstored("the next start goes on with settlements that could not be stored")
		return nil
	case <-ctx.Done():
		b.logUnstored("the next start goes on with settlements that could not be stored")
		return fmt.Errorf("waiting for attempts under way to settle: %w", ctx.Err())
	}
}

// survive turns a panic of detached work into an error: one grant's fault must
// not take the process, and with it all other grants' settlements, down.
func (b *Broker) survive(doing string, err *error) {
	if p := recover(); p != nil {
		b.log.Error("a panic was caught", "doing", doing, "panic", secret.OfPanic(p), "stack", string(debug.Stack()))
		*err = internal(doing, fmt.Errorf("a panic %s", secret.OfPanic(p)))
	}
}

// Patience is how long Close may need: an exchange under way and the retries of
// its settlement.
func (b *Broker) Patience() time.Duration { return b.cfg.Timing.Lease + settlePatience }

// begin counts one piece of detached work; false: the broker is closing. The
// caller must call b.work.Done after true.
func (b *Broker) begin() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.work.Add(1)
	return true
}

// detach returns a context for work that must finish although its caller may
// leave: bounded on its own, counted by begin, waited for by Close.
func detach(ctx context.Context, bound time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), bound)
}

// sweepDueEvery sweeps at once, then every so often: less often if there is so
// much to read that it would do nothing else.
func (b *Broker) sweepDueEvery() {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		started := time.Now()
		b.sweepRound(b.ctx, &running)
		rest := time.NewTimer(sweepRest(b.cfg.SweepEvery, time.Since(started)))
		select {
		case <-b.ctx.Done():
			rest.Stop()
			return
		case <-rest.C:
		}
	}
}

// consentsKept is how long GetConsent answers for a consent after it expired.
const consentsKept = 24 * time.Hour

// sweep drops cache entries that can serve nothing any more, and records of old
// consents, which may hold a family that nobody confirmed.
func (b *Broker) sweep() {
	var purged time.Time
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-tick.C:
			b.hot.sweep(b.clock.local(), b.now(), b.cfg.Timing)
			if b.replica != nil {
				b.replica.sweepForgotten()
			}
			if now := b.now(); now.Sub(purged) >= time.Hour {
				purged = now
				if !b.turn(b.ctx, "old consents", time.Hour) {
					continue
				}
				if _, err := b.store.PurgeConsents(b.ctx, now.Add(-consentsKept)); err != nil {
					b.log.Warn("removing old consents failed; it is tried again in an hour", "error", err)
				}
			}
		}
	}
}
