package broker

import (
	"time"

	"github.com/holdfast-io/holdfast/storage"
)

// keptFor is how long what was forgotten is kept for a store that mends what it
// lost: longer than that takes.
const keptFor = 10 * time.Minute

// forgetRecords empties the cache, so that every record is read again: the store
// has lost commits. Records are told apart by their versions, and the same one may
// have come again with another content. What was in memory may be all that is left
// of a family, and is kept for atHand for a while.
func (r *replica) forgetRecords() {
	began := r.b.clock.local()
	r.mu.Lock()
	defer r.mu.Unlock()
	if began.Sub(r.forgotAt) > keptFor {
		clear(r.forgotten)
	}
	r.forgotAt = began
	r.b.hot.byAddress.Range(func(_, value any) bool {
		r.b.hot.drop(value.(*slot), func(e *entry) bool {
			e.outdate(began)
			if was := r.forgotten[e.grant.ID]; !e.purged && (was == nil || was.grant.Version < e.grant.Version) {
				r.forgotten[e.grant.ID] = e
			}
			return true
		})
		return true
	})
}

// sweepForgotten drops what was kept for long enough.
func (r *replica) sweepForgotten() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.forgotten) > 0 && r.b.clock.local().Sub(r.forgotAt) > keptFor {
		clear(r.forgotten)
	}
}

// kept returns the newest state of a grant that was forgotten.
func (r *replica) kept(id string) (storage.Grant, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if e := r.forgotten[id]; e != nil {
		return e.grant, true
	}
	return storage.Grant{}, false
}
