package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-io/holdfast/storage"
)

const (
	// freshFor is how long a look at the store vouches for an entry: the bound
	// within which a revocation ends what other replicas answer.
	freshFor = time.Second
	// verifyEvery is the time between two looks at all hot entries, awaitEvery
	// between two at those for which calls wait.
	verifyEvery = 500 * time.Millisecond
	awaitEvery  = 200 * time.Millisecond
	// hotFor is how long after its last draw an entry is looked at without being
	// asked for. After that its next draw waits for a read of the record.
	hotFor = 10 * time.Second
	// answerWithin is how long a store may take to answer; one that takes longer
	// does not answer.
	answerWithin = 2 * time.Second
	// verifiedAtOnce bounds the keys of one query, and readAtOnce the reads of
	// changed records that a round has under way.
	verifiedAtOnce = 1000
	readAtOnce     = 8

	// LeastSharedMargin is the shortest clock margin of replicas that share a store:
	// they measure its clock by questions that take up to half of it.
	LeastSharedMargin = time.Second

	// DefaultServeStaleFor is how long cached tokens are served while the shared
	// store does not answer.
	DefaultServeStaleFor = 5 * time.Minute
)

// replica is the part of a Broker that only one of several has, who share a
// store: nothing tells it what the others write, so it looks. Nothing in it is
// needed for what is spent to be right; that is the swaps' affair.
type replica struct {
	b      *Broker
	shared storage.Shared
	// staleFor is how long an entry is served after its last verification while
	// the store does not answer.
	staleFor time.Duration
	// lostSince is when the store ceased to answer, by the local clock in Unix
	// nanoseconds; 0: it answers.
	lostSince atomic.Int64
	// followed is how often the store's database had failed over when last looked at.
	followed atomic.Uint64
	wake     chan struct{} // of capacity 1: there are hints
	lanes    map[string]*lane

	mu      sync.Mutex // guards all below; never held while waiting
	hot     map[*slot]struct{}
	waiting map[*slot]int // how many calls wait
	hinted  map[*slot]struct{}
	// hintedApps: the record of some app was changed elsewhere.
	hintedApps bool
	// forgotten are entries of a store that has lost commits, by grant id, since forgotAt.
	forgotten map[string]*entry
	forgotAt  time.Time

	counts replicaCounts
}

// replicaCounts are for the metrics.
type replicaCounts struct {
	stale, changed, hints, queries atomic.Uint64
	claimed                        atomic.Uint64
}

// newReplica returns nil for a store that belongs to this process alone.
func newReplica(b *Broker) (*replica, error) {
	shared, ok := b.store.Shared()
	if !ok {
		return nil, nil
	}
	if b.cfg.Timing.ClockMargin < LeastSharedMargin {
		return nil, fmt.Errorf("broker configuration: a clock margin of %v is too short for replicas that agree on the store's clock: want %v at least", b.cfg.Timing.ClockMargin, LeastSharedMargin)
	}
	stale := b.cfg.ServeStaleFor
	switch {
	case stale == 0:
		stale = DefaultServeStaleFor
	case stale < 0:
		stale = 0
	}
	return &replica{
		b: b, shared: shared, wake: make(chan struct{}, 1), lanes: lanes(b.apps),
		// Another replica, which the store does answer, may rotate at any moment.
		staleFor: min(stale, b.cfg.Timing.AccessGrace),
		hot:      map[*slot]struct{}{}, waiting: map[*slot]int{}, hinted: map[*slot]struct{}{},
		forgotten: map[string]*entry{},
	}, nil
}

// start begins the looks, which end with the broker.
func (r *replica) start() {
	r.b.work.Go(func() { r.every(verifyEvery, nil, r.verifyHot) })
	r.b.work.Go(func() { r.every(awaitEvery, r.wake, r.verifyAwaited) })
	r.b.work.Go(r.follow)
}

// every runs a round at once, each time d has passed since one began, and when woken.
func (r *replica) every(d time.Duration, woken <-chan struct{}, round func(context.Context) error) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		if err := r.surviving(round); err != nil && r.b.ctx.Err() == nil {
			r.b.log.Debug("looking at the store for what others changed failed; it is tried again", "error", err)
		}
		select {
		case <-r.b.ctx.Done():
			return
		case <-woken:
		case <-tick.C:
		}
	}
}

func (r *replica) surviving(round func(context.Context) error) (err error) {
	defer r.b.survive("looking at the store for what others changed", &err)
	return round(r.b.ctx)
}

// follow takes the store's hints until the broker closes.
func (r *replica) follow() {
	for {
		err := r.shared.Follow(r.b.ctx, r.hint)
		if rest(r.b.ctx, freshFor) != nil {
			return
		}
		r.b.log.Warn("the store's notifications ended; they are only hints, and are asked for again", "error", err)
	}
}

// hint notes that a record was changed. It does not block.
func (r *replica) hint(k storage.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch k.Kind {
	case storage.KindApp:
		r.hintedApps = true
	case storage.KindGrant:
		sl := r.b.hot.findID(k.ID)
		_, hot := r.hot[sl]
		if sl == nil || !hot && r.waiting[sl] == 0 {
			return // nobody is served by it within the next second
		}
		r.hinted[sl] = struct{}{}
	default:
		return
	}
	r.counts.hints.Add(1)
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// await has the slot looked at often until leave is called.
func (r *replica) await(sl *slot) (leave func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting[sl]++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.waiting[sl]--; r.waiting[sl] == 0 {
			delete(r.waiting, sl)
		}
	}
}

// keep has the slot looked at every verifyEvery, as long as it is drawn or watched.
func (r *replica) keep(sl *slot) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hot[sl] = struct{}{}
}

// hotSlots are those that were drawn lately, or are watched; the others are left to their next draw.
func (r *replica) hotSlots() []*slot {
	r.mu.Lock()
	defer r.mu.Unlock()
	since := time.Since(r.b.throttle.began) - hotFor
	maps.DeleteFunc(r.hot, func(sl *slot, _ struct{}) bool {
		e := sl.entry.Load()
		return sl.draws.Idle(since) && sl.watchers.Load() == 0 || e.purged || r.b.hot.findID(e.grant.ID) != sl
	})
	return slices.Collect(maps.Keys(r.hot))
}

// awaited are the slots for which calls wait or hints came, and whether one came for an app.
func (r *replica) awaited() (slots []*slot, apps bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for sl := range r.waiting {
		r.hinted[sl] = struct{}{}
	}
	slots, apps = slices.Collect(maps.Keys(r.hinted)), r.hintedApps
	clear(r.hinted)
	r.hintedApps = false
	return slots, apps
}

// lost is for how long the store has not answered; 0: it answers.
func (r *replica) lost() time.Duration {
	since := r.lostSince.Load()
	if since == 0 {
		return 0
	}
	return max(1, r.b.clock.local().Sub(time.Unix(0, since)))
}

// answered notes whether the store answered a question that began at a time.
func (r *replica) answered(began time.Time, err error) {
	switch {
	case err == nil:
		if since := r.lostSince.Swap(0); since != 0 {
			r.b.log.Info("the store answers again", "after", r.b.clock.local().Sub(time.Unix(0, since)).Round(time.Millisecond))
		}
	case r.b.ctx.Err() == nil && unanswered(err) && r.lostSince.CompareAndSwap(0, began.UnixNano()):
		r.b.log.Error("the store does not answer: nothing is refreshed, and valid tokens are served from memory for a while, "+
			"also if they were revoked on another replica since", "for", r.staleFor, "error", err)
	}
}

// unanswered reports whether an error says nothing about the record that was asked for.
func unanswered(err error) bool {
	return errors.Is(err, storage.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
