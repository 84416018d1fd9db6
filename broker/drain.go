package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

const (
	// drainRest is the time after the first failed try to store what is kept; it
	// doubles up to mostDrainRest.
	drainRest     = 2 * time.Second
	mostDrainRest = 30 * time.Second
	// drainBound is how long the drain at the start may take.
	drainBound = 30 * time.Second
)

// drainFound stores what an earlier process left in the spill file. It comes
// before everything else that may change a grant: a pair in hand must never be
// overtaken by a repeat of the token that it replaced.
func (b *Broker) drainFound() {
	found := b.store.Spill().Found()
	if len(found) == 0 {
		return
	}
	for _, slot := range found {
		k := slot.Kept()
		s := &settlement{
			what: k.GrantID, kept: k, slot: slot, owner: semaphore.NewWeighted(1),
			outcome: family.Outcome{Class: family.Settled, Pair: k.Pair},
		}
		if k.ConsentID != "" {
			s.what = "consent " + k.ConsentID
		}
		s.inSpill.Store(true)
		b.unstored.add(s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainBound)
	defer cancel()
	b.drain(ctx, false)
	b.log.Warn("new tokens were found in the spill file of an earlier process", "found", len(found), "not_stored", b.unstored.count().open)
}

// drain tries once to store everything that is kept and whose time has come, or
// all of it. It leaves alone what somebody else is storing.
func (b *Broker) drain(ctx context.Context, all bool) {
	for _, s := range b.unstored.of("") {
		if s.owner.TryAcquire(1) {
			b.drainOne(ctx, s, all)
			s.leave()
		}
	}
}

// drainOne does drain's work for one settlement, whose owner the caller is by
// now. It may have ended since it was looked up: its slot is somebody else's then.
func (b *Broker) drainOne(ctx context.Context, s *settlement, all bool) {
	if s.open && (all || !b.now().Before(s.next)) {
		b.storeKept(ctx, s)
	}
}

// settleBefore stores what is kept for a grant before anything else is done with
// it. While that fails nothing is spent: the token in the record is spent
// already, and its successor is in hand.
func (b *Broker) settleBefore(ctx context.Context, grantID string) error {
	for _, s := range b.unstored.of(grantID) {
		if err := s.owner.Acquire(ctx, 1); err != nil {
			return storeError("waiting for the settlement of", s.what, err)
		}
		if !s.stored.Load() {
			b.storeKept(ctx, s)
		}
		s.leave()
		// A stranded one has no grant that could be spent from.
		if !s.stored.Load() && !s.stranded.Load() {
			return &Error{Reason: ReasonStoreUnavailable, RetryAfter: retrySoon,
				Message: fmt.Sprintf("the new token of %s could not be stored yet, so nothing is spent", s.what)}
		}
	}
	return nil
}

// storeKept tries once to store what is kept, and to clear its slot. The caller
// holds the owner's lock. A crash at any point of it leaves a slot that the next
// start recognises as stored, or stores.
func (b *Broker) storeKept(ctx context.Context, s *settlement) {
	var err error
	switch {
	case s.stored.Load():
	case s.kept.ConsentID != "":
		err = b.adoptKept(ctx, &s.kept)
	default:
		err = b.settleKept(ctx, s)
	}
	if err == nil {
		b.settled(s)
		return
	}
	s.rest = min(max(2*s.rest, drainRest), mostDrainRest)
	s.next = b.now().Add(s.rest)
	s.stranded.Store(errors.Is(err, storage.ErrNotFound) || errors.Is(err, storage.ErrCorrupt))
	b.unsettled(s, err)
}

// settleKept settles by the rule of a late answer: the fence decides, and what
// it turns away becomes an alternate if it may still be alive.
func (b *Broker) settleKept(ctx context.Context, s *settlement) error {
	for range 3 {
		g, err := b.store.Grant(ctx, s.kept.GrantID)
		if err != nil {
			return fmt.Errorf("reading the grant of a kept token: %w", err)
		}
		if recorded(&g.State, s.kept.Spend, s.outcome) {
			return nil // stored before a crash, and not cleared
		}
		if s.kept.Spend.Announced.Before(g.State.FamilyStarted) {
			return nil // of a family that a consent has replaced since
		}
		_, stored, err := b.settleOnce(ctx, g, s)
		if err == nil {
			b.revokeDrained(ctx, stored)
			return nil
		}
		if !errors.Is(err, storage.ErrConflict) {
			return err
		}
	}
	return storage.ErrConflict
}

// revokeDrained tells the provider of a revoked grant's newest token beside
// everything else: the drain waits for no network.
func (b *Broker) revokeDrained(ctx context.Context, g *storage.Grant) {
	if g == nil || g.State.Phase != family.Revoked || !b.begin() {
		return
	}
	ctx, cancel := detach(ctx, b.cfg.Timing.HTTPTimeout)
	go func() { // Close waits for it
		defer b.work.Done()
		defer cancel()
		b.revokeSettled(ctx, g)
	}()
}

// adoptKept ends the consent whose new family is kept, as if the store had taken
// it at once, but for what has happened to the grant since.
func (b *Broker) adoptKept(ctx context.Context, k *storage.Kept) error {
	c, err := b.store.Consent(ctx, k.ConsentID)
	if err != nil {
		return err
	}
	if c.Status != storage.ConsentExchanging || c.AttemptID != k.Spend.AttemptID {
		return nil // stored before a crash, and not cleared; or decided otherwise
	}
	g, err := b.grantFor(ctx, &c, k.Pending.Account)
	if err != nil {
		return err
	}
	c.Account = k.Pending.Account
	// As late as a confirmation, so that a family that was consented meanwhile
	// stays; but nobody has seen yet what would be lost, much less agreed to it.
	p := *k.Pending
	p.LostScopes, p.LostSites = nil, nil
	_, err = b.adoptOnce(ctx, g, c, &p, true)
	return err
}
