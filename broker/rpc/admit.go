package rpc

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/identity"
)

const pendingRetry = 2 * time.Second

// admit finds out who calls. Ours says that a broker decides what the caller may
// do; where none does, a caller that the configuration names is demanded.
func (e *edge) admit(c *call, ours bool, now time.Time) error {
	id, err := e.identify(c, now)
	if id != nil {
		requestID := c.caller.RequestID
		c.caller = id.Caller
		c.caller.RequestID = requestID
	}
	if err != nil {
		return err
	}
	if !ours && !id.Mapped {
		return &broker.Error{
			Reason:  broker.ReasonCallerNotAllowed,
			Message: fmt.Sprintf("no configured caller is %q; ask an operator to list it under callers", id.Name),
		}
	}
	return nil
}

// identify returns whom the call speaks for: the connection's certificate, or
// the call's own token where there is none. A call with both is refused: which
// of them decides would be a guess, and one must never add to what the other may.
// With an error there is an identity only if who calls is known.
func (e *edge) identify(c *call, now time.Time) (*identity.Identity, error) {
	var conn *connection
	if p, ok := peer.FromContext(c.Context); ok {
		conn, _ = p.AuthInfo.(*connection)
	}
	if conn == nil {
		return nil, unauthenticated("the connection shows no identity; connect with a client certificate")
	}
	if c.wire = conn.wire; c.wire != nil {
		c.wire.begun()
	}
	if !e.trust.Tokens() {
		if conn.peer == nil {
			return nil, unauthenticated("the connection shows no client certificate; connect with one that the broker's client CA signed")
		}
		return conn.peer.Identity(now)
	}
	values := metadata.ValueFromIncomingContext(c.Context, authorization)
	switch {
	case conn.peer != nil && len(values) > 0:
		return nil, unauthenticated("the call shows a client certificate and a token, and it would have to be guessed who calls; leave one of them out")
	case conn.peer != nil:
		return conn.peer.Identity(now)
	}
	id, err := e.bearer(values)
	if errors.Is(err, identity.ErrUnknownKey) {
		if c.Context.Value(pendingKey{}) == nil {
			// It was known when the header came; the issuer has dropped it since.
			return nil, &broker.Error{Reason: broker.ReasonKeyUnavailable, RetryAfter: pendingRetry,
				Message: "the keys of the token's issuer are being read; try again"}
		}
		id, err = e.trust.AwaitBearer(c.Context, values[0], e.now())
	}
	if err != nil {
		return nil, err
	}
	if conn.stranger != nil {
		conn.stranger.proven()
	}
	if conn.wire != nil {
		if full := conn.wire.show(id.Caller.Name); full != nil {
			return id, e.noPlace(full, id.Caller.Name)
		}
	}
	return id, nil
}

func unauthenticated(message string) error {
	return &broker.Error{Reason: broker.ReasonCallerUnauthenticated, Message: message}
}
