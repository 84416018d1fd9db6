package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/broker/crashpoint"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

const (
	// defaultSweepEvery leaves a lost answer a hundred chances inside Atlassian's leeway.
	defaultSweepEvery = 2 * time.Second
	// dueRest is the least time between two sweeps of a grant that stayed due.
	dueRest = 30 * time.Second
	// dueKept bounds how many grants of an app a round keeps in memory, of those
	// in recovery and of idle ones; the rest is found by the next.
	dueKept = 500
	// sweepShare is how many times as long as reading took the sweep rests.
	sweepShare = 3
	// mostSweepRest bounds that: a round that took long because the process was
	// stopped, or the store hung, must not cost those in doubt their leeway.
	mostSweepRest = 30 * time.Second
	// mostAppRound is how long a round works off the grants of an app, but for
	// those in doubt: until it ends the app's new doubts wait.
	mostAppRound = 30 * time.Second
)

// sweepRest is the time between two rounds of the sweep after one that took so long.
func sweepRest(every, took time.Duration) time.Duration {
	return max(every, min(sweepShare*took, mostSweepRest))
}

// TakeOver closes the attempts that an earlier process left open, so that they
// are resolved at once instead of when their leases end. It does nothing on a
// store that replicas share: only where it belongs to this process alone can
// nobody else be at work under those leases. It
// leaves alone the attempts of this process, whose sweep has begun. It is called
// before the first call is served, and returns how many it closed.
func (b *Broker) TakeOver(ctx context.Context) (int, error) {
	if b.replica != nil {
		return 0, nil // of other replicas, which may live; a dead one's are found when their leases end
	}
	closed := 0
	// Every open attempt is due when its lease ends.
	filter := storage.Filter{DueBefore: b.now().Add(b.cfg.Timing.Lease + time.Second), Limit: mostPage}
	for {
		due, err := b.store.Grants(ctx, filter)
		if err != nil {
			return closed, fmt.Errorf("looking for attempts that were left open: %w", err)
		}
		for i := range due {
			if !b.leftOpen(&due[i].State) {
				continue
			}
			crashpoint.At(crashpoint.TakeOverFound)
			if _, err := b.change(ctx, due[i].ID, due[i].Address.String(), func(g *storage.Grant) (events []family.Event, _ error) {
				if b.leftOpen(&g.State) {
					g.State, events = family.Abandon(g.State, b.now())
				}
				return events, nil
			}); err != nil {
				return closed, fmt.Errorf("closing an attempt that was left open: %w", err)
			}
			crashpoint.At(crashpoint.TakeOverClosed)
			closed++
		}
		if len(due) < filter.Limit {
			return closed, nil
		}
		filter.After = due[len(due)-1].ID
	}
}

// leftOpen reports whether an attempt is open that is not this process's own.
func (b *Broker) leftOpen(s *family.State) bool {
	if s.Attempt == nil {
		return false
	}
	_, own := b.own.Load(s.Attempt.ID)
	return !own
}

// dueGrants of one app, of one round.
type dueGrants struct {
	app *app
	// read is when reading them began, by the local clock.
	read time.Time
	// doubts can be cured by a repeat, which has no time to lose. recovery are the
	// other open questions: suspicions, and doubts beyond repeats. idle are
	// families that the provider would let die.
	doubts, recovery, idle []storage.Grant
}

// sweepDue makes a round and waits until all that it began has ended.
func (b *Broker) sweepDue(ctx context.Context) {
	var running sync.WaitGroup
	b.sweepRound(ctx, &running)
	running.Wait()
}

// sweepRound refreshes what is due without being asked. It reads through all of
// it, so that grants which can not be helped now keep no other from being found,
// and returns; what it began is counted in running. Of an app whose grants of an
// earlier round are still at work it begins nothing new.
func (b *Broker) sweepRound(ctx context.Context, running *sync.WaitGroup) {
	b.drain(ctx, false)
	if b.replica != nil {
		b.replica.sweep(ctx, running)
		return
	}
	read, now := b.clock.both()
	found := make(map[string]*dueGrants)
	var attention []string
	filter := storage.Filter{DueBefore: now, Limit: mostPage}
	for ctx.Err() == nil {
		page, err := b.store.Grants(ctx, filter)
		if err != nil {
			b.log.Warn("looking for grants that are due failed; it is tried again", "error", err)
			break // with what was found
		}
		for i := range page {
			if len(attention) < dueKept && b.wantsAttention(&page[i], now) {
				attention = append(attention, page[i].ID)
			}
			if b.attemptIsDue(&page[i], now) {
				b.sortDue(found, &page[i], read, now)
			}
		}
		if len(page) < filter.Limit {
			break
		}
		filter.After = page[len(page)-1].ID
	}
	b.attendDue(ctx, running, attention)
	for _, d := range found {
		if d.app.load.sweeping.CompareAndSwap(false, true) {
			running.Go(func() {
				defer d.app.load.sweeping.Store(false)
				b.sweepApp(ctx, d)
			})
		}
	}
}

// sortDue puts a due grant where it belongs, unless nothing can be done for it now.
func (b *Broker) sortDue(found map[string]*dueGrants, g *storage.Grant, read, now time.Time) {
	a := b.apps[g.App]
	if a == nil {
		if _, told := b.strays.LoadOrStore(g.App, true); !told {
			b.log.Warn("grants of an app that is not configured any more are due: put it back into the configuration", "app", g.App, "grant", g.Address.String())
		}
		return
	}
	if now.UnixNano() < a.load.restUntil.Load() {
		return
	}
	if sl := b.hot.findID(g.ID); b.replica == nil && sl != nil && now.UnixNano() < sl.restUntil.Load() {
		return // a claim has the same effect
	}
	d := found[g.App]
	if d == nil {
		d = &dueGrants{app: a, read: read}
		found[g.App] = d
	}
	st := &g.State
	until, repeats := st.RepeatUntil(b.cfg.Timing)
	switch {
	case repeats && until.After(now):
		if len(d.doubts) < dueKept {
			d.doubts = append(d.doubts, *g)
		}
	case st.Attempt != nil || st.Doubt != nil || len(st.Reserves) > 0 || st.Phase == family.Suspected:
		if len(d.recovery) < dueKept {
			d.recovery = append(d.recovery, *g)
		}
	case len(d.idle) < dueKept:
		d.idle = append(d.idle, *g)
	}
}

// sweepApp refreshes the due grants of an app: those in doubt first whose leeway
// ends first, then the other questions, then idle ones while there is room.
func (b *Broker) sweepApp(ctx context.Context, d *dueGrants) {
	b.byLeeway(d.doubts)
	room := make(chan struct{}, max(1, d.app.load.limits.Concurrency/2))
	var running sync.WaitGroup
	defer running.Wait()
	began := b.now()
	for i, g := range slices.Concat(d.doubts, d.recovery, d.idle) {
		idle := i >= len(d.doubts)+len(d.recovery)
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		now := b.now()
		if now.UnixNano() < d.app.load.restUntil.Load() || idle && !d.app.load.spare(now, g.ID) {
			return
		}
		if i >= len(d.doubts) && now.Sub(began) > mostAppRound {
			return // the next round goes on, and sees what has come into doubt
		}
		running.Go(func() {
			defer func() { <-room }()
			sl, e := b.hot.publish(g, d.read)
			b.refreshDue(ctx, d.app, sl, e, idle)
		})
	}
}

func (b *Broker) refreshDue(ctx context.Context, a *app, sl *slot, e *entry, idle bool) {
	need := family.Need{LastTryAllowed: b.lastTryAllowed(ctx, sl, b.now()), ClockVouched: b.clock.vouched(b.cfg.Provider), KeepAlive: idle}
	err := b.refresh(ctx, sl, need)
	if err != nil {
		b.log.Warn("refreshing a grant that is due failed", "grant", e.grant.Address.String(), "error", err)
	}
	if refused, ok := errors.AsType[*Error](err); ok && refused.Reason == ReasonAppPaused {
		// Each other grant of the app would hear the same.
		rest := dueRest
		if refused.RetryAfter > 0 {
			rest = min(rest, refused.RetryAfter)
		}
		a.load.restUntil.Store(b.now().Add(rest).UnixNano())
		return
	}
	if idle && !a.load.spare(b.now(), e.grant.ID) {
		return // there was no room, perhaps: it has its turn as soon as there is
	}
	// What is still due could not be helped now: a provider that nothing
	// vouches for. It must not be asked about in every round.
	if g := &sl.entry.Load().grant; !g.Due.IsZero() && !g.Due.After(b.now()) {
		sl.restUntil.Store(b.now().Add(dueRest).UnixNano())
	}
}
