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

	"github.com/holdfast-io/holdfast/storage"
)

// Broker owns the grants of one store. Make one with New; end it with Close.
// It is safe for concurrent use.
type Broker struct {
	cfg     Config
	store   *storage.Store
	now     func() time.Time
	log     *slog.Logger
	apps    map[string]*app
	hot     cache
	flights singleflight.Group
	started time.Time

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
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Observe == nil {
		cfg.Observe = nobody{}
	}
	if cfg.LinkTTL == 0 {
		cfg.LinkTTL = 30 * time.Minute
	}
	if cfg.ConsentTTL == 0 {
		cfg.ConsentTTL = 15 * time.Minute
	}
	if cfg.SweepEvery == 0 {
		cfg.SweepEvery = defaultSweepEvery
	}
	apps, err := newApps(cfg.Apps)
	if err != nil {
		return nil, err
	}
	b := &Broker{
		cfg: cfg, store: cfg.Store, log: cfg.Log, apps: apps,
		now: steady(cfg.Now),
	}
	b.started = b.now()
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.work.Go(b.sweep)
	if cfg.SweepEvery > 0 {
		b.work.Go(b.sweepDueEvery)
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
	done := make(chan struct{})
	go func() {
		b.work.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for attempts under way to settle: %w", ctx.Err())
	}
}

// steady returns a wall clock that does not go back while the process lives.
// The leeway goes on while the machine is suspended, when a monotonic clock
// stands still; and a wall clock that is set back must not make a spent token
// look fresh. So the later of both counts.
func steady(wall func() time.Time) func() time.Time {
	type anchor struct {
		wall time.Time
		at   time.Time // with its monotonic reading
	}
	var base atomic.Pointer[anchor]
	base.Store(&anchor{wall().Round(0), time.Now()})
	return func() time.Time {
		now, a := wall().Round(0), base.Load()
		least := a.wall.Add(time.Since(a.at))
		if !now.After(least) {
			return least
		}
		// The wall clock has run ahead, as it does over a suspension: from now on
		// that counts. Small steps are left alone, so that few calls write.
		if now.Sub(least) >= time.Second {
			base.CompareAndSwap(a, &anchor{now, time.Now()})
		}
		return now
	}
}

// survive turns a panic of detached work into an error: one grant's fault must
// not take the process, and with it all other grants' settlements, down.
func (b *Broker) survive(doing string, err *error) {
	if p := recover(); p != nil {
		b.log.Error("a panic was caught", "doing", doing, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
		*err = internal(doing, fmt.Errorf("panic: %v", p))
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

// sweepDueEvery sweeps at once, then every so often.
func (b *Broker) sweepDueEvery() {
	tick := time.NewTicker(b.cfg.SweepEvery)
	defer tick.Stop()
	for {
		b.sweepDue(b.ctx)
		select {
		case <-b.ctx.Done():
			return
		case <-tick.C:
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
			b.hot.sweep(b.now(), b.cfg.Timing)
			if now := b.now(); now.Sub(purged) >= time.Hour {
				purged = now
				if _, err := b.store.PurgeConsents(b.ctx, now.Add(-consentsKept)); err != nil {
					b.log.Warn("removing old consents failed; it is tried again in an hour", "error", err)
				}
			}
		}
	}
}
