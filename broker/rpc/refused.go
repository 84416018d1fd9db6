package rpc

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/door"
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

// takePlace is for a client that has shown a certificate. That a known caller
// finds none is recorded.
func (e *edge) takePlace(p identifier, w *wire, now time.Time) error {
	var caller broker.Caller
	id, err := p.Identity(now)
	if err == nil { // otherwise it is told at its first call
		caller = id.Caller
	}
	full := w.show(caller.Name)
	if full == nil {
		return nil
	}
	return errors.Join(full, e.refused(caller, connecting, e.noPlace(full, caller.Name)))
}

// noPlace is what a caller gets whom the door has sent away.
func (e *edge) noPlace(full error, caller string) error {
	limit, message := "connections", "as many connections stand as may"
	if errors.Is(full, door.ErrFullForName) {
		limit = "connections_per_caller"
		message = fmt.Sprintf("caller %q has %d connections open, and may have no more", caller, e.limiter.limits.ConnectionsPerCaller)
	}
	return &broker.Error{Reason: broker.ReasonCallerRateLimited, RetryAfter: placeRetry, Metadata: map[string]string{"limit": limit},
		Message: message + ": close those that are not needed, or ask an operator to raise limits." + limit}
}
