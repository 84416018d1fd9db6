package rpc

import (
	"context"
	"errors"

	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/tap"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/identity"
)

// authorization is the metadata key of a bearer token.
const authorization = "authorization"

// pendingKey marks the context of a stream that may wait for an issuer's keys.
type pendingKey struct{}

// header looks at a stream's headers before anything else of it is taken, on
// connections without a certificate: without a good token there is no stream, no
// message and no goroutine. It runs on the connection's reader and must not
// block; a token whose key is still unknown may go on, in small numbers, to where
// waiting is allowed (see admit). All others are admit's concern alone.
func (e *edge) header(ctx context.Context, info *tap.Info) (context.Context, error) {
	p, _ := peer.FromContext(ctx)
	if p == nil {
		return ctx, nil // admit refuses it
	}
	conn, _ := p.AuthInfo.(*connection)
	if conn == nil || conn.stranger == nil {
		return ctx, nil
	}
	c := &call{Context: ctx}
	c.caller.RequestID = requestID(ctx)
	id, err := e.bearer(info.Header[authorization])
	switch {
	case err == nil:
		conn.stranger.proven()
		if conn.wire != nil {
			_ = conn.wire.show(id.Name) // admit refuses the call if there is no place for it
		}
		return ctx, nil
	case errors.Is(err, identity.ErrUnknownKey) && e.pend(ctx):
		return context.WithValue(ctx, pendingKey{}, true), nil
	case errors.Is(err, identity.ErrUnknownKey):
		err = &broker.Error{Reason: broker.ReasonKeyUnavailable, RetryAfter: pendingRetry,
			Message: "the keys of the token's issuer are being read and many calls wait for them; try again"}
	default:
		conn.stranger.disproved()
	}
	m := e.methods[info.FullMethodName]
	if m == nil {
		m = &method{name: info.FullMethodName}
	}
	outcome, err := e.finish(c, m, err)
	if m.refused != nil {
		m.observe(0, outcome)
	}
	return ctx, err
}

// pend takes one of the places for streams that wait, until ctx ends.
func (e *edge) pend(ctx context.Context) bool {
	if e.pending.Add(1) > maxPending {
		e.pending.Add(-1)
		return false
	}
	context.AfterFunc(ctx, func() { e.pending.Add(-1) })
	return true
}

// bearer returns who the values of an authorization header speak for.
func (e *edge) bearer(values []string) (*identity.Identity, error) {
	switch len(values) {
	case 1:
		return e.trust.Bearer(values[0], e.now())
	case 0:
		return nil, unauthenticated("the call shows no identity; connect with a client certificate, or send a bearer token of a configured issuer in the authorization header")
	}
	return nil, unauthenticated("the call has several authorization headers; send one")
}
