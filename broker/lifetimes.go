package broker

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// watch is what the broker does about grants apart from spending: warnings of
// deadlines, looks at access tokens, and what follows from an outcome.
type watch struct {
	// attending is set while due warnings and looks are under way.
	attending atomic.Bool
	// followUps wait for the one goroutine that sees to them.
	followUps chan followUp
	probes    *rate.Limiter
}

func newWatch() watch {
	return watch{followUps: make(chan followUp, mostFollowUps), probes: rate.NewLimiter(probesPerSecond, probesAtOnce)}
}

// attendAtOnce bounds the warnings and looks that are under way at a time.
const attendAtOnce = 4

// timing is the configuration's, with the limits that were observed for the app
// in place of those that are longer. It is for deadlines and keep-alive alone.
func (b *Broker) timing(app string) family.Timing {
	t := b.cfg.Timing
	a := b.apps[app]
	if a == nil {
		return t
	}
	seen := a.observed(b.now())
	if seen.idle > 0 && (t.IdleLimit == 0 || seen.idle < t.IdleLimit) {
		t.IdleLimit, t.IdleSource = seen.idle, family.SourceObserved
	}
	if seen.absolute > 0 && (t.AbsoluteLimit == 0 || seen.absolute < t.AbsoluteLimit) {
		t.AbsoluteLimit, t.AbsoluteSource = seen.absolute, family.SourceObserved
	}
	return t
}

// due is when the grant next wants attention.
func (b *Broker) due(g *storage.Grant) time.Time { return g.State.Due(b.timing(g.App), g.ID) }

// attemptIsDue reports whether a grant that is due wants an attempt, and not
// only to be looked at.
func (b *Broker) attemptIsDue(g *storage.Grant, now time.Time) bool {
	at := g.State.AttemptDue(b.timing(g.App), g.ID)
	return !at.IsZero() && !at.After(now)
}

// wantsAttention reports whether a grant that is due wants something that needs
// no attempt: a warning, a look, or a due time that is true.
func (b *Broker) wantsAttention(g *storage.Grant, now time.Time) bool {
	t := b.timing(g.App)
	i := g.State.Inquiry
	warning := g.State.NextWarning(t)
	return !warning.IsZero() && !warning.After(now) || i != nil && g.State.Attempt == nil && !now.Before(i.Next) || !b.due(g).Equal(g.Due)
}

// attendDue sees to the grants with these ids; to nothing while an earlier call
// is at it. What it began is counted in running.
func (b *Broker) attendDue(ctx context.Context, running *sync.WaitGroup, ids []string) {
	if len(ids) == 0 || !b.watch.attending.CompareAndSwap(false, true) {
		return
	}
	running.Go(func() {
		defer b.watch.attending.Store(false)
		var each sync.WaitGroup
		defer each.Wait()
		room := make(chan struct{}, attendAtOnce)
		for _, id := range ids {
			select {
			case room <- struct{}{}:
			case <-ctx.Done():
				return
			}
			each.Go(func() {
				defer func() { <-room }()
				if err := b.attend(ctx, id); err != nil && ctx.Err() == nil {
					b.log.Warn("looking after a grant that is due failed; it is tried again", "grant_id", id, "error", err)
				}
			})
		}
	})
}

// attend looks into the grant's refusal, warns of its deadlines, and corrects its
// due time where the limits have changed since. It spends nothing.
func (b *Broker) attend(ctx context.Context, id string) (err error) {
	defer b.survive("looking after a grant", &err)
	if err := b.inquire(ctx, id); err != nil {
		return err
	}
	g, err := b.store.Grant(ctx, id)
	if err != nil {
		return storeError("reading a grant", id, err)
	}
	var events []family.Event
	var near []family.Deadline
	g.State, events, near = family.Warn(g.State, b.timing(g.App), b.now())
	if len(events) == 0 && b.due(&g).Equal(g.Due) {
		return nil
	}
	if g, err = b.swap(ctx, g, events); err != nil {
		if errors.Is(err, storage.ErrConflict) {
			return nil // somebody else changed it: it is looked at again if it is still due
		}
		return storeError("storing a grant", g.Address.String(), err)
	}
	for _, d := range near {
		b.logNear(&g, d)
	}
	return nil
}

func (b *Broker) logNear(g *storage.Grant, d family.Deadline) {
	todo := "have it consented again before then: holdfast grants reauth " + g.Address.String()
	if d.Limit == family.LimitIdle {
		todo = "it is overdue to be kept alive: see what holds that back (holdfast grants show " + g.Address.String() + "), or have it consented again before then"
	}
	if g.State.Phase == family.Quarantined {
		todo = "decide about its quarantine before then, or have it consented again: the provider's clock runs on"
	}
	b.log.Warn("the provider will end a grant soon", "grant", g.Address.String(), "limit", string(d.Limit), "before", d.At, "source", string(d.Source), "todo", todo)
}
