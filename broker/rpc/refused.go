package rpc

import (
	"errors"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/broker"
)

// RefusalBroker records refusals that no other method of the broker hears of.
type RefusalBroker interface {
	// RecordRefusal of a call, by the name of its rpc; limit names the limit that
	// was the cause, or is empty. The error is what the caller gets instead.
	RecordRefusal(c broker.Caller, method string, reason broker.Reason, limit string) error
}

// connecting is the method of those who are sent away before any call.
const connecting = "(connection)"

// refused records that a call was refused here, and returns what its caller gets.
// Who is nobody is in the metrics alone.
func (e *edge) refused(caller broker.Caller, method string, err error) error {
	if caller.Name == "" {
		return err
	}
	reason, limit := broker.ReasonOf(err), ""
	if r, ok := errors.AsType[*refusal](err); ok {
		reason = r.reason
	} else if b, ok := errors.AsType[*broker.Error](err); ok {
		limit = b.Metadata["limit"]
	}
	if unrecorded := e.refusals.RecordRefusal(caller, rpcName(method), reason, limit); unrecorded != nil {
		return unrecorded
	}
	return err
}

// rpcName is the name of an rpc as the broker's own records have it; one of
// another service keeps the service's name.
func rpcName(method string) string {
	method = strings.TrimPrefix(method, "/")
	service, name, _ := strings.Cut(method, "/")
	if isOurs(service) {
		return name
	}
	return method
}

// turnedAway records that a known caller found no place for its connection.
func (e *edge) turnedAway(p identifier, now time.Time) error {
	id, err := p.Identity(now)
	if err != nil {
		return err
	}
	return e.refused(id.Caller, connecting, noPlace())
}

func noPlace() error {
	return &broker.Error{Reason: broker.ReasonCallerRateLimited, Metadata: map[string]string{"limit": "connections"},
		Message: "as many connections stand as may: close those that are not needed, or ask an operator to raise limits.connections"}
}
