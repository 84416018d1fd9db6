package broker

import (
	"context"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/storage"
)

// probeEvery is the least time between two checks of one grant's token: a
// caller in a loop must not turn into requests at the provider.
const probeEvery = 10 * time.Second

// ReportRejected takes a caller's word that the provider's API refused a
// token, and asks the provider itself: only its own 401 makes the broker
// rotate, since an API answers 401, 403 and 404 for many reasons that no
// refresh cures.
func (b *Broker) ReportRejected(ctx context.Context, caller Caller, r RejectionReport) (RejectionVerdict, error) {
	c, sl, err := b.enterGrant(ctx, caller, "ReportRejectedToken", r.ID, &policy.Request{Action: policy.Draw, Address: r.Address})
	var verdict RejectionVerdict
	if err == nil {
		c.about(&sl.entry.Load().grant)
		c.rec.Generation = r.Generation
		verdict, err = b.reportRejected(ctx, sl, r.Generation)
		c.rec.Detail = string(verdict)
	}
	if err = c.done(err); err != nil {
		return "", err
	}
	return verdict, nil
}

func (b *Broker) reportRejected(ctx context.Context, sl *slot, generation uint64) (RejectionVerdict, error) {
	e := sl.entry.Load()
	served := family.Normalize(e.grant.State, b.cfg.Timing, b.now())
	st := &served
	if d := family.Plan(*st, b.cfg.Timing, b.now(), family.Need{}); d.Verb == family.Deny {
		return "", b.denied(&e.grant, d.Deny)
	}
	switch {
	case generation > st.Generation:
		return "", invalid("generation", "generation %d was never handed out; the newest is %d", generation, st.Generation)
	case generation < st.Generation:
		return VerdictStale, nil
	case st.Access.Rejected:
		return VerdictRejected, nil
	}
	now := b.now().UnixNano()
	last := sl.probed.Load()
	if now-last < int64(probeEvery) || !sl.probed.CompareAndSwap(last, now) {
		return VerdictUnverified, nil
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timing.HTTPTimeout)
	defer cancel()
	switch b.cfg.Provider.Probe(ctx, st.Access.Token) {
	case atlassian.Accepted:
		return VerdictAccepted, nil
	case atlassian.Rejected:
		return b.believeRejected(ctx, sl, generation)
	}
	return VerdictUnverified, nil
}

// believeRejected records the refusal, so that the next call refreshes, and
// begins that refresh at once.
func (b *Broker) believeRejected(ctx context.Context, sl *slot, generation uint64) (RejectionVerdict, error) {
	id := sl.entry.Load().grant.ID
	_, err := b.change(ctx, id, id, func(g *storage.Grant) ([]family.Event, error) {
		st, events, changed := family.Reject(family.Normalize(g.State, b.cfg.Timing, b.now()), b.now(), generation)
		if !changed {
			return nil, nil
		}
		g.State = st
		return events, nil
	})
	if err != nil {
		return "", err
	}
	b.refreshAhead(ctx, sl)
	return VerdictRejected, nil
}
