package broker

import (
	"context"
	"errors"

	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/audit"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

const (
	// probesPerSecond and probesAtOnce bound the looks at access tokens over all
	// apps: a wave of refusals must not turn into one of requests.
	probesPerSecond = 5
	probesAtOnce    = 20
)

// inquire takes the next look into a refusal that nothing explains, if one is
// due: it shows the access token to the provider and stores what follows. It
// spends nothing, and changes nothing if the grant was changed meanwhile.
func (b *Broker) inquire(ctx context.Context, id string) error {
	g, err := b.store.Grant(ctx, id)
	if err != nil {
		return storeError("reading a grant", id, err)
	}
	i := g.State.Inquiry
	if i == nil || g.State.Attempt != nil || b.now().Before(i.Next) {
		return nil
	}
	seen := family.NotSeen
	if g.State.WantsLook(b.now()) {
		seen = b.lookAt(ctx, g.State.Access.Token)
	}
	if ctx.Err() != nil {
		return ctx.Err() // what was not seen for that reason says nothing
	}
	var facts family.Facts
	if i.Next.Equal(i.RefusedAt) {
		others, err := b.related(ctx, &g)
		facts.NotRelated = err == nil && len(others) == 0
	}
	st, events := family.Inquire(g.State, b.timing(g.App), b.now(), seen, facts)
	g.State = st
	// Any change since the reading conflicts: an attempt that was begun during
	// the look may itself have ended the access token.
	g, err = b.swap(ctx, g, events)
	switch {
	case errors.Is(err, storage.ErrConflict):
		return nil
	case err != nil && !errors.Is(err, storage.ErrUnknown): // an alarm is better given twice than never
		return storeError("storing a grant", g.Address.String(), err)
	}
	for _, e := range events {
		b.suspect(&g, e)
	}
	return nil
}

// lookAt shows an access token to the provider. A refusal counts if it is
// given twice.
func (b *Broker) lookAt(ctx context.Context, token secret.String) family.Look {
	if !b.watch.probes.AllowN(b.now(), 1) {
		return family.NotSeen
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timing.HTTPTimeout)
	defer cancel()
	verdict := b.cfg.Provider.Probe(ctx, token)
	if verdict == atlassian.Rejected {
		verdict = b.cfg.Provider.Probe(ctx, token)
	}
	switch verdict {
	case atlassian.Accepted:
		return family.SeenAccepted
	case atlassian.Rejected:
		return family.SeenRejected
	}
	return family.NotSeen
}

// suspect tells people and machines what an inquiry found.
func (b *Broker) suspect(g *storage.Grant, e family.Event) {
	b.cfg.Observe.Security(e.Type)
	if e.Type != family.EventForeignUse {
		b.log.Warn("the provider refused a refresh token that this broker had neither spent nor lost",
			"grant", g.Address.String(), "generation", e.Generation, "possible", e.Detail, "todo", "holdfast grants show "+g.Address.String())
		return
	}
	const todo = "rotate the app's client secret, end the app's grants and have them consented again, and find who holds the token: a copy of the store, an old backup, another program with this client"
	b.log.Error("SECURITY: somebody else has used a refresh token: the provider refused it, and soon after ended an access token that it had still accepted",
		"grant", g.Address.String(), "grant_id", g.ID, "app", g.App, "generation", e.Generation, "todo", todo)
	err := b.cfg.Audit.Write(&audit.Record{
		Time: e.At, Caller: "holdfast", Method: "inquiry", Action: "security", Grant: g.Address.String(), GrantID: g.ID,
		Generation: e.Generation, Outcome: string(e.Type), Detail: "somebody else has used the refresh token: " + todo,
	})
	if err != nil {
		b.log.Error("auditing a security event failed", "grant", g.Address.String(), "error", err)
	}
}
