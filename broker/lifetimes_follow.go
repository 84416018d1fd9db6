package broker

import (
	"context"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// followEvery is how often the limits are compared with those that grants were
// made due by.
const followEvery = 10 * time.Second

// followLimitsEvery makes grants due anew when an observed limit comes or goes.
func (b *Broker) followLimitsEvery() {
	followed := map[string]limits{}
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		b.followLimits(b.ctx, followed)
		select {
		case <-b.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// followLimits goes through the grants of each app whose limits are not those in
// followed, which it brings up to date.
func (b *Broker) followLimits(ctx context.Context, followed map[string]limits) {
	for _, id := range b.appIDs() {
		now := b.apps[id].observed(b.now())
		if now == followed[id] {
			continue
		}
		t := b.timing(id)
		b.log.Warn("families of an app died at one age: from now on that is taken for the provider's limit where it is shorter than the documented one",
			"app", id, "idle_observed", now.idle, "absolute_observed", now.absolute, "idle_limit", t.IdleLimit, "absolute_limit", t.AbsoluteLimit,
			"todo", "ask the provider whether its limits have changed; idle grants are kept alive at half of the limit, older ones need consents in time")
		if err := b.dueAnew(ctx, id); err != nil {
			if ctx.Err() == nil {
				b.log.Warn("making an app's grants due by its new limits failed; it is tried again", "app", id, "error", err)
			}
			continue
		}
		followed[id] = now
	}
}

// dueAnew stores the due times of an app's grants that have changed.
func (b *Broker) dueAnew(ctx context.Context, app string) error {
	f := storage.Filter{App: app, Limit: mostPage}
	for {
		page, err := b.store.Grants(ctx, f)
		if err != nil {
			return err
		}
		for i := range page {
			if b.due(&page[i]).Equal(page[i].Due) {
				continue
			}
			if err := b.attend(ctx, page[i].ID); err != nil {
				return err
			}
		}
		if len(page) < f.Limit {
			return nil
		}
		f.After = page[len(page)-1].ID
	}
}

// died counts a family's end and has it recorded if the provider refused it.
func (b *Broker) died(g *storage.Grant) {
	st := &g.State
	b.cfg.Observe.Death(g.App, st.Lapse)
	a := b.apps[g.App]
	if a == nil || st.Lapse != family.LapseRefused {
		return
	}
	refused := st.EndedAt
	if st.Suspicion != nil {
		refused = st.Suspicion.First
	}
	a.died(storage.AppDeath{GrantID: g.ID, At: refused, Age: refused.Sub(st.FamilyStarted), Idle: refused.Sub(st.LastExchange)})
}
