package rpc

import (
	"time"

	"google.golang.org/grpc/peer"

	"github.com/holdfast-io/holdfast/broker"
)

// admit finds out who calls. Ours says that a broker decides what the caller may
// do; where none does, a caller that the configuration names is demanded.
func (e *edge) admit(c *call, ours bool, now time.Time) error {
	p, _ := peer.FromContext(c.Context)
	if p == nil {
		return unauthenticated("the connection shows no identity; connect with a client certificate")
	}
	conn, _ := p.AuthInfo.(*connection)
	if conn == nil || conn.peer == nil {
		return unauthenticated("the connection shows no client certificate; connect with one that the broker's client CA signed")
	}
	id, err := conn.peer.Identity(now)
	if err != nil {
		return err
	}
	if !ours && !id.Mapped {
		return &broker.Error{
			Reason:  broker.ReasonCallerNotAllowed,
			Message: "the client certificate belongs to no configured caller; ask an operator to list it under callers",
		}
	}
	requestID := c.caller.RequestID
	c.caller = id.Caller
	c.caller.RequestID = requestID
	return nil
}

func unauthenticated(message string) error {
	return &broker.Error{Reason: broker.ReasonCallerUnauthenticated, Message: message}
}
