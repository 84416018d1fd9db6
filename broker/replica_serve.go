package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// fresh reports whether the entry may be answered by as it is: it was the record
// within the last second, or nobody else writes the store. local is by the local
// clock. The hot path calls it.
func (b *Broker) fresh(e *entry, local time.Time) bool {
	if b.replica == nil {
		return true
	}
	age := local.UnixNano() - e.verified.Load() // more than a century if it is outdated
	return age >= 0 && age < int64(freshFor)
}

// current returns the slot's entry as the record was within the last second.
// stale: the store does not answer, and the entry may be served nevertheless if
// it holds a valid token. The error is STORE_UNAVAILABLE, or says what is wrong
// with the record. The slot is another one if the cache was emptied meanwhile.
func (b *Broker) current(ctx context.Context, sl *slot) (_ *slot, e *entry, stale bool, err error) {
	if s := b.hot.find(sl.entry.Load().grant.Address); s != nil {
		sl = s // the sweep may have dropped the slot while the call waited
	}
	if e = sl.entry.Load(); b.fresh(e, b.clock.local()) {
		return sl, e, false, nil
	}
	return b.replica.renew(ctx, sl)
}

// renew is current for an entry that was not verified in time: the call waits for a look.
func (r *replica) renew(ctx context.Context, sl *slot) (_ *slot, e *entry, stale bool, err error) {
	r.keep(sl)
	// A look, and the read after it, may be shared with calls that began them too
	// early, and the record may change meanwhile: one round is not enough always.
	const rounds = 10
	for range rounds {
		e = sl.entry.Load()
		if r.lost() > 0 {
			break // the rounds find out when it answers again, not each call
		}
		err = r.look(ctx, sl)
		switch {
		case ctx.Err() != nil:
			return sl, nil, false, unverifiable(&e.grant, ctx.Err())
		case err != nil && !unanswered(err):
			return sl, nil, false, storeError("reading a grant", e.grant.Address.String(), err)
		}
		if s := r.b.hot.findID(e.grant.ID); s != nil {
			sl = s // the cache may have been emptied
		}
		if e = sl.entry.Load(); r.b.fresh(e, r.b.clock.local()) {
			return sl, e, false, nil
		}
		if err != nil {
			break
		}
	}
	return r.unverified(sl, e, err)
}

// unverified returns an entry that cannot be verified now, as long as it may be served.
func (r *replica) unverified(sl *slot, e *entry, cause error) (*slot, *entry, bool, error) {
	if r.lost() > 0 && !e.isOutdated() {
		if r.b.age(e, r.b.clock.local()) < r.staleFor {
			return sl, e, true, nil
		}
	}
	return sl, nil, false, unverifiable(&e.grant, cause)
}

// serveStale hands out a valid token of an entry that cannot be verified now, for
// which nothing else may be done.
func (b *Broker) serveStale(e *entry, d family.Decision) (*entry, error) {
	if d.Verb != family.Serve {
		return nil, unverifiable(&e.grant, nil)
	}
	b.replica.counts.stale.Add(1)
	return e, nil
}

// age is for how long the entry has not been verified; 0 where nobody else writes the store.
func (b *Broker) age(e *entry, local time.Time) time.Duration {
	if b.replica == nil {
		return 0
	}
	return max(0, time.Duration(local.UnixNano()-e.verified.Load()))
}

// unverifiable is the error for what the store must be asked about and does not answer.
func unverifiable(g *storage.Grant, cause error) *Error {
	return &Error{Reason: ReasonStoreUnavailable, RetryAfter: retrySoon, cause: cause,
		Message: fmt.Sprintf("the store does not answer, and %s may have been changed on another replica since: call again", g.Address)}
}
