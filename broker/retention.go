package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-io/holdfast/broker/audit"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/storage"
)

// Retention is how long grants that have ended are kept. 0: for ever, until
// somebody purges them.
type Retention struct {
	// Lapsed and Revoked count from the end of the family.
	Lapsed, Revoked time.Duration
}

func (r *Retention) validate() error {
	if r.Lapsed < 0 || r.Revoked < 0 {
		return errors.New("broker configuration: a retention is negative")
	}
	return nil
}

const (
	// retentionEvery is the time between two looks for grants to purge.
	retentionEvery = time.Hour
	// mostRetired grants are purged at one look, so that a first configuration of
	// a retention is no storm.
	mostRetired = 200
)

// byItself is the caller of what the broker does because it is configured to.
const byItself = "holdfast"

// retireEvery purges what its retention has ended for, until the broker closes.
func (b *Broker) retireEvery() {
	tick := time.NewTicker(retentionEvery)
	defer tick.Stop()
	for {
		if !b.turn(b.ctx, "retention", retentionEvery) {
			// Another replica does it.
		} else if _, err := b.retire(b.ctx); err != nil && b.ctx.Err() == nil {
			b.log.Warn("purging grants at the end of their retention failed; it is tried again in an hour", "error", err)
		}
		select {
		case <-b.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// retire makes one look. It returns how many grants it purged. What an earlier
// purge has left in the store's files is collected too.
func (b *Broker) retire(ctx context.Context) (purged int, err error) {
	defer b.survive("purging", &err)
	for phase, keep := range map[family.Phase]time.Duration{family.Lapsed: b.cfg.Retention.Lapsed, family.Revoked: b.cfg.Retention.Revoked} {
		if keep == 0 {
			continue
		}
		n, err := b.retirePhase(ctx, phase, keep, mostRetired-purged)
		if purged += n; err != nil {
			return purged, err
		}
	}
	b.collect(ctx)
	return purged, nil
}

func (b *Broker) retirePhase(ctx context.Context, phase family.Phase, keep time.Duration, most int) (purged int, err error) {
	filter := storage.Filter{Phase: phase, Limit: mostPage}
	for {
		page, err := b.store.Grants(ctx, filter)
		if err != nil {
			return purged, fmt.Errorf("looking for grants: %w", err)
		}
		for i := range page {
			if purged == most || ctx.Err() != nil {
				return purged, ctx.Err()
			}
			if ended := page[i].State.EndedAt; ended.IsZero() || b.now().Sub(ended) < keep {
				continue
			}
			switch err := b.retireOne(ctx, page[i].ID, phase, keep); {
			case err == nil:
				purged++
			case ReasonOf(err) == ReasonAuditUnavailable:
				return purged, err // none of the others can be done unrecorded either
			default:
				b.log.Warn("purging a grant at the end of its retention failed; it is tried again", "grant", page[i].Address.String(), "error", err)
			}
		}
		if len(page) < filter.Limit {
			return purged, nil
		}
		filter.After = page[len(page)-1].ID
	}
}

// retireOne purges one grant, recorded like an operator's act.
func (b *Broker) retireOne(ctx context.Context, id string, phase family.Phase, keep time.Duration) error {
	c := &call{b: b, rec: audit.Record{
		Time: b.now(), Caller: byItself, Method: "retention", Action: string(policy.Maintain), Rule: "retention", GrantID: id,
		Detail: fmt.Sprintf("%s for %s", phase, keep),
	}}
	g, consents, err := b.mayPurge(ctx, id, id)
	if err != nil {
		return err
	}
	if g.State.Phase != phase || b.now().Sub(g.State.EndedAt) < keep {
		return nil // somebody has consented, or revoked it, meanwhile
	}
	c.about(g)
	if err = c.intend(); err == nil {
		_, err = b.purge(ctx, g, consents, "retention")
	}
	return c.done(err)
}
