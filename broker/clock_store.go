package broker

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/holdfast-io/holdfast/storage"
)

// measuredFor is how long one measurement of the store's clock serves to judge a
// lease by. It is measured several times as often.
const measuredFor = 2 * time.Second

// storeClock is the clock of a store that several replicas share: they judge
// leases and leeways by it, so that theirs need not agree. Of a store that
// belongs to one process it measures nothing.
type storeClock struct {
	shared   storage.Shared // nil: the store belongs to this process
	measured atomic.Pointer[measurement]
}

// measurement says how far the store's clock was ahead of this process's.
type measurement struct {
	ahead time.Duration
	began moment
}

// moment by the local clock and by the monotonic one, which stands still where
// the local one runs on or is set.
type moment struct{ local, mono time.Time }

func (c *clock) moment() moment { return moment{c.local(), time.Now()} }

// both returns the local time and the one that counts. The hot path calls it.
func (c *clock) both() (local, now time.Time) {
	local = c.local()
	if m := c.store.measured.Load(); m != nil {
		return local, local.Add(m.ahead)
	}
	return local, local
}

// now is the time that counts: the store's, where replicas share one.
func (c *clock) now() time.Time {
	_, now := c.both()
	return now
}

// precision is how long a measurement may take: the store's clock was read at
// some time of that. It is well inside of what clocks may differ by.
func (c *clock) precision() time.Duration { return min(time.Second, c.margin/2) }

// learn takes what the store's clock said to a question that began at a moment.
// The store read it later than that, so that the time that follows is never late.
func (c *clock) learn(began moment, said time.Time) {
	if c.local().Sub(began.local) > c.precision() {
		return
	}
	next := &measurement{ahead: said.Round(0).Sub(began.local), began: began}
	for {
		old := c.store.measured.Load()
		if old != nil && old.began.local.After(began.local) || c.store.measured.CompareAndSwap(old, next) {
			return
		}
	}
}

// measure asks the store for its time.
func (c *clock) measure(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	began := c.moment()
	said, err := c.store.shared.Now(ctx)
	if err != nil {
		return fmt.Errorf("asking the store for its time: %w", err)
	}
	c.learn(began, said)
	return nil
}

// sure reports whether the newest measurement still says what the store's clock
// is: it is fresh, and the local clock has run since as the monotonic one did.
// One that was set meanwhile, or a machine that slept, says nothing.
func (c *clock) sure() bool {
	m := c.store.measured.Load()
	if m == nil {
		return false
	}
	local, mono := c.local().Sub(m.began.local), time.Since(m.began.mono)
	return local <= measuredFor && (local-mono).Abs() <= c.precision()
}

// agreed returns a time that may begin an attempt. anew: somebody's lease or leeway is judged by
// it, so that the store is asked now, whatever was measured before.
func (c *clock) agreed(ctx context.Context, anew bool) (time.Time, error) {
	if c.store.shared == nil {
		return c.now(), nil
	}
	if anew || !c.sure() {
		if err := c.measure(ctx); err != nil {
			return time.Time{}, storeError("reading the clock of", "the store", err)
		}
	}
	now := c.now() // before the look, so that what the look allows is what was read
	if !c.sure() {
		return time.Time{}, &Error{Reason: ReasonStoreUnavailable, RetryAfter: retrySoon,
			Message: fmt.Sprintf("the store took longer than %v to tell its time, so nothing is spent by it", c.precision())}
	}
	return now, nil
}
