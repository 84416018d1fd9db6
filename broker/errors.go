package broker

import (
	"errors"
	"fmt"
	"time"
)

// Reason is the machine-readable reason of a refusal, as google.rpc.ErrorInfo carries it.
type Reason string

// The reasons of the contract. What a client should do stands beside each in
// proto/holdfast/v1/error_reason.proto.
const (
	ReasonGrantNotFound         Reason = "GRANT_NOT_FOUND"
	ReasonCallerUnauthenticated Reason = "CALLER_UNAUTHENTICATED"
	ReasonCallerNotAllowed      Reason = "CALLER_NOT_ALLOWED"
	ReasonConsentRequired       Reason = "CONSENT_REQUIRED"
	ReasonSiteNotGranted        Reason = "SITE_NOT_GRANTED"
	ReasonSiteAmbiguous         Reason = "SITE_AMBIGUOUS"
	ReasonScopeNotGranted       Reason = "SCOPE_NOT_GRANTED"
	ReasonGrantRevoked          Reason = "GRANT_REVOKED"
	ReasonGrantQuarantined      Reason = "GRANT_QUARANTINED"
	ReasonAppPaused             Reason = "APP_PAUSED"
	ReasonProviderUnavailable   Reason = "PROVIDER_UNAVAILABLE"
	ReasonRefreshInProgress     Reason = "REFRESH_IN_PROGRESS"
	ReasonStoreUnavailable      Reason = "STORE_UNAVAILABLE"
	ReasonKeyUnavailable        Reason = "KEY_UNAVAILABLE"
	ReasonAuditUnavailable      Reason = "AUDIT_UNAVAILABLE"
	ReasonProviderRateLimited   Reason = "PROVIDER_RATE_LIMITED"
	ReasonCallerRateLimited     Reason = "CALLER_RATE_LIMITED"
	ReasonInvalidRequest        Reason = "INVALID_REQUEST"
	ReasonStreamEnded           Reason = "STREAM_ENDED"
	// ReasonInternal is everything else; its cause goes to the log only.
	ReasonInternal Reason = "INTERNAL"
)

// Error is what every method of Broker fails with.
type Error struct {
	Reason Reason
	// Message says what was wrong and what to do next. It holds no secret and
	// no text of the provider.
	Message string
	// RetryAfter is set for reasons that a retry may cure.
	RetryAfter time.Duration
	// Metadata goes into ErrorInfo: "why" and "link" for CONSENT_REQUIRED,
	// "sites" for SITE_AMBIGUOUS, "missing" for SCOPE_NOT_GRANTED.
	Metadata map[string]string
	// Field is the request's field that INVALID_REQUEST is about.
	Field string
	// cause is for the log only.
	cause error
}

func (e *Error) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Reason, e.Message, e.cause)
	}
	return fmt.Sprintf("%s: %s", e.Reason, e.Message)
}

// Unwrap returns the cause, which is for logs and errors.Is only.
func (e *Error) Unwrap() error { return e.cause }

// ReasonOf returns the reason of err: ReasonInternal for an error that is no *Error.
func ReasonOf(err error) Reason {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Reason
	}
	return ReasonInternal
}

func invalid(field, format string, args ...any) *Error {
	return &Error{Reason: ReasonInvalidRequest, Field: field, Message: fmt.Sprintf(format, args...)}
}

func internal(doing string, err error) *Error {
	return &Error{Reason: ReasonInternal, Message: "internal error", cause: fmt.Errorf("%s: %w", doing, err)}
}
