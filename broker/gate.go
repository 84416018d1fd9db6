package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-io/holdfast/broker/audit"
	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/storage"
)

// call is one call on its way through the gate: made by enter, ended by done.
// Every exported method that takes a Caller begins with the one and ends with
// the other; what it returns in between is what the audit says.
type call struct {
	b   *Broker
	rec audit.Record
	// acted: the intent is recorded, so that the end must be as well.
	acted bool
}

// enter decides whether the caller may do action on the grant at a (zero: the
// action is about the broker). The returned call must be ended with done even if
// the error is not nil.
func (b *Broker) enter(caller Caller, method string, action policy.Action, a storage.Address) (*call, error) {
	return b.pass(caller, method, &policy.Request{Action: action, Address: a})
}

// pass is enter for a request that says more; it fills in who asks, and when.
// The policy is asked before anything is read, so that a refusal is the same
// whether or not the grant exists.
func (b *Broker) pass(caller Caller, method string, r *policy.Request) (*call, error) {
	c, err := b.identify(caller, method, r)
	if err != nil {
		return c, err
	}
	d := b.cfg.Policy.Decide(r)
	c.rec.Rule = d.Rule
	if !d.Allow {
		return c, notAllowed(r)
	}
	return c, nil
}

// passNamed is pass for a grant that is named by id, or by r.Address if id is
// empty. Whose grant an id is only its record says; so what the policy hides is
// answered as what is not there. The slot is nil if the address was given.
func (b *Broker) passNamed(ctx context.Context, caller Caller, method, id string, r *policy.Request) (*call, *slot, error) {
	if id == "" {
		c, err := b.pass(caller, method, r)
		return c, nil, err
	}
	c, err := b.identify(caller, method, r)
	c.rec.GrantID = id
	if err != nil {
		return c, nil, err
	}
	if !b.cfg.Policy.Ever(r) {
		return c, nil, notAllowed(r) // for any id, without a look at it
	}
	sl := b.hot.findID(id)
	if sl == nil {
		if sl, err = b.load(ctx, id, id); err != nil {
			return c, nil, err
		}
	}
	r.Address = sl.entry.Load().grant.Address
	c.rec.Grant = r.Address.String()
	d := b.cfg.Policy.Decide(r)
	c.rec.Rule = d.Rule
	if !d.Allow {
		return c, nil, notFound(id)
	}
	return c, sl, nil
}

// grantByGrant is the rule of a listing in the audit: each row has its own.
const grantByGrant = "grant by grant"

// enterListing lets in who may perhaps do action on some grant; the rows are
// then for sees to choose. Who asks for the grants to draw from and may do
// other things only is let in as well, to an empty list.
func (b *Broker) enterListing(caller Caller, method string, action policy.Action) (*call, error) {
	r := &policy.Request{Action: action}
	c, err := b.identify(caller, method, r)
	if err != nil {
		return c, err
	}
	if b.cfg.Policy.Ever(r) {
		c.rec.Rule = grantByGrant
		return c, nil
	}
	if action == policy.Draw && b.cfg.Policy.Knows(r) {
		return c, nil
	}
	return c, notAllowed(r)
}

// sees reports whether the caller may do action on one of many grants.
func (b *Broker) sees(caller Caller, action policy.Action, a storage.Address) bool {
	return b.cfg.Policy.Peek(&policy.Request{
		Caller: caller.Name, Kind: string(caller.Kind), Groups: caller.Groups, Action: action, Address: a, Now: b.now(),
	})
}

// identify begins the record of a call and says who makes it, or that nobody does.
func (b *Broker) identify(caller Caller, method string, r *policy.Request) (*call, error) {
	now := b.now()
	r.Caller, r.Kind, r.Groups, r.Now = caller.Name, string(caller.Kind), caller.Groups, now
	c := &call{b: b, rec: audit.Record{
		Time: now, RequestID: caller.RequestID, Caller: caller.Name, CallerKind: string(caller.Kind), Via: caller.Via, Method: method, Action: string(r.Action),
	}}
	if r.Address != (storage.Address{}) {
		c.rec.Grant = r.Address.String()
	}
	if caller.Name == "" {
		return c, &Error{Reason: ReasonCallerUnauthenticated, Message: "no identity: show a client certificate or a bearer token of a caller whom the configuration or a policy names"}
	}
	if !caller.NotAfter.IsZero() && now.After(caller.NotAfter) {
		return c, &Error{Reason: ReasonCallerUnauthenticated, Message: "the caller's identity has expired: call again with a newer certificate or token"}
	}
	return c, nil
}

// intend records an act before it is done, so that none can be done unrecorded.
// Reading and drawing have nothing to intend: they answer nothing unrecorded.
func (c *call) intend() error {
	intent := c.rec
	intent.Outcome = "begun"
	if err := c.b.cfg.Audit.Write(&intent); err != nil {
		return auditUnavailable(err)
	}
	c.acted = true
	return nil
}

func auditUnavailable(cause error) *Error {
	return &Error{Reason: ReasonAuditUnavailable, RetryAfter: retrySoon, cause: cause,
		Message: "the audit record cannot be written, so nothing is done or handed out: free or repair the audit file's disk"}
}

// notAllowed says what was refused and where an operator finds out why. It names
// no rule: a caller must not learn from refusals what else there is.
func notAllowed(r *policy.Request) *Error {
	return &Error{Reason: ReasonCallerNotAllowed, Message: fmt.Sprintf(
		"caller %q may not %s: an operator allows it in the configuration's callers section or in a policy file, and sees why not with `%s`",
		r.Caller, deed(r), explainCommand(r))}
}

// deed says what was to be done to which grant, or to any.
func deed(r *policy.Request) string {
	on := " any grant"
	if r.Address != (storage.Address{}) {
		on = " " + r.Address.String()
	}
	switch r.Action {
	case policy.Draw:
		return "draw tokens of" + on
	case policy.Consent:
		return "start consents for" + on
	}
	if r.Address == (storage.Address{}) {
		return string(r.Action)
	}
	return string(r.Action) + on
}

// about completes the record with the grant that the call turned out to be about.
func (c *call) about(g *storage.Grant) {
	if c.rec.Grant == "" {
		c.rec.Grant = g.Address.String()
	}
	c.rec.GrantID, c.rec.Generation = g.ID, g.State.Generation
}

// done writes the audit record of a call that ended with err and returns what
// the caller gets: err, or AUDIT_UNAVAILABLE if the record could not be written.
func (c *call) done(err error) error {
	c.rec.Outcome = "ok"
	if err != nil {
		c.rec.Outcome = string(ReasonOf(err))
		c.rec.Refusal = !c.acted
	}
	if werr := c.b.cfg.Audit.Write(&c.rec); werr != nil {
		return auditUnavailable(errors.Join(werr, err))
	}
	return err
}
