package rpc

import (
	"context"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/broker"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const (
	// watchLife is the most that a stream lasts; it ends up to a tenth earlier, so
	// that those which were opened at once are not opened again at once.
	watchLife = time.Hour
	// takenWithin is how long a reader may take nothing at all.
	takenWithin = 30 * time.Second
	// reopenWithin is the time over which the clients of a server that stops open
	// their streams again elsewhere.
	reopenWithin = 5 * time.Second
)

// WatchAccessToken implements holdfastv1.TokenServiceServer.
func (s *tokenService) WatchAccessToken(req *holdfastv1.WatchAccessTokenRequest, stream grpc.ServerStreamingServer[holdfastv1.WatchAccessTokenResponse]) error {
	c, _ := stream.Context().Value(callKey{}).(*call)
	if c == nil {
		return unauthenticated("the stream has no identity")
	}
	leave, err := s.edge.watches.enter(c.caller.Name)
	if err != nil {
		return err
	}
	defer leave()
	opened := stream.Context()
	ctx, stop := context.WithTimeoutCause(opened, watchLife-rand.N(watchLife/10), //nolint:gosec // it only spreads
		streamEnded(time.Second, "the stream has lasted as long as one may: open it again"))
	defer stop()
	w := &watchStream{service: s, call: c, ctx: ctx, stream: stream}
	c.asked = true
	err = s.broker.Watch(ctx, c.caller, tokenRequest(req.GetToken()), w.send)
	switch {
	case s.edge.ending.Err() != nil:
		return streamEnded(reopenWithin, "this broker stops: open the stream again, at another one")
	case opened.Err() == nil && ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return err
}

// streamEnded is an end in good order; clients come again at some time within d.
func streamEnded(d time.Duration, message string) *broker.Error {
	return &broker.Error{Reason: broker.ReasonStreamEnded, Message: message, RetryAfter: d/5 + rand.N(d-d/5)} //nolint:gosec // it only spreads
}

// watchStream is the way of one stream to its client.
type watchStream struct {
	service *tokenService
	call    *call
	ctx     context.Context
	stream  grpc.ServerStreamingServer[holdfastv1.WatchAccessTokenResponse]
}

// send sends one event and waits until the transport has taken it, until the reader
// has taken nothing for too long, or until the stream ends.
func (w *watchStream) send(r broker.TokenResult) error {
	m := w.message(r)
	sent := make(chan error, 1)
	// The transport lets go of it at the latest when the handler has returned.
	go func() { sent <- w.stream.Send(m) }()
	timer := time.NewTimer(takenWithin)
	defer timer.Stop()
	select {
	case err := <-sent:
		return err
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	case <-timer.C:
		return streamEnded(time.Second, "nothing of the stream was taken for "+takenWithin.String()+": read it, and open it again")
	}
}

func (w *watchStream) message(r broker.TokenResult) *holdfastv1.WatchAccessTokenResponse {
	e := w.service.edge
	if r.Err == nil {
		e.watches.tokens.Inc()
		return &holdfastv1.WatchAccessTokenResponse{Event: &holdfastv1.WatchAccessTokenResponse_Token{Token: tokenOut(r.Answer)}}
	}
	e.watches.refusals.Inc()
	why := e.refuse(w.call, holdfastv1.TokenService_WatchAccessToken_FullMethodName, r.Err)
	return &holdfastv1.WatchAccessTokenResponse{Event: &holdfastv1.WatchAccessTokenResponse_Unavailable{Unavailable: why.batchError()}}
}
