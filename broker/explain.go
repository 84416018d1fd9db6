package broker

import (
	"context"
	"slices"

	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/storage"
)

// ExplainAccess says what the policy decides about a call that r describes, and
// why. A zero r.Now is now. It reads no grant, so that it says nothing of whether
// one exists.
func (b *Broker) ExplainAccess(_ context.Context, caller Caller, r policy.Request) (*policy.Explanation, error) {
	c, err := b.enter(caller, "ExplainAccess", policy.Investigate, storage.Address{})
	c.rec.Detail = "caller=" + r.Caller + " action=" + string(r.Action)
	if r.Address != (storage.Address{}) {
		c.rec.Detail += " grant=" + r.Address.String()
	}
	if err == nil {
		err = explainable(&r)
	}
	var e policy.Explanation
	if err == nil {
		if r.Now.IsZero() {
			r.Now = b.now()
		}
		e = b.cfg.Policy.Explain(r)
	}
	if err = c.done(err); err != nil {
		return nil, err
	}
	return &e, nil
}

func explainable(r *policy.Request) error {
	if !slices.Contains(policy.Actions(), r.Action) {
		return invalid("action", "there is no action %q; there are %v", r.Action, policy.Actions())
	}
	if r.Address == (storage.Address{}) {
		return nil
	}
	if err := r.Address.Validate(); err != nil {
		return invalid("grant", "%v", err)
	}
	return nil
}
