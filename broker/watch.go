package broker

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/broker/policy"
)

const (
	// watchQuiet is the most time between two looks at what is watched, for
	// whatever changes without its record: clocks, the circuit of an app.
	watchQuiet = 30 * time.Second
	// watchPatience is how long a look waits for a refresh; the refresh goes on.
	watchPatience = 10 * time.Second
	// siteQuiet is the time between two looks for a site that was not granted, each
	// of which may ask the provider.
	siteQuiet = 10 * time.Minute
	// spreadEach of a grant's watchers, mostSpread together, is the time over which
	// they are told of a change, so that all other calls find a processor meanwhile.
	spreadEach = 100 * time.Microsecond
	mostSpread = time.Second
)

// Watch sends what AccessToken would answer: at once, and each time that becomes
// another, for as long as ctx lasts. It keeps the grant's token refreshed ahead of
// its expiry though nobody draws it. The policy is asked, and the record written,
// anew for each token and each refusal that is sent. send gets one at a time, and
// what happens while it blocks is not queued: the next one is the newest state.
//
// A refusal that a later answer may make up for is sent, once while it stays the
// same. Watch returns the others (INVALID_REQUEST, GRANT_NOT_FOUND,
// CALLER_NOT_ALLOWED, CALLER_UNAUTHENTICATED, CALLER_RATE_LIMITED), STREAM_ENDED
// when the broker closes, what send fails with, or the error of ctx. With
// IfNotGeneration the token of that generation counts as sent. MinTTL must be 0.
func (b *Broker) Watch(ctx context.Context, caller Caller, req TokenRequest, send func(TokenResult) error) error {
	w := &watcher{b: b, caller: caller, req: req, send: send}
	if n := req.IfNotGeneration; n != 0 {
		w.told = &tidings{generation: n}
		w.req.IfNotGeneration = 0 // nobody waits for an attempt: its end is a change
	}
	defer w.leave()
	for {
		p, err := w.round(ctx)
		if err != nil {
			return err
		}
		if err := w.rest(ctx, p); err != nil {
			return err
		}
	}
}

// watcher is one Watch.
type watcher struct {
	b      *Broker
	caller Caller
	req    TokenRequest
	send   func(TokenResult) error
	// opened: the first draw was counted as any other is.
	opened bool
	// decided is of the rules by which the policy let it pass; nil: it was not asked.
	decided <-chan struct{}
	// slot is counted among its watchers; nil: none is.
	slot *slot
	// told is what was sent last; nil: nothing.
	told *tidings
}

// pause is what a watcher waits for between two rounds.
type pause struct {
	// changed is of the entry that the round was about; nil: there was none.
	changed, policy <-chan struct{}
	atMost          time.Duration
}

// round finds what the caller would get now and sends it unless it is what was sent
// last. An error ends the watch.
func (w *watcher) round(ctx context.Context) (pause, error) {
	p := pause{policy: w.b.cfg.Policy.Changed()} // before the policy is asked
	if w.decided == p.policy && w.still(ctx, &p) {
		return p, nil
	}
	c, sl, err := w.enter(ctx)
	var answer *TokenAnswer
	if err == nil {
		w.attend(sl)
		w.decided = p.policy
		answer, err = w.draw(ctx, c, sl, &p)
	}
	switch {
	case ctx.Err() != nil:
		return p, context.Cause(ctx)
	case ended(p.policy):
		return p, nil // it was asked too early: the next round asks again
	case ended(w.b.ctx.Done()):
		return p, closing()
	case ends(err):
		return p, c.done(err)
	}
	if w.knows(tellable(answer, err)) {
		return p, nil // nothing is handed out, and nothing recorded
	}
	if err = c.done(err); err != nil {
		answer = nil
		p.atMost = quietAfter(err)
	}
	next := tellable(answer, err)
	if w.knows(next) { // again it can not be recorded
		return p, nil
	}
	if err := w.send(TokenResult{Answer: answer, Err: err}); err != nil {
		return p, err
	}
	w.told = next
	return p, nil
}

// still reports whether what was sent last is still all that there is to tell. It
// asks neither the policy nor the audit, since nothing comes of it.
func (w *watcher) still(ctx context.Context, p *pause) bool {
	sl := w.slot
	if e := sl.entry.Load(); e.purged || w.b.hot.findID(e.grant.ID) != sl {
		return false
	}
	answer, err := w.draw(ctx, &call{b: w.b}, sl, p)
	return ctx.Err() == nil && !ended(p.policy) && !ended(w.b.ctx.Done()) && !ends(err) && w.knows(tellable(answer, err))
}

// draw makes the answer of a round and says how long it holds.
func (w *watcher) draw(ctx context.Context, c *call, sl *slot, p *pause) (answer *TokenAnswer, err error) {
	p.changed = sl.entry.Load().changed // before it is looked at
	e, err := w.obtain(ctx, sl, p.policy)
	if err != nil {
		c.about(&sl.entry.Load().grant)
		p.atMost = quietAfter(err)
		return nil, err
	}
	p.changed = e.changed
	if answer, err = w.b.handOut(ctx, c, sl, e, &w.req); err != nil {
		p.atMost = quietAfter(err)
		return nil, err
	}
	p.atMost = w.quiet(e)
	return answer, nil
}

// enter passes the gate, once more for whatever is sent: nothing is on the word of
// rules that have been replaced since.
func (w *watcher) enter(ctx context.Context) (*call, *slot, error) {
	r := &w.req
	c, sl, err := w.b.enterGrant(ctx, w.caller, "WatchAccessToken", r.ID, &policy.Request{
		Action: policy.Draw, Address: r.Address, Site: r.Site, Scopes: r.RequiredScopes, Purpose: r.Purpose,
	})
	c.rec.Purpose = r.Purpose
	if err != nil || w.opened {
		return c, sl, err
	}
	if r.MinTTL != 0 {
		return c, sl, invalid("token.min_ttl", "min_ttl must not be set: a watched token is replaced before it ends")
	}
	w.opened = true
	return c, sl, w.b.throttle.take(sl, sl.entry.Load().grant.Address)
}

// attend counts the watcher with a slot, which is another one if the cache was emptied.
func (w *watcher) attend(sl *slot) {
	if w.slot == sl {
		return
	}
	w.leave()
	w.slot = sl
	sl.watchers.Add(1)
	if w.b.replica != nil {
		w.b.replica.keep(sl)
	}
}

func (w *watcher) leave() {
	if w.slot != nil {
		w.slot.watchers.Add(-1)
		w.slot = nil
	}
}

// obtain returns an entry with a token that may be served. All watchers of a grant
// share one look, and so one place among the calls that wait for its refresh.
func (w *watcher) obtain(ctx context.Context, sl *slot, policy <-chan struct{}) (*entry, error) {
	b, e := w.b, sl.entry.Load()
	if local, now := b.clock.both(); b.fresh(e, local) && e.grant.State.Plain(&b.cfg.Timing, now, family.Need{}) {
		return e, nil
	}
	found := b.flights.DoChan("watch "+e.grant.ID, func() (_ any, err error) {
		defer b.survive("watching a grant", &err)
		if !b.begin() {
			return nil, closing()
		}
		defer b.work.Done()
		// Detached: it is for all who watch, and ends with the broker.
		ctx, cancel := context.WithTimeout(b.ctx, watchPatience)
		defer cancel()
		return b.obtain(ctx, sl, family.Need{})
	})
	select {
	case r := <-found:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*entry), nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-policy:
		return nil, errOvertaken
	}
}

// rest waits until something may have changed.
func (w *watcher) rest(ctx context.Context, p pause) error {
	timer := time.NewTimer(max(p.atMost, 10*time.Millisecond))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-w.b.ctx.Done():
		return closing()
	case <-p.policy:
		return nil
	case <-timer.C:
		return nil
	case <-p.changed:
	}
	if n := w.slot.watchers.Load(); n > 1 {
		spread := min(time.Duration(n)*spreadEach, mostSpread)
		return rest(ctx, rand.N(spread)) //nolint:gosec // it only spreads
	}
	return nil
}

// errOvertaken ends a look that the policy has overtaken.
var errOvertaken = errors.New("the policy has changed")

func closing() *Error {
	return &Error{Reason: ReasonStreamEnded, RetryAfter: retrySoon, Message: "this broker is shutting down: watch again, at another one"}
}

func ended(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
