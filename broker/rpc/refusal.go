package rpc

import (
	"context"
	"errors"
	"maps"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdfast-io/holdfast/broker"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/secret"
)

// domain of every ErrorInfo.
const domain = "holdfast"

// defaultRetry is asked for where the broker names no delay.
const defaultRetry = time.Second

// maxViolations of one refusal. The details travel in trailers, which many
// clients limit to 8 KiB.
const maxViolations = 16

// codeOf maps every reason to its gRPC code: the table of the contract.
var codeOf = map[broker.Reason]codes.Code{
	broker.ReasonGrantNotFound:         codes.NotFound,
	broker.ReasonCallerUnauthenticated: codes.Unauthenticated,
	broker.ReasonCallerNotAllowed:      codes.PermissionDenied,
	broker.ReasonConsentRequired:       codes.FailedPrecondition,
	broker.ReasonSiteNotGranted:        codes.FailedPrecondition,
	broker.ReasonSiteAmbiguous:         codes.FailedPrecondition,
	broker.ReasonScopeNotGranted:       codes.FailedPrecondition,
	broker.ReasonGrantRevoked:          codes.FailedPrecondition,
	broker.ReasonGrantQuarantined:      codes.FailedPrecondition,
	broker.ReasonAppPaused:             codes.FailedPrecondition,
	broker.ReasonProviderUnavailable:   codes.Unavailable,
	broker.ReasonRefreshInProgress:     codes.Unavailable,
	broker.ReasonStoreUnavailable:      codes.Unavailable,
	broker.ReasonKeyUnavailable:        codes.Unavailable,
	broker.ReasonAuditUnavailable:      codes.Unavailable,
	broker.ReasonProviderRateLimited:   codes.ResourceExhausted,
	broker.ReasonCallerRateLimited:     codes.ResourceExhausted,
	broker.ReasonInvalidRequest:        codes.InvalidArgument,
	broker.ReasonStreamEnded:           codes.Unavailable,
	broker.ReasonInternal:              codes.Internal,
}

// violation is one field that breaks its rule.
type violation struct{ field, description string }

// refusal is what a client learns of a failed call or batch member.
type refusal struct {
	reason     broker.Reason
	message    string
	retryAfter time.Duration // 0: do not retry
	metadata   map[string]string
	violations []violation
	// logged is set if the cause has to go to the log, since the client does
	// not get it.
	logged bool
}

// refuse says what a client may learn of err. An error that is no *broker.Error
// or has an unknown reason is internal: none of its text passes.
func refuse(err error, requestID string) refusal {
	var r refusal
	e, ok := errors.AsType[*broker.Error](err)
	code, known := codes.Internal, false
	if ok {
		code, known = codeOf[e.Reason]
	}
	if !known || code == codes.Internal {
		r = refusal{
			reason:  broker.ReasonInternal,
			message: "internal error; report request id " + requestID + " to the operators of the broker",
			logged:  true,
		}
	} else {
		r = refusal{reason: e.Reason, message: e.Message, metadata: maps.Clone(e.Metadata)}
		maps.DeleteFunc(r.metadata, func(_, value string) bool { return value == "" })
		if code == codes.Unavailable || code == codes.ResourceExhausted {
			r.retryAfter = max(e.RetryAfter, 0)
			if r.retryAfter == 0 {
				r.retryAfter = defaultRetry
			}
		}
		if e.Reason == broker.ReasonInvalidRequest && e.Field != "" {
			r.violations = []violation{{e.Field, e.Message}}
		}
	}
	if r.metadata == nil {
		r.metadata = map[string]string{}
	}
	r.metadata["request_id"] = requestID
	return r
}

// err returns the refusal as a gRPC status with its details.
func (r refusal) err() error {
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{
		Reason: string(r.reason), Domain: domain, Metadata: r.metadata,
	}}
	if r.retryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(r.retryAfter)})
	}
	if r.reason == broker.ReasonInvalidRequest {
		bad := &errdetails.BadRequest{}
		for _, v := range r.violations[:min(len(r.violations), maxViolations)] {
			bad.FieldViolations = append(bad.FieldViolations, &errdetails.BadRequest_FieldViolation{
				Field: v.field, Description: v.description,
			})
		}
		details = append(details, bad)
	}
	plain := status.New(codeOf[r.reason], r.message)
	full, err := plain.WithDetails(details...)
	if err != nil { // only for text that is no UTF-8: the code still has to arrive
		return plain.Err()
	}
	return full.Err()
}

// batchError returns the refusal as a member of a batch's answer.
func (r refusal) batchError() *holdfastv1.BatchError {
	e := &holdfastv1.BatchError{
		Reason:   holdfastv1.ErrorReason(enumNumber(holdfastv1.ErrorReason_value, "ERROR_REASON_", string(r.reason))),
		Message:  r.message,
		Metadata: r.metadata,
	}
	if r.retryAfter > 0 {
		e.RetryAfter = durationpb.New(r.retryAfter)
	}
	if len(r.violations) > 0 {
		e.Field = r.violations[0].field
	}
	return e
}

// gone returns the outcome and status of a call whose client has left or whose
// deadline has passed, if that is what err is about; else a nil error.
func gone(ctx context.Context, err error) (broker.Reason, error) {
	if ctx.Err() == nil || broker.ReasonOf(err) != broker.ReasonInternal {
		return "", nil
	}
	switch {
	case errors.Is(err, context.Canceled):
		return outcomeCanceled, status.Error(codes.Canceled, "the client canceled the call")
	case errors.Is(err, context.DeadlineExceeded):
		return outcomeDeadline, status.Error(codes.DeadlineExceeded, "the call's deadline has passed")
	}
	return "", nil
}

// panicked is a recovered panic. Its value goes nowhere: it may hold anything.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return "a panic " + secret.OfPanic(p.value) }

// Error implements error, so that the interceptor can return a refusal it made itself.
func (r *refusal) Error() string { return string(r.reason) + ": " + r.message }
