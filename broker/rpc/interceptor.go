package rpc

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"buf.build/go/protovalidate"
	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/identity"
)

// edge is what every call passes.
type edge struct {
	log       *slog.Logger
	now       func() time.Time
	validator protovalidate.Validator
	// methods by full name; complete before the first call, then only read.
	methods map[string]*method
	// ending ends when the server begins to stop: standing streams end with it.
	ending  context.Context
	limiter *limiter
	trust   *identity.Trust
	// refusals records those that end here.
	refusals RefusalBroker
	// recheck wakes standing streams when the policy or a grant has changed.
	recheck *identity.Broadcast
	watches *watches
	// pending counts the streams that wait for an issuer's keys.
	pending atomic.Int64
}

// unary is the one interceptor of unary calls: recovery, identity, request id,
// validation, metrics and the mapping of errors in one function, in the order of
// what each needs from the one before.
func (e *edge) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
	start := e.now()
	m := e.methods[info.FullMethod]
	c := &call{Context: ctx}
	outcome := outcomeOK
	defer func() {
		if p := recover(); p != nil {
			err = &panicked{p, debug.Stack()}
		}
		if err != nil {
			resp = nil
			outcome, err = e.finish(c, m, err)
		}
		m.observe(e.now().Sub(start), outcome)
	}()

	c.caller.RequestID = requestID(ctx)
	if err = e.enter(c, m, req, start); err != nil {
		return nil, e.refused(c.caller, m.name, err)
	}
	if resp, err = handler(c, req); err == nil && c.wire != nil {
		c.wire.answer(resp)
	}
	return resp, err
}

// enter lets a call in, or says why not.
func (e *edge) enter(c *call, m *method, req any, now time.Time) error {
	if err := e.admit(c, m.ours, now); err != nil {
		return err
	}
	if err := e.limiter.take(c, req, now); err != nil {
		return err
	}
	if !m.ours {
		return decoded(req)
	}
	return e.valid(c, req)
}

// valid says what is wrong with a request of ours.
func (e *edge) valid(c *call, req any) error {
	if plainlyValid(req) {
		return nil
	}
	if err := decoded(req); err != nil { // it is empty, and so never plainly valid
		return err
	}
	bad, err := invalid(e.validator, req, c.caller.RequestID)
	if bad != nil {
		return bad
	}
	return err
}

// finish turns a handler's error into the status that the client gets and the
// outcome that is counted. It logs what the client does not get.
func (e *edge) finish(c *call, m *method, err error) (broker.Reason, error) {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r.reason, r.err()
	}
	if outcome, left := gone(c.Context, err); left != nil {
		return outcome, left
	}
	_, crashed := errors.AsType[*panicked](err)
	if _, known := errors.AsType[*broker.Error](err); !m.ours && !known && !crashed {
		return outcomeOther, err // grpc's own services make their own statuses
	}
	r := e.refuse(c, m.name, err)
	return r.reason, r.err()
}

// refuse is refuse, with the cause of an internal error in the log.
func (e *edge) refuse(c *call, method string, err error) refusal {
	r := refuse(err, c.caller.RequestID)
	if !r.logged {
		return r
	}
	attrs := []slog.Attr{
		slog.String("method", method),
		slog.String("caller", c.caller.Name),
		slog.String("request_id", c.caller.RequestID),
		slog.Any("error", err),
	}
	if p, ok := errors.AsType[*panicked](err); ok {
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	e.log.LogAttrs(c.Context, slog.LevelError, "call failed", attrs...)
	return r
}

// stream admits streams: ours, and those of grpc's own services.
func (e *edge) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	c := &call{Context: ss.Context()}
	m := e.methods[info.FullMethod]
	if m == nil {
		m = &method{name: info.FullMethod}
	}
	outcome := outcomeOK
	defer func() {
		if p := recover(); p != nil {
			err = &panicked{p, debug.Stack()}
		}
		if !c.asked && refusedHere(err) {
			err = e.refused(c.caller, m.name, err)
		}
		if err != nil {
			outcome, err = e.finish(c, m, err)
		}
		if m.ours {
			m.count(outcome)
		}
	}()
	c.caller.RequestID, c.ours = requestID(c.Context), m.ours
	now := e.now()
	if err := e.admit(c, c.ours, now); err != nil {
		return err
	}
	if err := e.limiter.take(c, nil, now); err != nil {
		return err
	}
	return e.stand(ss, c, func(s grpc.ServerStream) error { return handler(srv, s) })
}

// refusedHere reports whether an error is of the interceptor's own making: the
// handlers of grpc's services make none of them.
func refusedHere(err error) bool {
	if _, invalid := errors.AsType[*refusal](err); invalid {
		return true
	}
	_, own := errors.AsType[*broker.Error](err)
	return own
}
