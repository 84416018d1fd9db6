package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/storage"
)

// retrySoon is the RetryInfo where nothing better is known.
const retrySoon = 2 * time.Second

// AccessToken hands out an access token of one grant. A valid token is served
// from memory; otherwise the call joins the grant's one refresh and blocks
// until that ended or ctx does (then the refresh goes on). The errors are *Error.
func (b *Broker) AccessToken(ctx context.Context, caller Caller, req TokenRequest) (*TokenAnswer, error) {
	answer, err := b.drawOne(ctx, caller, "GetAccessToken", &req)
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// Authorize is AccessToken for one request on its way to the provider's API, which
// a proxy asks about.
func (b *Broker) Authorize(ctx context.Context, caller Caller, req TokenRequest) (*TokenAnswer, error) {
	answer, err := b.drawOne(ctx, caller, "envoy.service.auth.v3.Authorization/Check", &req)
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// AccessTokens hands out several, each with its own result and its own audit
// record. One that must be refreshed does not hold back the refresh of the others.
func (b *Broker) AccessTokens(ctx context.Context, caller Caller, reqs []TokenRequest) ([]TokenResult, error) {
	results := make([]TokenResult, len(reqs))
	done := make(chan struct{})
	for i := range reqs {
		go func() {
			defer func() { done <- struct{}{} }()
			defer b.survive("drawing a token", &results[i].Err)
			results[i].Answer, results[i].Err = b.drawOne(ctx, caller, "BatchGetAccessTokens", &reqs[i])
		}()
	}
	for range reqs {
		<-done
	}
	return results, nil
}

// drawOne is the whole of one hand-out: gate, cache or refresh, audit.
func (b *Broker) drawOne(ctx context.Context, caller Caller, method string, req *TokenRequest) (*TokenAnswer, error) {
	c, sl, err := b.enterGrant(ctx, caller, method, req.ID, &policy.Request{
		Action: policy.Draw, Address: req.Address, Site: req.Site, Scopes: req.RequiredScopes, Purpose: req.Purpose,
	})
	c.rec.Purpose = req.Purpose
	var answer *TokenAnswer
	if err == nil {
		err = b.throttle.take(sl, sl.entry.Load().grant.Address)
	}
	if err == nil {
		answer, err = b.draw(ctx, c, sl, req)
	}
	if err = c.done(err); err != nil {
		return nil, err
	}
	return answer, nil
}

// enterGrant passes the gate for drawing from a grant named by id or address
// and returns the grant's slot.
func (b *Broker) enterGrant(ctx context.Context, caller Caller, method, id string, r *policy.Request) (*call, *slot, error) {
	c, sl, err := b.passNamed(ctx, caller, method, id, r)
	if err != nil || sl != nil {
		return c, sl, err
	}
	if sl = b.hot.find(r.Address); sl == nil || sl.entry.Load().purged {
		sl, err = b.load(ctx, r.Address.GrantID(), r.Address.String())
	}
	return c, sl, err
}

// load reads a grant into the cache; named is how errors call it. Concurrent
// readers of one grant share one read.
func (b *Broker) load(ctx context.Context, id, named string) (*slot, error) {
	found := b.flights.DoChan("load "+id, func() (any, error) {
		ctx, cancel := detach(ctx, 10*time.Second)
		defer cancel()
		began := b.clock.local()
		g, err := b.store.Grant(ctx, id)
		if err != nil {
			return nil, storeError("reading a grant", named, err)
		}
		sl, _ := b.hot.publish(g, began)
		return sl, nil
	})
	select {
	case r := <-found:
		if r.Err != nil {
			return nil, r.Err
		}
		return r.Val.(*slot), nil
	case <-ctx.Done():
		return nil, &Error{Reason: ReasonStoreUnavailable, RetryAfter: retrySoon, Message: "the store did not answer before the call's deadline", cause: ctx.Err()}
	}
}

// draw obtains a servable state and makes the answer.
func (b *Broker) draw(ctx context.Context, c *call, sl *slot, req *TokenRequest) (*TokenAnswer, error) {
	if most := b.cfg.Timing.AccessGrace; req.MinTTL < 0 || req.MinTTL > most {
		return nil, invalid("min_ttl", "min_ttl must be from 0 to %v: a rotation would cut short the token that others hold", most)
	}
	need := family.Need{MinTTL: req.MinTTL, IfNotGeneration: req.IfNotGeneration}
	e := sl.entry.Load()
	if local, now := b.clock.both(); b.fresh(e, local) && e.grant.State.Plain(&b.cfg.Timing, now, need) {
		b.cfg.Observe.HotHit()
	} else {
		var err error
		if e, err = b.obtain(ctx, sl, need); err != nil {
			c.about(&sl.entry.Load().grant)
			return nil, err
		}
	}
	return b.handOut(ctx, c, sl, e, req)
}

// handOut makes the answer from an entry that was found servable, or says what it
// lacks, and completes the record.
func (b *Broker) handOut(ctx context.Context, c *call, sl *slot, e *entry, req *TokenRequest) (*TokenAnswer, error) {
	c.about(&e.grant)
	if gone := without(req.RequiredScopes, e.grant.State.Access.Scopes); len(gone) > 0 {
		return nil, b.scopesMissing(&e.grant, c.rec.Caller, gone)
	}
	answer, err := b.answer(ctx, sl, e, req)
	if err == nil {
		c.rec.Fingerprint, c.rec.AliveUntil = b.fingerprintOf(e, answer.Token), answer.ExpiresAt
		c.rec.Generation = answer.Generation // of an alternate, perhaps, whose place in the record is yet to be stored
	}
	return answer, err
}

// scopesMissing gives a link only if a consent by it would cure the refusal.
func (b *Broker) scopesMissing(g *storage.Grant, by string, gone []string) *Error {
	e := &Error{Reason: ReasonScopeNotGranted, Metadata: map[string]string{"missing": strings.Join(gone, " ")},
		Message: fmt.Sprintf("%s was not granted: %s", g.Address, strings.Join(gone, " "))}
	var configured []string
	if a := b.apps[g.App]; a != nil {
		configured = a.Scopes[g.Address.Product]
	}
	if foreign := without(gone, configured); len(foreign) > 0 {
		e.Message += fmt.Sprintf("; app %q is not configured to ask for %s: add it to the app's scopes, at the provider too, then a person must consent again",
			g.App, strings.Join(foreign, " "))
		return e
	}
	e.Message += "; a person must consent again, by the link"
	e.Metadata["link"] = b.linkFor(g, by)
	return e
}

// obtain returns an entry whose access token satisfies need, refreshing or
// waiting as family.Plan says. It ends after a few rounds even if others keep
// changing the grant.
func (b *Broker) obtain(ctx context.Context, sl *slot, need family.Need) (*entry, error) {
	const rounds = 8
	var leave func()
	defer func() {
		if leave != nil {
			leave()
		}
	}()
	for round := range rounds {
		var e *entry
		var stale bool
		var err error
		if sl, e, stale, err = b.current(ctx, sl); err != nil {
			return nil, err
		}
		now := b.now()
		d := family.Plan(e.grant.State, b.cfg.Timing, now, need)
		if stale {
			return b.serveStale(e, d)
		}
		if (d.Verb == family.Wait || d.Verb == family.Refresh) && leave == nil {
			if leave, err = b.throttle.enqueue(sl, e.grant.Address); err != nil {
				return nil, err
			}
		}
		switch d.Verb {
		case family.Serve:
			if round == 0 {
				b.cfg.Observe.HotHit()
			}
			if d.Ahead {
				b.refreshAhead(ctx, sl)
			}
			return e, nil
		case family.Deny:
			if b.lookAgain(ctx, sl) {
				continue
			}
			if e.purged {
				return nil, notFound(e.grant.Address.String())
			}
			return nil, b.denied(&e.grant, d.Deny)
		case family.Hold:
			if b.lookAgain(ctx, sl) {
				continue
			}
			if !need.ClockVouched && b.clock.vouched(b.cfg.Provider) {
				need.ClockVouched = true
				continue
			}
			if !need.LastTryAllowed && b.lastTryAllowed(ctx, sl, now) {
				need.LastTryAllowed = true
				continue
			}
			return nil, held(sl, now, d.Until)
		case family.Wait:
			if err := b.wait(ctx, e, d.Until.Sub(now)); err != nil {
				return nil, err
			}
		default:
			if round == 0 {
				b.cfg.Observe.HotMiss()
			}
			if err := b.refresh(ctx, sl, need); err != nil {
				return nil, err
			}
			need.LastTryAllowed = false // what allowed it may be over
		}
	}
	return nil, &Error{Reason: ReasonRefreshInProgress, RetryAfter: retrySoon, Message: "the grant kept changing; try again"}
}

// lookEvery is the least time between two reads of one grant's record for
// callers who cannot be served: a storm of them must not become one at the store.
const lookEvery = time.Second

// lookAgain reads the record of a grant that cannot be served: another replica
// may have rotated it, or a person consented there, and nothing tells this one.
// True: there is a newer entry.
func (b *Broker) lookAgain(ctx context.Context, sl *slot) bool {
	if b.replica != nil {
		return false // which looks anyhow
	}
	e, now := sl.entry.Load(), b.now().UnixNano()
	last := sl.looked.Load()
	if now-last < int64(lookEvery) || !sl.looked.CompareAndSwap(last, now) {
		return false
	}
	began := b.clock.local()
	g, err := b.store.Grant(ctx, e.grant.ID)
	if err != nil {
		return false
	}
	_, fresh := b.hot.publish(g, began)
	return fresh.grant.Version > e.grant.Version
}

// wait blocks until the entry was replaced, the lease ended, or ctx did. An
// attempt of another replica shows in the store only.
func (b *Broker) wait(ctx context.Context, e *entry, lease time.Duration) error {
	timer, look := time.NewTimer(lease), time.NewTicker(lookEvery)
	defer timer.Stop()
	defer look.Stop()
	if sl := b.hot.find(e.grant.Address); sl != nil && b.replica != nil {
		defer b.replica.await(sl)()
	}
	for {
		select {
		case <-e.changed:
			return nil
		case <-timer.C:
			return nil
		case <-look.C:
			if sl := b.hot.find(e.grant.Address); sl != nil {
				b.lookAgain(ctx, sl)
			}
		case <-ctx.Done():
			return inProgress(&e.grant, ctx.Err(), lease)
		}
	}
}

func inProgress(g *storage.Grant, cause error, lease time.Duration) *Error {
	return &Error{Reason: ReasonRefreshInProgress, RetryAfter: min(lease, retrySoon), cause: cause,
		Message: fmt.Sprintf("%s is being refreshed and the call's deadline came first; the refresh goes on, call again", g.Address)}
}

// denied maps the family's final answers.
func (b *Broker) denied(g *storage.Grant, why family.DenyReason) *Error {
	switch why {
	case family.DenyRevoked:
		return &Error{Reason: ReasonGrantRevoked, Message: fmt.Sprintf("%s was revoked by an operator, who can allow a new consent with `holdfast grants reauth`", g.Address)}
	case family.DenyQuarantined:
		return &Error{Reason: ReasonGrantQuarantined, Message: fmt.Sprintf("%s may be a copy and is quarantined until an operator decides", g.Address)}
	}
	reason := string(g.State.Lapse)
	if why == family.DenyInDoubt {
		reason = string(family.LapseLostInDoubt)
	}
	return &Error{Reason: ReasonConsentRequired,
		Metadata: map[string]string{"why": reason, "link": b.linkFor(g, "")},
		Message:  fmt.Sprintf("%s needs a new consent (%s): send a person to the link", g.Address, reason)}
}

// held maps the time after a failed attempt.
func held(sl *slot, now, until time.Time) *Error {
	left := until.Sub(now)
	g := &sl.entry.Load().grant
	if o := sl.failed.Load(); o != nil && o.Class == family.Transient {
		return &Error{Reason: ReasonProviderRateLimited, RetryAfter: max(left, time.Second),
			Message: fmt.Sprintf("the provider asked to wait before %s is refreshed, and its access token has ended; it is tried again in %v", g.Address, left.Round(time.Second))}
	}
	if g.State.Doubt != nil && !g.State.NotBefore.After(now) { // only a last try is left, and not allowed now
		return &Error{Reason: ReasonProviderUnavailable, RetryAfter: dueRest,
			Message: fmt.Sprintf("the provider's last answer for %s was lost and its leeway is over: it is asked once more when the provider answers for another grant of the app; "+
				"an operator can try now with `holdfast grants refresh %s`, or let a person consent again with `holdfast grants reauth %s`", g.Address, g.Address, g.Address)}
	}
	if s := g.State.Suspicion; s != nil && s.Held > 0 {
		return &Error{Reason: ReasonProviderUnavailable, RetryAfter: max(left, time.Second),
			Message: fmt.Sprintf("the provider refuses so many grants of app %q at once, %s among them, that none is believed to be ended; it is tried again in %v", g.App, g.Address, left.Round(time.Second))}
	}
	return &Error{Reason: ReasonProviderUnavailable, RetryAfter: max(left, time.Second),
		Message: fmt.Sprintf("%s could not be refreshed and its access token has ended; it is tried again in %v", g.Address, left.Round(time.Second))}
}

func notFound(what string) *Error {
	return &Error{Reason: ReasonGrantNotFound, Message: fmt.Sprintf("there is no grant %s, or the caller may not know of it: check the address, or start a consent for it", what)}
}

// storeError translates the storage's sentinels.
func storeError(doing, what string, err error) *Error {
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return notFound(what)
	case errors.Is(err, storage.ErrConflict):
		return &Error{Reason: ReasonStoreUnavailable, RetryAfter: retrySoon, Message: what + " was changed by somebody else at the same moment; try again", cause: err}
	case errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrUnknown), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &Error{Reason: ReasonStoreUnavailable, RetryAfter: retrySoon, Message: "the store cannot be reached or written now", cause: fmt.Errorf("%s %s: %w", doing, what, err)}
	}
	return internal(doing+" "+what, err)
}
