package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// settlePatience is how long an attempt tries to store its settlement. What is
// not stored then stays in the spill file, and the sweeper goes on with it.
const settlePatience = 2 * time.Minute

// prove shows, before anything is spent, that what comes back can be stored: the
// store commits, the key ring seals, and a slot of the spill file is reserved
// for the case that the store fails meanwhile. The caller owns the slot.
func (b *Broker) prove(ctx context.Context) (*storage.Slot, error) {
	err := b.store.Health(ctx)
	if err != nil {
		return nil, &Error{Reason: ReasonStoreUnavailable, RetryAfter: retrySoon, Message: "the store cannot be written, so nothing is spent", cause: err}
	}
	// The slots that are out come back within the time of an exchange.
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timing.HTTPTimeout)
	defer cancel()
	slot, err := b.store.Spill().Reserve(ctx)
	if err != nil {
		return nil, &Error{Reason: ReasonStoreUnavailable, RetryAfter: retrySoon, Message: "the spill file has no room for the new token, so nothing is spent", cause: err}
	}
	return slot, nil
}

// giveBack returns a slot that was not needed.
func (b *Broker) giveBack(slot *storage.Slot) {
	if err := slot.Clear(); err != nil { // nothing was written to it, so nothing can fail
		b.log.Error("giving a slot of the spill file back failed", "error", err)
	}
}

// settle records the outcome, come what may: the successor is the only live
// token of the family. It retries until the store took it or the patience
// ended; a pair is kept in the slot meanwhile, and after that. It owns the slot.
func (b *Broker) settle(ctx context.Context, g storage.Grant, sp family.Spend, o family.Outcome, slot *storage.Slot) error {
	ctx, cancel := detach(ctx, settlePatience)
	defer cancel()
	s := (&settlement{
		what: g.Address.String(), slot: slot, outcome: o,
		kept: storage.Kept{GrantID: g.ID, Spend: sp, Pair: o.Pair},
	}).owned()
	defer s.leave()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		var stored *storage.Grant
		fresh, stored, err := b.settleOnce(ctx, g, s)
		if err == nil {
			b.settled(s)
			if stored != nil {
				b.revokeSettled(ctx, stored)
			}
			return nil
		}
		if fresh != nil {
			g = *fresh
		}
		if fresh == nil || !errors.Is(err, storage.ErrConflict) {
			b.unsettled(s, err)
		}
		if s.inSpill.Load() && errors.Is(err, storage.ErrReopen) {
			return b.notStored(s, err) // only the next start can do it
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			b.unsettled(s, err)
			return b.notStored(s, err)
		}
	}
}

// notStored leaves the settlement to the sweeper and the next start.
func (b *Broker) notStored(s *settlement, err error) error {
	if !s.open { // no pair came back: the attempt stays announced, and so in doubt
		b.giveBack(s.slot)
		return storeError("storing the outcome of an attempt for", s.what, err)
	}
	return &Error{Reason: ReasonStoreUnavailable, RetryAfter: retrySoon, cause: err,
		Message: fmt.Sprintf("the new token of %s could not be stored yet, so it is not handed out", s.what)}
}

// settleOnce tries to store the outcome over g. After an error the first result
// is the grant as it is now, nil if it cannot be read; after none the second is
// what was stored, nil if there was nothing to store.
func (b *Broker) settleOnce(ctx context.Context, g storage.Grant, s *settlement) (fresh, stored *storage.Grant, err error) {
	st, events := family.Settle(g.State, b.cfg.Timing, b.now(), s.kept.Spend, s.outcome)
	if len(events) == 0 {
		return nil, nil, nil // overtaken, and nothing worth keeping came back
	}
	next := g
	next.State = st
	next, err = b.swap(ctx, next, events)
	if err == nil {
		return nil, &next, nil
	}
	began := b.clock.local()
	now, rerr := b.store.Grant(ctx, g.ID)
	if rerr != nil {
		return nil, nil, err
	}
	b.hot.publish(now, began)
	if recorded(&now.State, s.kept.Spend, s.outcome) {
		return nil, &now, nil
	}
	return &now, nil, err
}

// recorded reports whether the outcome is in the record already, which is how a
// swap of unknown outcome is recognised, and a slot that was not cleared any more.
func recorded(s *family.State, sp family.Spend, o family.Outcome) bool {
	if o.Class != family.Settled {
		return s.Attempt == nil || s.Attempt.ID != sp.AttemptID
	}
	if s.Access.Token.Equal(o.Pair.Access) {
		return true
	}
	for _, alt := range s.Alternates {
		if alt.Access.Token.Equal(o.Pair.Access) {
			return true
		}
	}
	return slices.ContainsFunc(s.Reserves, func(r family.Reserve) bool { return r.Refresh.Equal(o.Pair.Refresh) })
}

// proveExchange does for the code of a consent what prove does for a refresh
// token. leaveExchange must follow.
func (b *Broker) proveExchange(ctx context.Context, c *storage.Consent) (*settlement, error) {
	slot, err := b.prove(ctx)
	if err != nil {
		return nil, err
	}
	s := &settlement{
		what: "consent " + c.ID, slot: slot, kept: storage.Kept{ConsentID: c.ID}, outcome: family.Outcome{Class: family.Settled},
	}
	return s.owned(), nil
}

func (b *Broker) leaveExchange(s *settlement) {
	if !s.open && !s.stored.Load() {
		b.giveBack(s.slot)
	}
	s.leave()
}

// adopted ends what was kept of a consent's new family; s may be nil.
func (b *Broker) adopted(s *settlement) {
	if s != nil && s.open {
		b.settled(s)
	}
}
