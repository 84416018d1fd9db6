package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/storage"
)

const (
	// markEvery is how old the high-water mark may be after a crash. It is well
	// inside the clock margin of the default configuration.
	markEvery = 10 * time.Second
	// vouchFor is how long one answer of the provider vouches for the clock.
	vouchFor = 10 * time.Minute
	// askEvery is when the provider is asked for the time if it has not
	// answered anything for so long.
	askEvery = 5 * time.Minute
	// clockMark is the name of the store's value that holds the mark.
	clockMark = "clock"
)

// clock is the broker's wall clock. It does not go back while the process
// lives, and over a restart it knows how far it had come: behind that mark
// nothing is spent. The leeway goes on while the machine is suspended, when a
// monotonic clock stands still; and a wall clock that is set back must not make
// a spent token look fresh. So the latest of all three counts.
type clock struct {
	wall   func() time.Time
	margin time.Duration
	log    *slog.Logger
	base   atomic.Pointer[anchor]
	// mark is the newest time that the store has seen, in Unix nanoseconds.
	mark atomic.Int64
	// told is what was last logged about the provider's clock; keep's goroutine only.
	told bool
	// storing and correcting the mark fail for as long as the store is away; keep's goroutine only.
	storing, correcting setback
	// corrected is called when the clock went back; nil: nobody is told. It is
	// set before keep begins.
	corrected func()
	store     storeClock
}

type anchor struct {
	wall time.Time
	at   time.Time // with its monotonic reading
}

func newClock(wall func() time.Time, margin time.Duration, log *slog.Logger) *clock {
	c := &clock{wall: wall, margin: margin, log: log,
		storing: setback{what: "storing the clock's high-water mark"}, correcting: setback{what: "correcting the clock's high-water mark"}}
	c.base.Store(&anchor{wall().Round(0), time.Now()})
	return c
}

// local is this machine's time. It never goes back, unless correct found that the
// mark of a store that belongs to this process was wrong.
func (c *clock) local() time.Time {
	now, a := c.wall().Round(0), c.base.Load()
	least := a.wall.Add(time.Since(a.at))
	if !now.After(least) {
		return least
	}
	// The wall clock has run ahead, as it does over a suspension: from now on
	// that counts. Small steps are left alone, so that few calls write.
	if now.Sub(least) >= time.Second {
		c.base.CompareAndSwap(a, &anchor{now, time.Now()})
	}
	return now
}

// present is the time whose truth is in question: the wall clock's, which another
// process left a mark for, or that of the store that replicas share.
func (c *clock) present() time.Time {
	if c.store.shared != nil {
		return c.now()
	}
	return c.wall().Round(0)
}

// behind is by how much the clock is behind the store's mark, if that is
// more than clocks may differ: then nothing is spent. 0: it is not.
func (c *clock) behind() time.Duration {
	if d := time.Unix(0, c.mark.Load()).Sub(c.present()); d > c.margin {
		return d
	}
	return 0
}

// mayNotSpend is the error for a clock that is behind; nil: it is not.
func (c *clock) mayNotSpend() error {
	d := c.behind()
	if d == 0 {
		return nil
	}
	return &Error{Reason: ReasonStoreUnavailable, RetryAfter: markEvery, Message: c.complaint(d)}
}

func (c *clock) complaint(behind time.Duration) string {
	return fmt.Sprintf(c.whose()+" clock is %v behind a time that the store has seen, so nothing is spent: set the clock (NTP); "+
		"if it is right, the broker finds out from the provider by itself", behind.Round(time.Second))
}

// whose clock it is that counts, for people.
func (c *clock) whose() string {
	if c.store.shared != nil {
		return "the database's"
	}
	return "this machine's"
}

// load reads the mark. It must succeed before anything is spent.
func (c *clock) load(store *storage.Store) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if c.store.shared != nil {
		if err := c.measure(ctx); err != nil {
			return err
		}
	}
	m, err := store.Meta(ctx, clockMark)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the clock's high-water mark: %w", err)
	}
	mark := markTime(m)
	c.mark.Store(mark.UnixNano())
	if c.store.shared == nil && mark.After(c.wall()) {
		c.base.Store(&anchor{mark, time.Now()})
	}
	if d := c.behind(); d > 0 {
		c.log.Error(c.complaint(d))
	}
	return nil
}

func markTime(m storage.Meta) time.Time {
	if len(m.Value) != 8 {
		return time.Unix(0, 0)
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(m.Value)))
}

// keep moves the mark on, and asks the provider for the time if nobody else
// talks to it, until ctx ends.
func (c *clock) keep(ctx context.Context, store *storage.Store, p *atlassian.Provider) {
	tick := time.NewTicker(markEvery)
	defer tick.Stop()
	for {
		c.keepOnce(ctx, store, p)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (c *clock) keepOnce(ctx context.Context, store *storage.Store, p *atlassian.Provider) {
	seen, ok := p.Clock()
	if behind := c.behind() > 0; behind || !ok || c.wall().Sub(seen.At) > askEvery {
		if fresh, err := p.CheckClock(ctx); err == nil {
			seen, ok = fresh, true
			if behind && c.agrees(seen) {
				c.correct(ctx, store)
			}
		}
	}
	c.tell(seen, ok)
	if c.behind() > 0 {
		return
	}
	if err := c.advance(ctx, store, c.now()); ctx.Err() == nil {
		c.storing.note(c.log, err)
	}
}

// agrees allows for the header's whole seconds. What was seen is how far the
// wall clock was ahead of the provider's.
func (c *clock) agrees(seen atlassian.Clock) bool {
	ahead := seen.Ahead
	if c.store.shared != nil {
		ahead += c.now().Sub(c.wall())
	}
	return ahead.Abs() <= c.margin+time.Second
}

// vouched reports whether the provider has lately agreed with this clock. Without
// it no verdict follows from a leeway that seems to be over.
func (c *clock) vouched(p *atlassian.Provider) bool {
	seen, ok := p.Clock()
	return ok && c.agrees(seen) && c.wall().Sub(seen.At).Abs() <= vouchFor && c.local().Sub(c.wall()) <= c.margin
}

// correct takes back a mark that the provider's time shows to be wrong: a clock
// had run ahead when it was stored. What was announced meanwhile bears times of
// the future, which the family's rules do not believe.
func (c *clock) correct(ctx context.Context, store *storage.Store) {
	now := c.present()
	if err := c.swapMark(ctx, store, func(time.Time) time.Time { return now }); err != nil {
		c.correcting.note(c.log, err)
		return
	}
	c.correcting.note(c.log, nil)
	if c.store.shared == nil {
		c.base.Store(&anchor{now, time.Now()})
	}
	if c.corrected != nil {
		c.corrected()
	}
	c.log.Warn("the clock's high-water mark was ahead of the provider's time and has been corrected: this machine's clock, or another replica's, had been wrong", "now", now)
}

// advance makes the mark at least now. With several replicas the newest counts,
// and one of them writes it for all.
func (c *clock) advance(ctx context.Context, store *storage.Store, now time.Time) error {
	return c.swapMark(ctx, store, func(stored time.Time) time.Time {
		if stored.After(now) || c.store.shared != nil && now.Sub(stored) < markEvery/2 {
			return stored
		}
		return now
	})
}

// swapMark stores what next makes of the stored mark, unless that is the same.
func (c *clock) swapMark(ctx context.Context, store *storage.Store, next func(time.Time) time.Time) error {
	for range 4 {
		m, err := store.Meta(ctx, clockMark)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return err
		}
		m.Name = clockMark
		stored := markTime(m)
		mark := next(stored)
		if mark.Equal(stored) {
			c.mark.Store(mark.UnixNano())
			return nil
		}
		m.Value = binary.BigEndian.AppendUint64(nil, uint64(mark.UnixNano()))
		err = store.SwapMeta(ctx, &m)
		if err == nil {
			c.mark.Store(mark.UnixNano())
			return nil
		}
		if !errors.Is(err, storage.ErrConflict) {
			return err // if it is unknown the next round finds out
		}
	}
	return nil // others move it as well
}

// tell logs when the provider's clock begins or ceases to differ.
func (c *clock) tell(seen atlassian.Clock, ok bool) {
	differs := ok && !c.agrees(seen)
	if differs == c.told {
		return
	}
	c.told = differs
	if differs {
		c.log.Warn(c.whose()+" clock and the provider's differ by more than the clock margin: set the clock (NTP); until then no leeway is believed to be over",
			"ahead", seen.Ahead, "margin", c.margin)
		return
	}
	c.log.Info(c.whose() + " clock and the provider's agree again")
}
