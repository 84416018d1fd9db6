package broker

import (
	"slices"
	"time"

	"github.com/holdfast-io/holdfast/storage"
)

// forgetTimes drops the times in memory that a clock left which ran ahead and
// has been corrected: what they put off would stay put off for as long as that
// clock was wrong. What is stored is the family's to believe or not.
func (b *Broker) forgetTimes() {
	now := b.now()
	for _, a := range b.apps {
		a.forgetTimes(now)
		a.load.forgetTimes(now)
	}
	b.hot.byID.Range(func(_, value any) bool {
		sl := value.(*slot)
		sl.restUntil.Store(0)
		sl.lastTryAsked.Store(0)
		sl.siteLookup.Store(0)
		sl.probed.Store(0)
		sl.looked.Store(0)
		return true
	})
}

func (a *app) forgetTimes(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pausedUntil, a.probedAt, a.settled = time.Time{}, time.Time{}, [2]lastSettled{}
	t := &a.tally
	t.knownAt = time.Time{}
	t.own = slices.DeleteFunc(t.own, func(m storage.AppMinute) bool { return m.At.After(now) })
	if t.heldAt.After(now) {
		t.heldAt = now
	}
}

func (l *load) forgetTimes(now time.Time) {
	l.restUntil.Store(0)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pausedUntil = time.Time{}
	opened := l.breaker.open()
	l.breaker = breaker{}
	if opened { // and stays so: the provider may fail still, and the next probe tells
		l.breaker.opened, l.breaker.nextProbe = now, now
	}
}
