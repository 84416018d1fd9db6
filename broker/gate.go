package broker

import (
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
}

// enter decides whether the caller may do action on the grant at a (zero: not
// about one grant). The returned call must be ended with done even if the
// error is not nil.
func (b *Broker) enter(caller Caller, method string, action policy.Action, a storage.Address) (call, error) {
	c := call{b: b, rec: audit.Record{
		Time: b.now(), RequestID: caller.RequestID, Caller: caller.Name, CallerKind: string(caller.Kind), Method: method, Action: string(action),
	}}
	if a != (storage.Address{}) {
		c.rec.Grant = a.String()
	}
	if caller.Name == "" {
		return c, &Error{Reason: ReasonCallerUnauthenticated, Message: "no client certificate: connect with one that the configuration's callers section names"}
	}
	if !caller.NotAfter.IsZero() && c.rec.Time.After(caller.NotAfter) {
		return c, &Error{Reason: ReasonCallerUnauthenticated, Message: "the client certificate has expired: connect again with a newer one"}
	}
	d := b.cfg.Policy.Decide(caller.Name, action, a)
	c.rec.Rule = d.Rule
	if !d.Allow {
		return c, notAllowed(caller, action, a)
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
	return nil
}

func auditUnavailable(cause error) *Error {
	return &Error{Reason: ReasonAuditUnavailable, RetryAfter: retrySoon, cause: cause,
		Message: "the audit record cannot be written, so nothing is done or handed out: free or repair the audit file's disk"}
}

func notAllowed(caller Caller, action policy.Action, a storage.Address) *Error {
	what := "this"
	switch {
	case a == (storage.Address{}) && action != policy.Admin:
		what = "do anything"
	case action == policy.Draw:
		what = fmt.Sprintf("draw tokens of %s", a)
	case action == policy.Consent:
		what = fmt.Sprintf("start consents for %s", a)
	case action == policy.Admin:
		what = "do what only an admin may"
	}
	return &Error{Reason: ReasonCallerNotAllowed, Message: fmt.Sprintf(
		"caller %q may not %s: ask an operator to add it to the configuration's callers section", caller.Name, what)}
}

// about completes the record with the grant that the call turned out to be about.
func (c *call) about(g *storage.Grant) {
	c.rec.Grant, c.rec.GrantID, c.rec.Generation = g.Address.String(), g.ID, g.State.Generation
}

// done writes the audit record of a call that ended with err and returns what
// the caller gets: err, or AUDIT_UNAVAILABLE if the record could not be written.
func (c *call) done(err error) error {
	c.rec.Outcome = "ok"
	if err != nil {
		c.rec.Outcome = string(ReasonOf(err))
	}
	if werr := c.b.cfg.Audit.Write(&c.rec); werr != nil {
		return auditUnavailable(errors.Join(werr, err))
	}
	return err
}
