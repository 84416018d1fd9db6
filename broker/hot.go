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
}

// entry is immutable.
type entry struct {
	grant storage.Grant
	// changed is closed when a newer entry took this one's place.
	changed chan struct{}
	at      time.Time
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

// publish makes g the slot's entry unless that is as new already, and returns
// the slot and its present entry.
func (c *cache) publish(g storage.Grant, now time.Time) (*slot, *entry) {
	return c.put(&entry{grant: g, changed: make(chan struct{}), at: now})
}

func (c *cache) put(next *entry) (*slot, *entry) {
	g := &next.grant
	s := c.find(g.Address)
	if s == nil {
		fresh := &slot{}
		fresh.entry.Store(next) // before anybody can find it: who does reads that
		known, _ := c.byAddress.LoadOrStore(g.Address, fresh)
		s = known.(*slot)
	}
	defer c.byID.LoadOrStore(g.ID, s)
	for {
		old := s.entry.Load()
		if old.grant.Version >= g.Version {
			return s, old
		}
		if s.entry.CompareAndSwap(old, next) {
			close(old.changed)
			return s, next
		}
	}
}

// purge puts an entry in the place of a deleted grant that holds nothing of it.
// A grant that is consented anew is of a newer version.
func (c *cache) purge(g *storage.Grant, now time.Time) {
	gone := storage.Grant{ID: g.ID, Address: g.Address, Version: g.Version + 1}
	gone.State.Phase = family.Revoked // so that nothing is planned for it
	c.put(&entry{grant: gone, changed: make(chan struct{}), at: now, purged: true})
}

// sweep drops entries that have served nothing for a while.
func (c *cache) sweep(now time.Time, t family.Timing) {
	c.byAddress.Range(func(key, value any) bool {
		s := value.(*slot)
		e := s.entry.Load()
		if e == nil || now.Sub(e.at) < quiet || now.Before(e.grant.State.ServableUntil(t)) || e.grant.State.Attempt != nil {
			return true
		}
		c.byAddress.CompareAndDelete(key, value)
		c.byID.CompareAndDelete(e.grant.ID, value)
		return true
	})
}
