package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/storage"
)

// enterAdmin passes the gate for an act on one grant, which is named by id or
// address, and returns its id.
func (b *Broker) enterAdmin(ctx context.Context, caller Caller, method string, action policy.Action, id string, a storage.Address) (*call, string, error) {
	c, _, err := b.passNamed(ctx, caller, method, id, &policy.Request{Action: action, Address: a})
	if id == "" {
		id = a.GrantID()
	}
	c.rec.GrantID = id
	return c, id, err
}

// Grant tells about one grant and its newest journal entries, newest first.
func (b *Broker) Grant(ctx context.Context, caller Caller, id string, a storage.Address) (*GrantInfo, []family.Event, error) {
	c, id, err := b.enterAdmin(ctx, caller, "GetGrant", policy.Read, id, a)
	var info *GrantInfo
	var events []family.Event
	if err == nil {
		info, events, err = b.grant(ctx, c, caller, id)
	}
	if err = c.done(err); err != nil {
		return nil, nil, err
	}
	return info, events, nil
}

func (b *Broker) grant(ctx context.Context, c *call, caller Caller, id string) (*GrantInfo, []family.Event, error) {
	const newest = 64 // as many as a backend keeps
	g, err := b.store.Grant(ctx, id)
	if err != nil {
		return nil, nil, storeError("reading a grant", c.named(id), err)
	}
	c.about(&g)
	events, err := b.store.Events(ctx, id, newest)
	if err != nil {
		return nil, nil, storeError("reading the journal of", g.Address.String(), err)
	}
	info := b.info(&g)
	others, err := b.related(ctx, &g)
	if err != nil { // it is told about the grant all the same
		b.log.Warn("looking for related grants failed", "grant", g.Address.String(), "error", err)
	}
	for _, o := range others {
		if b.sees(caller, policy.Read, o.Address) {
			info.Related = append(info.Related, o.ID)
		}
	}
	return info, events, nil
}

// named is how the caller named the grant.
func (c *call) named(id string) string {
	if c.rec.Grant != "" {
		return c.rec.Grant
	}
	return id
}

// Reauth lets a person consent again for an existing grant, a revoked one included.
func (b *Broker) Reauth(ctx context.Context, caller Caller, id string, a storage.Address) (*ConsentLink, error) {
	c, id, err := b.enterAdmin(ctx, caller, "StartReauth", policy.Operate, id, a)
	var l *ConsentLink
	if err == nil {
		err = c.intend()
	}
	if err == nil {
		l, err = b.reauth(ctx, c, id, caller)
	}
	if err = c.done(err); err != nil {
		return nil, err
	}
	return l, nil
}

func (b *Broker) reauth(ctx context.Context, c *call, id string, caller Caller) (*ConsentLink, error) {
	e, err := b.change(ctx, id, c.named(id), func(g *storage.Grant) ([]family.Event, error) {
		g.ReauthAllowed = true
		return []family.Event{{Type: family.EventReauthStarted, At: b.now(), Generation: g.State.Generation, Fence: g.State.Fence, Detail: "by " + caller.Name}}, nil
	})
	if err != nil {
		return nil, err
	}
	c.about(&e.grant)
	app := ""
	if b.apps[e.grant.App] != nil {
		app = e.grant.App
	}
	return b.startConsent(ctx, caller, ConsentRequest{Address: e.grant.Address, App: app})
}

// ForceRefresh rotates now, whatever the access token has left: tokens handed
// out before die within the provider's access grace.
func (b *Broker) ForceRefresh(ctx context.Context, caller Caller, id string, a storage.Address) (*GrantInfo, error) {
	c, id, err := b.enterAdmin(ctx, caller, "ForceRefresh", policy.Operate, id, a)
	var info *GrantInfo
	if err == nil {
		err = c.intend()
	}
	if err == nil {
		info, err = b.forceRefresh(ctx, c, id)
	}
	if err = c.done(err); err != nil {
		return nil, err
	}
	return info, nil
}

func (b *Broker) forceRefresh(ctx context.Context, c *call, id string) (*GrantInfo, error) {
	sl, err := b.load(ctx, id, c.named(id))
	if err != nil {
		return nil, err
	}
	before := sl.entry.Load()
	c.about(&before.grant)
	const rounds = 4 // the first may only have waited for a refresh that was under way
	for round := range rounds {
		e := sl.entry.Load()
		now := b.now()
		d := family.Plan(e.grant.State, b.cfg.Timing, now, family.Need{Force: true})
		switch d.Verb {
		case family.Deny:
			return nil, b.denied(&e.grant, d.Deny)
		case family.Wait:
			if err := b.wait(ctx, e, d.Until.Sub(now)); err != nil {
				return nil, err
			}
			continue
		}
		if err := b.refresh(ctx, sl, family.Need{Force: true}); err != nil {
			return nil, err
		}
		after := sl.entry.Load()
		if after.grant.State.Generation > before.grant.State.Generation {
			c.about(&after.grant)
			return b.info(&after.grant), nil
		}
		// What changed nothing was a refresh that had settled when this call joined it.
		tried := after.grant.Version > e.grant.Version || round == rounds-1
		if tried && after.grant.State.Attempt == nil {
			return nil, b.notRotated(after)
		}
	}
	return nil, inProgress(&before.grant, nil, retrySoon)
}

// notRotated says why a forced refresh did not rotate.
func (b *Broker) notRotated(e *entry) error {
	now := b.now()
	if d := family.Plan(e.grant.State, b.cfg.Timing, now, family.Need{Force: true}); d.Verb == family.Deny {
		return b.denied(&e.grant, d.Deny)
	}
	return &Error{Reason: ReasonProviderUnavailable, RetryAfter: max(e.grant.State.NotBefore.Sub(now), time.Second),
		Message: fmt.Sprintf("%s was not rotated: the provider did not give a new token; `holdfast grants show %s` lists what happened", e.grant.Address, e.grant.Address)}
}
