package broker

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

const (
	// claimedAtOnce grants come with one claim, so that replicas which sweep at the
	// same time share out even a few; mostClaims are made in a round of each sort.
	claimedAtOnce = 32
	mostClaims    = 32
	// mostParked claimed grants of an app wait for room; more are let go, and come
	// again when their claims have ended.
	mostParked = 200
	// idleParked of an app, on average, are enough: no more idle ones are claimed
	// then. They are let in as there is room, which is looked for every spareEvery.
	idleParked = 32
	spareEvery = 200 * time.Millisecond
)

// lane is where the claimed grants of an app are worked off.
type lane struct {
	room   chan struct{}
	parked atomic.Int64
}

// lanes are made once for all apps.
func lanes(apps map[string]*app) map[string]*lane {
	all := make(map[string]*lane, len(apps))
	for id, a := range apps {
		all[id] = &lane{room: make(chan struct{}, max(1, a.load.limits.Concurrency/2))}
	}
	return all
}

// hold is how long a claim keeps the others from a grant: a little longer than an
// attempt takes to be announced, which ends the claim. A replica that dies with
// claims delays them by as much.
func (r *replica) hold() time.Duration {
	t := &r.b.cfg.Timing
	return min(admitPatience+t.HTTPTimeout+readPatience, t.Lease)
}

// sweep is a round of the sweep on a store that replicas share: each claims some of
// what is due, and works on that. What it claims and can not help is left to
// whoever comes when the claim has ended.
func (r *replica) sweep(ctx context.Context, running *sync.WaitGroup) {
	now := r.b.now()
	// Whatever a repeat can still save has come due within the leeway. It comes
	// first: before it lie, perhaps, thousands of idle families that nothing can
	// be done for now.
	t := &r.b.cfg.Timing
	recent := now.Add(-t.Leeway - t.Lease - time.Minute)
	r.claimAll(ctx, storage.Span{From: recent, Before: now}, running)
	if r.parked() < idleParked*int64(len(r.lanes)) {
		r.claimAll(ctx, storage.Span{Before: recent}, running)
	}
}

// parked counts the claimed grants that are not worked off yet.
func (r *replica) parked() (n int64) {
	for _, l := range r.lanes {
		n += l.parked.Load()
	}
	return n
}

// claimAll claims what is due within a span, some at a time. Its cost is that of
// what is due and that nobody has claimed.
func (r *replica) claimAll(ctx context.Context, due storage.Span, running *sync.WaitGroup) {
	for range mostClaims {
		read := r.b.clock.local()
		list, more, err := r.b.store.Claim(ctx, due, r.hold(), claimedAtOnce)
		if err != nil {
			if ctx.Err() == nil && r.lost() == 0 { // that the store does not answer was said once
				r.b.log.Warn("claiming grants that are due failed; it is tried again", "error", err)
			}
			return
		}
		r.counts.claimed.Add(uint64(len(list)))
		r.workOff(ctx, list, read, running)
		if !more || ctx.Err() != nil || due.From.IsZero() && r.parked() >= idleParked*int64(len(r.lanes)) {
			return
		}
	}
}

// workOff begins what is due of claimed grants, those first whose leeway ends first.
func (r *replica) workOff(ctx context.Context, list []storage.Grant, read time.Time, running *sync.WaitGroup) {
	b, now := r.b, r.b.now()
	var attention []string
	found := make(map[string]*dueGrants)
	for i := range list {
		g := &list[i]
		if b.wantsAttention(g, now) {
			attention = append(attention, g.ID)
		}
		if b.attemptIsDue(g, now) {
			b.sortDue(found, g, read, now)
		}
	}
	b.attendDue(ctx, running, attention)
	for _, d := range found {
		b.byLeeway(d.doubts)
		for i, g := range slices.Concat(d.doubts, d.recovery, d.idle) {
			r.park(ctx, d, g, i >= len(d.doubts)+len(d.recovery), running)
		}
	}
}

// park has a claimed grant refreshed as soon as its app has room, for as long as
// the claim lasts.
func (r *replica) park(ctx context.Context, d *dueGrants, g storage.Grant, idle bool, running *sync.WaitGroup) {
	l := r.lanes[d.app.ID]
	if l.parked.Add(1) > mostParked {
		l.parked.Add(-1)
		return
	}
	running.Go(func() {
		defer l.parked.Add(-1)
		patience, cancel := context.WithTimeout(ctx, r.hold())
		defer cancel()
		for !idle || r.hasSpare(patience, d.app, g.ID) {
			select {
			case l.room <- struct{}{}:
			case <-patience.Done():
				return
			}
			done := r.refreshParked(ctx, d, g, idle)
			<-l.room
			if done || !idle || rest(patience, spareEvery) != nil {
				return
			}
		}
	})
}

// hasSpare waits until an idle grant finds room; false: it did not, in time.
func (r *replica) hasSpare(ctx context.Context, a *app, grant string) bool {
	for !a.load.spare(r.b.now(), grant) {
		if rest(ctx, spareEvery) != nil {
			return false
		}
	}
	return true
}

// refreshParked refreshes one grant; false: somebody took the room that there was.
func (r *replica) refreshParked(ctx context.Context, d *dueGrants, g storage.Grant, idle bool) (done bool) {
	if r.b.now().UnixNano() < d.app.load.restUntil.Load() {
		return true
	}
	sl, e := r.b.hot.publish(g, d.read)
	r.b.refreshDue(ctx, d.app, sl, e, idle)
	now, after := r.b.now(), sl.entry.Load()
	return after != e || now.UnixNano() < sl.restUntil.Load()
}

// byLeeway sorts grants in doubt by when they can not be repeated any more.
func (b *Broker) byLeeway(doubts []storage.Grant) {
	until := func(s *family.State) int64 {
		t, _ := s.RepeatUntil(b.cfg.Timing)
		return t.UnixNano()
	}
	slices.SortStableFunc(doubts, func(x, y storage.Grant) int { return cmp.Compare(until(&x.State), until(&y.State)) })
}
