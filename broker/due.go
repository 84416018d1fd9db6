package broker

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/broker/crashpoint"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

const (
	// defaultSweepEvery leaves a lost answer a hundred chances inside Atlassian's leeway.
	defaultSweepEvery = 2 * time.Second
	// dueAtOnce bounds how many due grants are refreshed at the same time, so
	// that callers' refreshes find room beside them.
	dueAtOnce = 4
	// dueRest is the least time between two sweeps of a grant that stayed due.
	dueRest = 30 * time.Second
)

// TakeOver closes the attempts that an earlier process left open, so that they
// are resolved at once instead of when their leases end. The store must belong
// to this process alone: then nobody can be at work under those leases. It is
// called before the first call is served, and returns how many it closed.
func (b *Broker) TakeOver(ctx context.Context) (int, error) {
	closed := 0
	for {
		// Every open attempt is due when its lease ends.
		due, err := b.store.Grants(ctx, storage.Filter{DueBefore: b.now().Add(b.cfg.Timing.Lease + time.Second), Limit: mostPage})
		if err != nil {
			return closed, fmt.Errorf("looking for attempts that were left open: %w", err)
		}
		found := 0
		for i := range due {
			if due[i].State.Attempt == nil {
				continue
			}
			found++
			crashpoint.At(crashpoint.TakeOverFound)
			if _, err := b.change(ctx, due[i].ID, due[i].Address.String(), func(g *storage.Grant) (events []family.Event, _ error) {
				g.State, events = family.Abandon(g.State, b.now())
				return events, nil
			}); err != nil {
				return closed, fmt.Errorf("closing an attempt that was left open: %w", err)
			}
			crashpoint.At(crashpoint.TakeOverClosed)
			closed++
		}
		if found == 0 || len(due) < mostPage {
			return closed, nil
		}
	}
}

// sweepDue refreshes what is due without being asked: attempts in doubt while
// the leeway lasts, suspicions to be confirmed, and idle families that the
// provider would let die. It returns when all of them have ended.
func (b *Broker) sweepDue(ctx context.Context) {
	now := b.now()
	due, err := b.store.Grants(ctx, storage.Filter{DueBefore: now, Limit: mostPage})
	if err != nil {
		b.log.Warn("looking for grants that are due failed; it is tried again", "error", err)
		return
	}
	var running sync.WaitGroup
	defer running.Wait()
	room := make(chan struct{}, dueAtOnce)
	for i := range due {
		sl, e := b.hot.publish(due[i], now)
		if now.UnixNano() < sl.restUntil.Load() {
			continue
		}
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		running.Go(func() {
			defer func() { <-room }()
			b.refreshDue(ctx, sl, e)
		})
	}
}

func (b *Broker) refreshDue(ctx context.Context, sl *slot, e *entry) {
	need := family.Need{LastTryAllowed: b.lastTryAllowed(ctx, sl, b.now())}
	if err := b.refresh(ctx, sl, need); err != nil {
		b.log.Warn("refreshing a grant that is due failed", "grant", e.grant.Address.String(), "error", err)
	}
	// What is still due could not be helped now: an app that is paused, a
	// provider that nothing vouches for. It must not starve the others.
	if g := &sl.entry.Load().grant; !g.Due.IsZero() && !g.Due.After(b.now()) {
		sl.restUntil.Store(b.now().Add(dueRest).UnixNano())
	}
}
