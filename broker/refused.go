package broker

import "github.com/holdfast-io/holdfast/broker/audit"

// RecordRefusal records that a call of a known caller was refused before any
// method of the broker was asked: beyond its rate, invalid, or of a service that
// is not for it. limit names the limit, if one was the cause. It blocks until it
// is written, but for repeated ones, which are counted. The error is
// AUDIT_UNAVAILABLE, and the caller's answer then. Who shows no identity that is
// believed is in no record: anybody could fill it with names; metrics count them.
func (b *Broker) RecordRefusal(caller Caller, method string, reason Reason, limit string) error {
	r := audit.Record{
		Time: b.now(), RequestID: caller.RequestID, Caller: caller.Name, CallerKind: string(caller.Kind), Via: caller.Via,
		Method: method, Outcome: string(reason), Refusal: true,
	}
	if limit != "" {
		r.Detail = "limit " + limit
	}
	if err := b.cfg.Audit.Write(&r); err != nil {
		return auditUnavailable(err)
	}
	return nil
}
