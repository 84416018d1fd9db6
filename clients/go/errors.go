package holdfast

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Reason is the machine-readable reason of a refusal. New ones may come with a
// newer broker: treat an unknown one by Error.Code.
type Reason string

// The reasons, and what a program should do.
const (
	// GrantNotFound: there is no such grant, or the policy hides it. Fix the key.
	GrantNotFound Reason = "GRANT_NOT_FOUND"
	// CallerUnauthenticated: no valid client certificate. Ask an operator.
	CallerUnauthenticated Reason = "CALLER_UNAUTHENTICATED"
	// CallerNotAllowed: the policy does not let this caller do it. Ask an operator.
	CallerNotAllowed Reason = "CALLER_NOT_ALLOWED"
	// ConsentRequired: send a person to Error.Link. Do not retry.
	ConsentRequired Reason = "CONSENT_REQUIRED"
	// SiteNotGranted: the grant does not reach the site. Ask for a new consent.
	SiteNotGranted Reason = "SITE_NOT_GRANTED"
	// SiteAmbiguous: several sites match; Error.Sites lists them. Name one.
	SiteAmbiguous Reason = "SITE_AMBIGUOUS"
	// ScopeNotGranted: Error.Missing lists what the token lacks. Ask for a new consent.
	ScopeNotGranted Reason = "SCOPE_NOT_GRANTED"
	// GrantRevoked: an operator ended the grant. Stop.
	GrantRevoked Reason = "GRANT_REVOKED"
	// GrantQuarantined: the grant may be a copy. Stop and tell an operator.
	GrantQuarantined Reason = "GRANT_QUARANTINED"
	// AppPaused: the grant's app is misconfigured or paused. Tell an operator.
	AppPaused Reason = "APP_PAUSED"
	// ProviderUnavailable: retry after Error.RetryAfter.
	ProviderUnavailable Reason = "PROVIDER_UNAVAILABLE"
	// RefreshInProgress: retry after Error.RetryAfter; the refresh goes on.
	RefreshInProgress Reason = "REFRESH_IN_PROGRESS"
	// StoreUnavailable: retry after Error.RetryAfter.
	StoreUnavailable Reason = "STORE_UNAVAILABLE"
	// KeyUnavailable: retry after Error.RetryAfter.
	KeyUnavailable Reason = "KEY_UNAVAILABLE"
	// AuditUnavailable: retry after Error.RetryAfter.
	AuditUnavailable Reason = "AUDIT_UNAVAILABLE"
	// ProviderRateLimited: retry after Error.RetryAfter.
	ProviderRateLimited Reason = "PROVIDER_RATE_LIMITED"
	// CallerRateLimited: retry after Error.RetryAfter, and ask less often.
	CallerRateLimited Reason = "CALLER_RATE_LIMITED"
	// InvalidRequest: fix Error.Field.
	InvalidRequest Reason = "INVALID_REQUEST"
	// Internal: report Error.RequestID.
	Internal Reason = "INTERNAL"
	// StreamEnded: the broker ended a stream in good order. Only a source with Watch
	// has one, and opens another one by itself.
	StreamEnded Reason = "STREAM_ENDED"
	// Unreachable is this client's own reason: the broker did not answer at
	// all, or what answered is no broker. Retry later.
	Unreachable Reason = "UNREACHABLE"
)

// Error is why the broker gave no token. Find it with errors.As; http.Client
// wraps it in a *url.Error.
type Error struct {
	Reason Reason
	// Code of the call; codes.OK for an error found before any call.
	Code codes.Code
	// Message for people: what was wrong and what to do next.
	Message string
	// RetryAfter is the least time to wait before a retry; 0: a retry is no cure,
	// or the broker named no time.
	RetryAfter time.Duration
	// Why, for ConsentRequired: a short word such as REFUSED.
	Why string
	// Link, for ConsentRequired: the connect page to send a person to; may be empty.
	Link string
	// Missing scopes, for ScopeNotGranted.
	Missing []string
	// Sites, for SiteAmbiguous: the candidates, one text for all, for people.
	Sites string
	// Field, for InvalidRequest: the field that breaks its rule.
	Field string
	// RequestID finds the call in the broker's log and audit record.
	RequestID string

	cause error
}

// Error returns reason and message.
func (e *Error) Error() string {
	text := fmt.Sprintf("holdfast: %s: %s", e.Reason, e.Message)
	if e.RequestID != "" {
		text += " (request " + e.RequestID + ")"
	}
	return text
}

// Unwrap returns the gRPC status error; for a call that ran out of time also
// context.DeadlineExceeded is found by errors.Is.
func (e *Error) Unwrap() error { return e.cause }

// Temporary reports whether a later call may succeed without anybody acting.
func (e *Error) Temporary() bool {
	switch e.Reason {
	case ProviderUnavailable, RefreshInProgress, StoreUnavailable, KeyUnavailable, AuditUnavailable,
		ProviderRateLimited, CallerRateLimited, Internal, StreamEnded, Unreachable:
		return true
	}
	switch e.Code {
	case codes.Unavailable, codes.ResourceExhausted, codes.DeadlineExceeded, codes.Internal, codes.Unknown, codes.Canceled:
		return true
	}
	return false
}

// errorDomain marks an ErrorInfo as the broker's.
const errorDomain = "holdfast"

// fromStatus turns the error of a call into an *Error.
func fromStatus(err error) *Error {
	st := status.Convert(err)
	e := &Error{Code: st.Code(), Message: st.Message(), cause: err}
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == errorDomain {
				e.fill(d)
			}
		case *errdetails.RetryInfo:
			e.RetryAfter = max(0, d.GetRetryDelay().AsDuration())
		case *errdetails.BadRequest:
			if v := d.GetFieldViolations(); len(v) > 0 {
				e.Field = v[0].GetField()
			}
		}
	}
	if e.Reason == "" {
		e.Reason = Unreachable
	}
	if e.Code == codes.DeadlineExceeded {
		e.cause = errors.Join(err, context.DeadlineExceeded)
	}
	return e
}

func (e *Error) fill(info *errdetails.ErrorInfo) {
	e.Reason = Reason(info.GetReason())
	e.details(info.GetMetadata())
}

func (e *Error) details(m map[string]string) {
	e.Why, e.Link, e.Sites, e.RequestID = m["why"], m["link"], m["sites"], m["request_id"]
	e.Missing = strings.FieldsFunc(m["missing"], func(r rune) bool { return r == ' ' || r == ',' })
}

// fromBatch turns the refusal that a message carries into an *Error. There was no
// failed call, so that its code is that of the reason, where this client knows it.
func fromBatch(b *holdfastv1.BatchError) *Error {
	e := &Error{
		Reason:  Reason(strings.TrimPrefix(b.GetReason().String(), reasonPrefix)),
		Message: b.GetMessage(), RetryAfter: max(0, b.GetRetryAfter().AsDuration()), Field: b.GetField(),
	}
	if e.RetryAfter > 0 {
		e.Code = codes.Unavailable // also of a reason that this client does not know: it is not final
	}
	e.details(b.GetMetadata())
	return e
}

// reasonPrefix of the values of ErrorReason; the status details leave it out.
const reasonPrefix = "ERROR_REASON_"

// temporary reports whether err says nothing about the grant or the caller.
func temporary(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Temporary()
}
