package pace

import (
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

const (
	shards   = 64
	perShard = 64
	// Most names that a table keeps apart.
	Most = shards * perShard
	// tellEvery is how often Tell says yes.
	tellEvery = time.Minute
)

// Table holds meters by name, at most Most of them: one that is idle is
// forgotten when its place is needed, which changes nothing. Names that find
// no place since all others are busy share a meter.
type Table struct {
	limit  func(name string) Limit
	seed   maphash.Seed
	shards [shards]shard
}

// shard is read without a lock: its map is replaced, never changed.
type shard struct {
	known atomic.Pointer[map[string]*Named]
	mu    sync.Mutex // guards replacing known
	// rest is shared by the names that find no place.
	rest atomic.Pointer[Named]
}

// Named is a name's meter with its limit.
type Named struct {
	meter Meter
	limit Limit
	told  atomic.Int64
}

// NewTable returns an empty table. limit says what a name may do; it is asked
// once for each time that the name enters the table, and must not block.
func NewTable(limit func(name string) Limit) *Table {
	return &Table{limit: limit, seed: maphash.MakeSeed()}
}

// Find returns the meter of name. Only a name that is new takes a lock.
func (t *Table) Find(name string, now time.Duration) *Named {
	s := &t.shards[maphash.String(t.seed, name)%shards]
	if known := s.known.Load(); known != nil {
		if n := (*known)[name]; n != nil {
			return n
		}
	}
	return s.add(name, t.limit(name), now)
}

func (s *shard) add(name string, l Limit, now time.Duration) *Named {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := map[string]*Named{}
	if known := s.known.Load(); known != nil {
		if n := (*known)[name]; n != nil {
			return n
		}
		if len(*known) >= perShard {
			next = busy(*known, now)
		} else {
			next = maps.Clone(*known)
		}
	}
	if len(next) >= perShard {
		s.rest.CompareAndSwap(nil, &Named{limit: l})
		return s.rest.Load()
	}
	n := &Named{limit: l}
	next[name] = n
	s.known.Store(&next)
	return n
}

// busy returns those that are not idle.
func busy(all map[string]*Named, now time.Duration) map[string]*Named {
	kept := make(map[string]*Named, len(all))
	for name, n := range all {
		if !n.meter.Idle(now) {
			kept[name] = n
		}
	}
	return kept
}

// Take is Meter.Take with the name's limit.
func (n *Named) Take(now time.Duration, events int) time.Duration {
	return n.meter.Take(n.limit, now, events)
}

// Tell reports whether somebody should be told that the name is held back: at
// the first time and then once a minute.
func (n *Named) Tell(now time.Duration) bool {
	last := n.told.Load()
	return (last == 0 || now-time.Duration(last) >= tellEvery) && n.told.CompareAndSwap(last, max(int64(now), 1))
}

// Len is how many names the table keeps apart now.
func (t *Table) Len() int {
	sum := 0
	for i := range t.shards {
		if known := t.shards[i].known.Load(); known != nil {
			sum += len(*known)
		}
	}
	return sum
}
