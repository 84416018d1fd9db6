package broker

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

const (
	// mostRelated bounds how many related grants are told of.
	mostRelated = 100
	// harmWithin is how long after a related grant's act a refusal may be its doing.
	harmWithin = time.Hour
	// relatedPatience bounds one search for related grants: it reads through the store.
	relatedPatience = 10 * time.Second
)

// related returns the other grants of the account at the same client, whatever
// became of them, at most mostRelated, in the order of their ids.
func (b *Broker) related(ctx context.Context, g *storage.Grant) ([]storage.Grant, error) {
	if g.Account == "" {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, relatedPatience)
	defer cancel()
	var all []storage.Grant
	for _, app := range b.sameClient(g.App) {
		f := storage.Filter{App: app, Account: g.Account, Limit: mostRelated + 1} // one may be g itself
		page, err := b.store.Grants(ctx, f)
		if err != nil {
			return nil, err
		}
		all = append(all, page...)
	}
	all = slices.DeleteFunc(all, func(o storage.Grant) bool { return o.ID == g.ID })
	slices.SortFunc(all, func(x, y storage.Grant) int { return strings.Compare(x.ID, y.ID) })
	return all[:min(len(all), mostRelated)], nil
}

// sameClient returns the apps of the configuration with the client of this one,
// which may not be configured any more.
func (b *Broker) sameClient(app string) []string {
	a := b.apps[app]
	if a == nil {
		return []string{app}
	}
	return slices.DeleteFunc(b.appIDs(), func(id string) bool { return b.apps[id].ClientID != a.ClientID })
}

// harm is what a related grant did before another one suffered.
type harm struct {
	by   *storage.Grant
	what string
	at   time.Time
}

// harmed looks for what a related grant did from since to until: a consent, or
// the broker's revocation, before a refresh, which happens all the time. A
// revocation counts from the harmed grant's own last success on: a family that
// it ended shows that whenever the family is next refreshed.
func harmed(others []storage.Grant, t trouble) (harm, bool) {
	var found harm
	rank, until := 0, t.until
	look := func(o *storage.Grant, what string, since, at time.Time, weight int) {
		if at.Before(since) || at.After(until) || weight < rank || weight == rank && !at.After(found.at) {
			return
		}
		found, rank = harm{o, what, at}, weight
	}
	for i := range others {
		o := &others[i]
		look(o, "consent", t.since, o.State.FamilyStarted, 2)
		if o.State.Phase == family.Revoked {
			look(o, "revocation", t.succeeded, o.State.EndedAt, 2)
		}
		look(o, "refresh", t.since, o.State.LastExchange, 1)
	}
	return found, rank > 0
}

// trouble is what befell a grant and related ones may have done.
type trouble struct {
	id string
	// since and until are when it can have been done. What came before the
	// grant's own last success did no harm.
	since, until time.Time
	// succeeded is when the provider last took its token.
	succeeded time.Time
	what      string // "lapsed" or "lost_scopes"
}

// followUp is work that what happened to a grant calls for, and that nobody waits for.
type followUp struct {
	id string
	do func(context.Context) error
}

// mostFollowUps wait at a time; inquiries beyond are the sweeper's.
const mostFollowUps = 1024

// notice sees what a stored change means beyond the grant itself. was is the
// grant before it, as far as this process knows.
func (b *Broker) notice(was *storage.Grant, g *storage.Grant, events []family.Event) {
	for _, e := range events {
		switch e.Type {
		case family.EventLapsed:
			b.died(g)
			if until := g.State.EndedAt; g.State.Lapse == family.LapseRefused {
				if s := g.State.Suspicion; s != nil {
					until = s.First
				}
				since := until.Add(-harmWithin)
				if own := g.State.LastExchange; own.After(since) {
					since = own
				}
				margin := -b.cfg.Timing.HTTPTimeout
				b.troubled(trouble{id: g.ID, since: since.Add(margin), until: until, succeeded: g.State.LastExchange.Add(margin), what: "lapsed"})
			}
		case family.EventScopesChanged:
			if was != nil {
				b.troubled(trouble{id: g.ID, since: was.State.LastExchange.Add(-b.cfg.Timing.HTTPTimeout), until: e.At, succeeded: e.At, what: "lost_scopes"})
			}
		case family.EventSettled:
			if a := b.apps[g.App]; a != nil && was != nil && was.State.FamilyFirst == g.State.FamilyFirst {
				a.survivors.settled(e.At, was.State.LastExchange, g.State.FamilyStarted)
			}
		}
	}
	if i := g.State.Inquiry; i != nil && i.Next.Equal(i.RefusedAt) && g.State.Attempt == nil {
		id := g.ID
		b.follow(followUp{id: id, do: func(ctx context.Context) error { return b.inquire(ctx, id) }})
	}
}

func (b *Broker) troubled(t trouble) {
	kept := b.follow(followUp{id: t.id, do: func(ctx context.Context) error { return b.findCulprit(ctx, t) }})
	if !kept {
		b.log.Warn("so much happens at once that nobody looks whether related grants harmed one", "grant_id", t.id, "what", t.what)
	}
}

// follow never blocks: a settlement may be waiting. False: too many wait already.
func (b *Broker) follow(f followUp) bool {
	select {
	case b.watch.followUps <- f:
		return true
	default:
		return false
	}
}

// followUpEach sees to one follow-up after the other until the broker closes.
func (b *Broker) followUpEach() {
	for {
		select {
		case <-b.ctx.Done():
			return
		case f := <-b.watch.followUps:
			if err := b.followOne(b.ctx, f); err != nil && b.ctx.Err() == nil {
				b.log.Warn("looking into what befell a grant failed", "grant_id", f.id, "error", err)
			}
		}
	}
}

func (b *Broker) followOne(ctx context.Context, f followUp) (err error) {
	defer b.survive("looking into what befell a grant", &err)
	return f.do(ctx)
}

// findCulprit looks for a related grant that may have done what befell one.
func (b *Broker) findCulprit(ctx context.Context, t trouble) error {
	g, err := b.store.Grant(ctx, t.id)
	if err != nil {
		return storeError("reading a grant", t.id, err)
	}
	others, err := b.related(ctx, &g)
	if err != nil {
		return storeError("looking for grants related to", g.Address.String(), err)
	}
	h, ok := harmed(others, t)
	if !ok || t.what == "lost_scopes" && h.what != "consent" {
		return nil
	}
	return b.interfered(ctx, t, h)
}

// interfered records and tells that a related grant seems to have done harm.
func (b *Broker) interfered(ctx context.Context, t trouble, h harm) error {
	e, err := b.change(ctx, t.id, t.id, func(g *storage.Grant) ([]family.Event, error) {
		return []family.Event{{Type: family.EventInterference, At: b.now(), Generation: g.State.Generation, Fence: g.State.Fence,
			Detail: t.what + " after " + h.what + " of " + h.by.ID}}, nil
	})
	if err != nil {
		return err
	}
	b.cfg.Observe.Security(family.EventInterference)
	b.log.Warn("another grant of the same app and account seems to have harmed this one", "grant", e.grant.Address.String(), "harm", t.what,
		"other", h.by.Address.String(), "other_id", h.by.ID, "did", h.what, "at", h.at,
		"todo", "give each product an app of its own at the provider and in the configuration: for one account, the grants of one app may replace or end one another")
	return nil
}
