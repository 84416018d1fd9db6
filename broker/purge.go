package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/storage"
)

// PurgeResult says what a purge deleted, or would delete.
type PurgeResult struct {
	// Grant as it was.
	Grant GrantInfo
	// Events of its journal that went with it.
	Events int
	// Collected: the store's files were rewritten and hold nothing of it any more.
	Collected bool
}

// collectPatience is how long a purge waits for the store's files to be
// rewritten; that goes on if it takes longer, and is verified by the sweep.
const collectPatience = 20 * time.Second

// Purge deletes a grant that was revoked or has lapsed: record, journal and
// consents. The address can be consented anew by anybody then: its account is
// not known any more. A dry run changes nothing.
func (b *Broker) Purge(ctx context.Context, caller Caller, id string, a storage.Address, reason string, dryRun bool) (*PurgeResult, error) {
	c, id, err := b.enterAdmin(ctx, caller, "PurgeGrant", policy.Maintain, id, a)
	c.rec.Detail = reason
	if dryRun {
		c.rec.Detail = "dry_run"
	}
	var result *PurgeResult
	if err == nil && !dryRun {
		err = c.intend()
	}
	if err == nil {
		result, err = b.purgeNamed(ctx, c, id, dryRun)
	}
	if err = c.done(err); err != nil {
		return nil, err
	}
	return result, nil
}

func (b *Broker) purgeNamed(ctx context.Context, c *call, id string, dryRun bool) (*PurgeResult, error) {
	g, consents, err := b.mayPurge(ctx, id, c.named(id))
	if g != nil {
		c.about(g)
	}
	if err != nil {
		return nil, err
	}
	result := &PurgeResult{Grant: *b.info(g)}
	if dryRun {
		events, err := b.store.Events(ctx, g.ID, 0)
		if err != nil {
			return nil, storeError("reading the journal of", g.Address.String(), err)
		}
		result.Events = len(events)
		return result, nil
	}
	for range 4 { // what befell the grant may still be being looked into
		if result.Events, err = b.purge(ctx, g, consents, "request"); !errors.Is(err, storage.ErrConflict) {
			break
		}
		var again error
		if g, consents, again = b.mayPurge(ctx, id, c.named(id)); again != nil {
			return nil, again
		}
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, collectPatience)
	defer cancel()
	result.Collected = b.collect(ctx)
	return result, nil
}

// mayPurge reads what a purge would delete, and says why it can not be now.
func (b *Broker) mayPurge(ctx context.Context, id, named string) (*storage.Grant, []storage.Consent, error) {
	if err := b.settleBefore(ctx, id); err != nil {
		return nil, nil, err
	}
	g, err := b.store.Grant(ctx, id)
	if err != nil {
		return nil, nil, storeError("reading a grant", named, err)
	}
	if p := g.State.Phase; p != family.Revoked && p != family.Lapsed {
		return &g, nil, invalid("grant", "%s is %s: only a revoked or lapsed grant can be purged; revoke it first, with `holdfast grants revoke %s`", g.Address, p, g.Address)
	}
	if wait := b.underWay(&g); wait > 0 {
		return &g, nil, &Error{Reason: ReasonRefreshInProgress, RetryAfter: wait,
			Message: fmt.Sprintf("a refresh of %s may still be under way, and its token would be nobody's: purge it when that has ended", g.Address)}
	}
	consents, err := b.store.ConsentsFor(ctx, g.Address)
	if err != nil {
		return &g, nil, storeError("looking for consents of", g.Address.String(), err)
	}
	for i := range consents {
		c := &consents[i]
		if b.unstored.ofConsent(c.ID) { // however old it is
			return &g, nil, &Error{Reason: ReasonRefreshInProgress, RetryAfter: retrySoon,
				Message: fmt.Sprintf("the new tokens of a consent for %s could not be stored yet, and would be nobody's: purge it when they are, see `holdfast status`", g.Address)}
		}
		if c.Status == storage.ConsentExchanging && c.ExpiresAt.After(b.now()) {
			return &g, nil, &Error{Reason: ReasonRefreshInProgress, RetryAfter: c.ExpiresAt.Sub(b.now()),
				Message: fmt.Sprintf("a person is consenting for %s at this moment: purge it when that has ended", g.Address)}
		}
	}
	return &g, consents, nil
}

// underWay is how long an attempt may still settle into the grant; 0: none does.
func (b *Broker) underWay(g *storage.Grant) time.Duration {
	a := g.State.Attempt
	if a == nil {
		return 0
	}
	if _, own := b.own.Load(a.ID); own {
		return max(a.LeaseUntil.Sub(b.now()), retrySoon)
	}
	return max(a.LeaseUntil.Add(settlePatience).Sub(b.now()), 0)
}

// purge deletes the grant as it was read, everywhere in this process. why is
// "request" or "retention".
func (b *Broker) purge(ctx context.Context, g *storage.Grant, consents []storage.Consent, why string) (events int, err error) {
	began := b.clock.local()
	done, err := b.store.PurgeGrant(ctx, g, consents, b.cfg.LinkTTL)
	if err != nil {
		if errors.Is(err, storage.ErrConflict) {
			return 0, swapError(g.Address, err)
		}
		return 0, storeError("purging", g.Address.String(), err)
	}
	b.hot.purge(g, began)
	b.cfg.Observe.Purged(g.App, why)
	b.log.Info("grant purged", "grant", g.Address.String(), "phase", g.State.Phase.String(), "why", why, "events", done.Events, "consents", done.Consents)
	return done.Events, nil
}

// collect has the store's files rewritten, and reports whether that was verified.
func (b *Broker) collect(ctx context.Context) bool {
	all, err := b.store.CollectPurged(ctx)
	if err != nil && ctx.Err() == nil {
		b.log.Warn("rewriting the store's files after a purge failed; it is tried again within an hour", "error", err)
	}
	return all
}
