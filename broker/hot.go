package broker

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/broker/pace"
	"github.com/holdfast-io/holdfast/storage"
)

// cache keeps the newest known record of each grant in use. Reading takes no
// lock. An entry only ever gives way to one of a newer version, so that a slow
// reader of an old record can never bring back what was revoked.
type cache struct {
	// mu is held by whoever writes, so that both maps and an entry change at once:
	// what was put into a slot is found by its address and by its id.
	mu        sync.Mutex
	byAddress sync.Map // storage.Address -> *slot
	byID      sync.Map // grant id string -> *slot
}

// slot of one grant.
type slot struct {
	entry atomic.Pointer[entry]
	// background is set while a refresh ahead of expiry is under way.
	background atomic.Bool
	// siteLookup is when accessible-resources was last asked for an unknown
	// site, in Unix nanoseconds.
	siteLookup atomic.Int64
	// failed is why the newest attempt did not settle; nil: it did.
	failed atomic.Pointer[family.Outcome]
	// restUntil holds back background refreshes after one that failed, and
	// lastTryAsked limits how often the conditions of a last try are looked at;
	// both in Unix nanoseconds.
	restUntil, lastTryAsked atomic.Int64
	// probed is when a rejected token was last checked, and looked when the
	// record was last read again for callers who cannot be served; both in Unix nanoseconds.
	probed, looked atomic.Int64
	// draws is how often tokens were asked for, waiting the calls that wait for a refresh.
	draws   pace.Meter
	waiting atomic.Int64
	// watchers are the streams that are told of each change.
	watchers atomic.Int64
}

// entry is immutable.
type entry struct {
	grant storage.Grant
	// changed is closed when a newer entry took this one's place, or the slot is dropped.
	changed chan struct{}
	at      time.Time
	// verified is when the newest look at the store began that found this entry
	// to be the record as it was, by the local clock in Unix nanoseconds; negated,
	// when the one began that found that it is not. Only replicas that share a
	// store ask.
	verified atomic.Int64
	// purged: the grant is gone, and the entry only keeps an older one from
	// coming back by a slow reader.
	purged bool
	// printed is the newest fingerprint made for this entry.
	printed atomic.Pointer[printed]
}

// quiet is how long an entry that serves nothing stays: longer than any read
// of an older version of the record can take.
const quiet = 10 * time.Minute

func (c *cache) find(a storage.Address) *slot {
	if s, ok := c.byAddress.Load(a); ok {
		return s.(*slot)
	}
	return nil
}

func (c *cache) findID(id string) *slot {
	if s, ok := c.byID.Load(id); ok {
		return s.(*slot)
	}
	return nil
}

// verify notes that a look at the store, begun at a local time, found the entry to be the record.
func (e *entry) verify(began time.Time) { e.saw(began.UnixNano()) }

// outdate notes that it found another one, so that the entry is not to be served.
func (e *entry) outdate(began time.Time) { e.saw(-began.UnixNano()) }

// saw keeps what the look said that began last.
func (e *entry) saw(next int64) {
	for {
		old := e.verified.Load()
		if max(old, -old) >= max(next, -next) || e.verified.CompareAndSwap(old, next) {
			return
		}
	}
}

// isOutdated reports whether the newest look found another record.
func (e *entry) isOutdated() bool { return e.verified.Load() < 0 }

// publish makes g the slot's entry unless that is as new already, and returns
// the slot and its present entry. Reading or writing g began at a local time.
func (c *cache) publish(g storage.Grant, began time.Time) (*slot, *entry) {
	sl, e := c.put(&entry{grant: g, changed: make(chan struct{}), at: began})
	if e.grant.Version == g.Version {
		e.verify(began)
	}
	return sl, e
}

func (c *cache) put(next *entry) (*slot, *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g := &next.grant
	s := c.find(g.Address)
	if s == nil {
		s = &slot{}
		s.entry.Store(next) // before anybody can find it: who does reads that
		c.byAddress.Store(g.Address, s)
		c.byID.Store(g.ID, s)
		return s, next
	}
	c.byID.Store(g.ID, s)
	old := s.entry.Load()
	if old.grant.Version >= g.Version {
		return s, old
	}
	s.entry.Store(next)
	close(old.changed)
	return s, next
}

// purge puts an entry in the place of a deleted grant that holds nothing of it.
// A grant that is consented anew is of a newer version.
func (c *cache) purge(g *storage.Grant, began time.Time) {
	gone := storage.Grant{ID: g.ID, Address: g.Address, Version: g.Version + 1}
	gone.State.Phase = family.Revoked // so that nothing is planned for it
	if _, e := c.put(&entry{grant: gone, changed: make(chan struct{}), at: began, purged: true}); e.purged {
		e.verify(began)
	}
}

// drop forgets a slot if that is wanted of its present entry: its record is read
// anew. Calls that have found it before may still hold it.
func (c *cache) drop(s *slot, wanted func(*entry) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := s.entry.Load()
	if !wanted(e) {
		return
	}
	if c.byAddress.CompareAndDelete(e.grant.Address, s) { // once: it is never found again
		close(e.changed)
	}
	c.byID.CompareAndDelete(e.grant.ID, s)
}

// sweep drops entries that have served nothing for a while.
func (c *cache) sweep(local, now time.Time, t family.Timing) {
	useless := func(e *entry) bool {
		return local.Sub(e.at) >= quiet && !now.Before(e.grant.State.ServableUntil(t)) && e.grant.State.Attempt == nil
	}
	c.byAddress.Range(func(_, value any) bool {
		s := value.(*slot)
		if useless(s.entry.Load()) { // few are: the others are looked at without the lock
			c.drop(s, useless)
		}
		return true
	})
}
