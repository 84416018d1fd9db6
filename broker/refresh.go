package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/crashpoint"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// refresh joins or starts the one refresh of the grant in this process and
// waits for it, or for ctx. The refresh itself depends on neither.
func (b *Broker) refresh(ctx context.Context, sl *slot, need family.Need) error {
	e := sl.entry.Load()
	ended := b.flights.DoChan("refresh "+e.grant.ID, func() (_ any, err error) {
		defer b.survive("refreshing", &err)
		if !b.begin() {
			return nil, &Error{Reason: ReasonProviderUnavailable, RetryAfter: retrySoon, Message: "this broker is shutting down"}
		}
		defer b.work.Done()
		// Detached: the first caller's deadline and cancellation end only its own wait.
		ctx, cancel := detach(ctx, b.cfg.Timing.Lease+settlePatience)
		defer cancel()
		return nil, b.attempt(ctx, e.grant.ID, need)
	})
	select {
	case r := <-ended:
		return r.Err
	case <-ctx.Done():
		return inProgress(&e.grant, ctx.Err(), b.cfg.Timing.Lease)
	}
}

// backgroundRest is the least time between two background refreshes of a grant
// if the first one failed.
const backgroundRest = 10 * time.Second

// refreshAhead refreshes in the background while the present token is served.
func (b *Broker) refreshAhead(ctx context.Context, sl *slot) {
	if b.now().UnixNano() < sl.restUntil.Load() || !sl.background.CompareAndSwap(false, true) {
		return
	}
	if !b.begin() {
		sl.background.Store(false)
		return
	}
	// Detached and counted: the caller has its answer and is gone.
	ctx, cancel := detach(ctx, b.cfg.Timing.Lease+settlePatience)
	go func() {
		defer b.work.Done()
		defer cancel()
		defer sl.background.Store(false)
		if err := b.refresh(ctx, sl, family.Need{}); err != nil {
			// The family's own state may not hold it back: a paused app, a sick store.
			sl.restUntil.Store(b.now().Add(backgroundRest).UnixNano())
			b.log.Warn("refreshing ahead of expiry failed; the present token is served on",
				"grant", sl.entry.Load().grant.Address.String(), "error", err)
		}
	}()
}

// attempt makes at most one spend per client secret. It returns nil whenever
// planning again tells the caller what became of it.
func (b *Broker) attempt(ctx context.Context, id string, need family.Need) error {
	for try := range 3 {
		if err := b.settleBefore(ctx, id); err != nil {
			return err
		}
		g, err := b.newest(ctx, id, try > 0)
		if err != nil {
			return err
		}
		d := family.Plan(g.State, b.cfg.Timing, b.now(), need)
		if d.Verb == family.Expire {
			return b.expire(ctx, id, need)
		}
		if d.Verb != family.Refresh && !(d.Verb == family.Serve && d.Ahead) {
			return nil
		}
		class, err := b.attemptOnce(ctx, g, need)
		if errors.Is(err, storage.ErrConflict) {
			continue // somebody else changed the grant; nothing was sent
		}
		if err != nil || class != family.Misconfigured {
			return err
		}
		// The app has turned to its other secret, or is paused, which the next round says.
	}
	return nil
}

// newest returns the grant as this process knows it, unless that was seen to be
// old. Nobody spends by what is old: announcing an attempt compares the version,
// and the read before it would only have said the same a moment earlier. In a
// store that groups its writes such a read waits for the commit under way.
func (b *Broker) newest(ctx context.Context, id string, old bool) (storage.Grant, error) {
	if sl := b.hot.findID(id); sl != nil && !old {
		if e := sl.entry.Load(); !e.purged {
			return e.grant, nil
		}
	}
	began := b.clock.local()
	g, err := b.store.Grant(ctx, id)
	if err != nil {
		return g, storeError("reading a grant", id, err)
	}
	b.hot.publish(g, began)
	return g, nil
}

// attemptOnce announces, spends and settles one attempt.
func (b *Broker) attemptOnce(ctx context.Context, g storage.Grant, need family.Need) (family.Class, error) {
	a := b.apps[g.App]
	if a == nil {
		return 0, &Error{Reason: ReasonAppPaused, Message: fmt.Sprintf("app %q of %s is not configured any more: put it back into the configuration", g.App, g.Address)}
	}
	if err := b.clock.mayNotSpend(); err != nil {
		return 0, err
	}
	if err := b.mayBegin(ctx, a, &g); err != nil {
		return 0, err
	}
	leave, err := a.load.admit(ctx, b.now, &g, need)
	if errors.Is(err, errNoRoom) {
		return 0, nil // a keep-alive: it comes again with the next sweep
	}
	if err != nil {
		return 0, err
	}
	defer leave()
	if err := b.mayBegin(ctx, a, &g); err != nil { // it may have waited for room
		return 0, err
	}
	credentials, err := a.credentials(b.now(), b.cfg.Timing.Lease, a.load.applicant(b.now(), &g, need).pressing(b.now()))
	if err != nil {
		return 0, err
	}
	// Prove the write path before anything is spent: a successor that cannot be
	// stored is a family lost.
	slot, err := b.prove(ctx)
	if err != nil {
		return 0, err
	}
	defer func() {
		if slot != nil {
			b.giveBack(slot)
		}
	}()
	g, sp, sendBefore, err := b.announce(ctx, g, b.stillAllowed(ctx, &g, need))
	defer b.own.Delete(sp.AttemptID)
	if errors.Is(err, family.ErrNotNow) {
		return 0, nil // time went on since the plan: the caller plans again
	}
	if err != nil {
		return 0, err
	}
	outcome, took := family.Outcome{Class: family.NotSpent, Code: notAlone}, time.Duration(0)
	// A family may have come alive while the last try was being announced.
	if sp.Kind != family.LastTry || need.Force || b.aloneAtRisk(ctx, &g) {
		outcome, took = b.spend(ctx, credentials, sp, sendBefore)
	}
	outcome.VerdictHeld = b.weigh(ctx, a, &g, outcome)
	// Nothing stands between a pair and its settlement: until then the only
	// live token of the family is in this function's hands.
	mine := slot
	slot = nil
	err = b.settle(ctx, g, sp, outcome, mine)
	crashpoint.At(crashpoint.SettleDurable)
	b.noteOutcome(&g, outcome)
	a.learn(b.now(), sp.Announced, g.ID, credentials, outcome)
	b.learnLoad(a, &g, outcome)
	b.observe(&g, sp, outcome.Class, took, err == nil)
	b.logOutcome(&g, sp, outcome)
	return outcome.Class, err
}

// spend sends the token, once, and waits for the answer. sendBefore is by the
// local clock, which runs while the machine sleeps, and which no measurement of
// the store's can set back.
func (b *Broker) spend(ctx context.Context, credentials atlassian.Credentials, sp family.Spend, sendBefore time.Time) (family.Outcome, time.Duration) {
	crashpoint.At(crashpoint.AnnounceDurable)
	started := time.Now()
	// The provider's timeout alone bounds it: ctx may run out while the process
	// stands still, and the answer lies in the socket.
	outcome := b.cfg.Provider.Refresh(context.WithoutCancel(ctx), credentials, sp.Token, func() error {
		crashpoint.At(crashpoint.SpendGuard)
		if local, now := b.clock.both(); !local.Before(sendBefore) || !now.Before(sp.SendBefore) {
			return errors.New("the lease is too short to send now")
		}
		return nil
	})
	if outcome.Code == otherClient {
		outcome.RetryAfter = time.Minute // this grant's alone: the app is not paused for it
	}
	crashpoint.At(crashpoint.SpendAnswered)
	return outcome, time.Since(started)
}

// announce makes the attempt durable. sendBefore is the spend's by the local
// clock. Nothing was sent if it fails.
func (b *Broker) announce(ctx context.Context, g storage.Grant, need family.Need) (_ storage.Grant, sp family.Spend, sendBefore time.Time, err error) {
	local := b.clock.local() // not later than now, whatever stands still in between
	now, err := b.clock.agreed(ctx, g.State.Attempt != nil || g.State.Doubt != nil)
	if err != nil {
		return g, sp, sendBefore, err
	}
	st, sp, events, err := family.Begin(g.State, b.cfg.Timing, now, rand.Text(), need)
	if err != nil {
		return g, sp, sendBefore, fmt.Errorf("beginning an attempt: %w", err)
	}
	sendBefore = local.Add(sp.SendBefore.Sub(sp.Announced))
	g.State = st
	b.own.Store(sp.AttemptID, true) // before anybody can see it
	crashpoint.At(crashpoint.AnnounceUnsaved)
	next, err := b.swap(ctx, g, events)
	if errors.Is(err, storage.ErrUnknown) {
		// Find out by re-reading for our own attempt, never by spending.
		began := b.clock.local()
		fresh, rerr := b.store.Grant(ctx, g.ID)
		if rerr == nil && fresh.State.Attempt != nil && fresh.State.Attempt.ID == sp.AttemptID {
			b.hot.publish(fresh, began)
			return fresh, sp, sendBefore, nil
		}
	}
	if err != nil {
		return g, sp, sendBefore, swapError(g.Address, err)
	}
	return next, sp, sendBefore, nil
}

// expire stores the verdict on an in-doubt family that nothing can recover.
func (b *Broker) expire(ctx context.Context, id string, need family.Need) error {
	_, err := b.change(ctx, id, id, func(g *storage.Grant) ([]family.Event, error) {
		if family.Plan(g.State, b.cfg.Timing, b.now(), need).Verb != family.Expire {
			return nil, nil
		}
		var events []family.Event
		g.State, events = family.Lapse(g.State, b.cfg.Timing, b.now())
		return events, nil
	})
	return err
}

// change reads a grant, lets edit change it, and swaps it in; again on a
// conflict. edit must not rely on being called once; no events and an
// unchanged grant mean that there is nothing to store. Errors call the grant named.
func (b *Broker) change(ctx context.Context, id, named string, edit func(*storage.Grant) ([]family.Event, error)) (*entry, error) {
	for range 16 {
		began := b.clock.local()
		g, err := b.store.Grant(ctx, id)
		if err != nil {
			return nil, storeError("reading a grant", named, err)
		}
		events, err := edit(&g)
		if err != nil {
			return nil, err
		}
		if len(events) == 0 {
			_, e := b.hot.publish(g, began)
			return e, nil
		}
		g, err = b.swap(ctx, g, events)
		switch {
		case err == nil:
			_, e := b.hot.publish(g, began)
			return e, nil
		case errors.Is(err, storage.ErrConflict), errors.Is(err, storage.ErrUnknown):
			continue
		}
		return nil, swapError(g.Address, err)
	}
	return nil, &Error{Reason: ReasonStoreUnavailable, RetryAfter: retrySoon, Message: "the grant kept changing; try again"}
}

// swap stores the grant and its events in one transaction and publishes it.
func (b *Broker) swap(ctx context.Context, g storage.Grant, events []family.Event) (storage.Grant, error) {
	g.State, g.Due = b.namedFormer(g.State), b.due(&g)
	began := b.clock.local()
	if err := b.store.Swap(ctx, storage.Update{Grant: &g, Events: events}); err != nil {
		return g, err
	}
	var was *storage.Grant
	if sl := b.hot.find(g.Address); sl != nil {
		was = &sl.entry.Load().grant
	}
	b.hot.publish(g, began)
	b.notice(was, &g, events)
	return g, nil
}

// noteOutcome keeps why the grant's newest attempt did not settle, for callers
// that are held back.
func (b *Broker) noteOutcome(g *storage.Grant, o family.Outcome) {
	sl := b.hot.find(g.Address)
	switch {
	case sl == nil:
	case o.Class == family.Settled:
		sl.failed.Store(nil)
	default:
		sl.failed.Store(&family.Outcome{Class: o.Class, Code: o.Code})
	}
}

func swapError(a storage.Address, err error) *Error {
	if errors.Is(err, storage.ErrConflict) {
		return &Error{Reason: ReasonRefreshInProgress, RetryAfter: retrySoon, Message: fmt.Sprintf("%s was changed by somebody else at the same moment; try again", a), cause: err}
	}
	return storeError("storing a grant", a.String(), err)
}

func (b *Broker) logOutcome(g *storage.Grant, sp family.Spend, o family.Outcome) {
	log := b.log.Info
	if o.Class != family.Settled {
		log = b.log.Warn
	}
	log("attempt ended", "grant", g.Address.String(), "attempt", sp.AttemptID, "kind", sp.Kind.String(),
		"generation", sp.Generation, "class", o.Class.String(), "code", o.Code)
}
