package atlassiansim

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// FaultKind says what a fault does to a request.
type FaultKind string

// The faults. Unless KeepToken is set, or the kind says otherwise, the request
// is processed first (the token is spent, the successor made) and then the answer is spoilt.
const (
	// FaultDropBeforeAnswer closes the connection without a byte of an answer.
	FaultDropBeforeAnswer FaultKind = "drop_before_answer"
	// FaultDropAfterHeaders closes it after status line and headers.
	FaultDropAfterHeaders FaultKind = "drop_after_headers"
	// FaultDropMidBody closes it after half of the body.
	FaultDropMidBody FaultKind = "drop_mid_body"
	// FaultDelayAnswer processes at once and answers after DelayMillis.
	FaultDelayAnswer FaultKind = "delay_answer"
	// FaultDelayRequest processes only after DelayMillis, even if the client has
	// gone by then.
	FaultDelayRequest FaultKind = "delay_request"
	// FaultHang never answers: it waits DelayMillis (0: 15 minutes) or until the
	// client gives up, then closes the connection.
	FaultHang FaultKind = "hang"
	// FaultGzipUnlabelled sends a gzip body without Content-Encoding.
	FaultGzipUnlabelled FaultKind = "gzip_unlabelled"
	// FaultGzipMislabelled sends a plain body that is labelled as gzip.
	FaultGzipMislabelled FaultKind = "gzip_mislabelled"
	// FaultTruncatedJSON sends half of the body as if it were all.
	FaultTruncatedJSON FaultKind = "truncated_json"
	// FaultHTML answers an HTML page with Status (0: 200).
	FaultHTML FaultKind = "html"
	// FaultStatus answers Status (0: 503) with a short text body.
	FaultStatus FaultKind = "status"
	// FaultRefuse answers the 403 for a dead token; nothing is processed.
	FaultRefuse FaultKind = "refuse"
	// FaultOAuthError answers Status (0: 400) with Error and ErrorDescription;
	// nothing is processed.
	FaultOAuthError FaultKind = "oauth_error"
	// FaultRateLimit answers 429, with Retry-After by RetryAfterSeconds and
	// RetryAfterForm; nothing is processed.
	FaultRateLimit FaultKind = "rate_limit"
	// FaultNoRefreshToken answers 200 without refresh_token: the old one stays good.
	FaultNoRefreshToken FaultKind = "no_refresh_token"
	// FaultSameRefreshToken returns the refresh token that was sent: it stays good.
	FaultSameRefreshToken FaultKind = "same_refresh_token"
	// FaultTokenBytes makes the new tokens TokenBytes long.
	FaultTokenBytes FaultKind = "token_bytes"
	// FaultExpiresIn changes expires_in as ExpiresIn says.
	FaultExpiresIn FaultKind = "expires_in"
	// FaultUnknownAtFirst makes the new tokens unknown for UnknownMillis of the
	// simulator's clock: the refresh token is refused and ends nothing, the access
	// token answers 401.
	FaultUnknownAtFirst FaultKind = "unknown_at_first"
)

// The endpoints that a fault can be for.
const (
	EndpointToken     = "token"
	EndpointRevoke    = "revoke"
	EndpointResources = "resources"
	EndpointMe        = "me"
	EndpointAPI       = "api"
)

// Fault is one scripted misbehaviour. Of the armed faults the first one that
// matches a request applies to it, alone. An empty matching field matches all.
type Fault struct {
	// ID is given when the fault is armed.
	ID   string    `json:"id,omitempty"`
	Kind FaultKind `json:"kind"`

	// Endpoint "token" (the zero value too), "revoke", "resources", "me" or
	// "api" (the Jira and Confluence stubs). The kinds about tokens' contents are for "token" only.
	Endpoint string `json:"endpoint,omitempty"`
	// GrantType of the token request: "refresh_token", "authorization_code", "client_credentials".
	GrantType string `json:"grant_type,omitempty"`
	ClientID  string `json:"client_id,omitempty"`
	AccountID string `json:"account_id,omitempty"`
	// Family and Token are the ledger's ids, of the family and of the refresh token sent.
	Family string `json:"family,omitempty"`
	Token  string `json:"token,omitempty"`
	// FamilyPercent of the families are matched, 1 to 99, chosen by the
	// configured seed and the fault's id; 0 and 100: all, and requests of no family too.
	FamilyPercent int `json:"family_percent,omitempty"`
	// AfterSeconds of the simulator's clock after arming the fault begins, and
	// ForSeconds later (0: never) it disarms itself.
	AfterSeconds int `json:"after_seconds,omitempty"`
	ForSeconds   int `json:"for_seconds,omitempty"`
	// Percent of the matching requests that are hit, 1 to 99, by the
	// configured seed; 0 and 100: each one.
	Percent int `json:"percent,omitempty"`
	// RateSlope makes a brown-out: of the matching requests so many percent are
	// hit for each request per second above RateOver, up to Percent. The rate is that
	// of the matching requests, hit or not, in the last second of the simulator's clock
	// (by tenths); those that an earlier fault took do not count. 0: no brown-out.
	RateSlope float64 `json:"rate_slope,omitempty"`
	RateOver  int     `json:"rate_over,omitempty"`
	// PerFamily is how often one family is hit at most; 0: no limit. Requests
	// of no family count as one family.
	PerFamily int `json:"per_family,omitempty"`
	// Skip lets so many matching requests pass first.
	Skip int `json:"skip,omitempty"`
	// Count of requests that are hit before the fault disarms itself; 0: no end.
	Count int `json:"count,omitempty"`

	// KeepToken: the request is not processed, no token is spent. For the
	// kinds drop_before_answer, hang, html and status.
	KeepToken bool `json:"keep_token,omitempty"`
	// DelayMillis before the answer, of any kind but delay_request (before
	// processing); up to 15 minutes. It runs by the real clock.
	DelayMillis int `json:"delay_ms,omitempty"`
	// Status of html, status and oauth_error.
	Status int `json:"status,omitempty"`
	// Error and ErrorDescription of oauth_error.
	Error            string `json:"error,omitempty"`
	ErrorDescription string `json:"error_description,omitempty"`
	// RetryAfterSeconds of rate_limit.
	RetryAfterSeconds int `json:"retry_after_seconds,omitempty"`
	// RetryAfterForm of rate_limit: "seconds" (the zero value too), "date" or "none".
	RetryAfterForm string `json:"retry_after_form,omitempty"`
	// TokenBytes of token_bytes, 256 to 65536.
	TokenBytes int `json:"token_bytes,omitempty"`
	// ExpiresIn of expires_in: "missing", "string" (the true value in quotes),
	// "negative" (-1), or a number of seconds, which the token then really lives.
	ExpiresIn string `json:"expires_in,omitempty"`
	// UnknownMillis of unknown_at_first, 1 to 15 minutes.
	UnknownMillis int `json:"unknown_ms,omitempty"`
	// Fired counts the requests hit so far; ignored when arming.
	Fired int `json:"fired"`
}

const maxDelay = 15 * time.Minute

var (
	// tokenKinds change what a token answer says.
	tokenKinds = []FaultKind{FaultNoRefreshToken, FaultSameRefreshToken, FaultTokenBytes, FaultExpiresIn, FaultUnknownAtFirst}
	kinds      = append([]FaultKind{
		FaultDropBeforeAnswer, FaultDropAfterHeaders, FaultDropMidBody, FaultDelayAnswer, FaultDelayRequest,
		FaultHang, FaultGzipUnlabelled, FaultGzipMislabelled, FaultTruncatedJSON, FaultHTML, FaultStatus,
		FaultRefuse, FaultOAuthError, FaultRateLimit,
	}, tokenKinds...)
)

// validate reports all problems.
func (f Fault) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !slices.Contains(kinds, f.Kind) {
		bad("kind %q: want one of %q", f.Kind, kinds)
	}
	if !slices.Contains([]string{"", EndpointToken, EndpointRevoke, EndpointResources, EndpointMe, EndpointAPI}, f.Endpoint) {
		bad("endpoint %q is unknown", f.Endpoint)
	}
	if f.endpoint() != EndpointToken && slices.Contains(tokenKinds, f.Kind) {
		bad("kind %q is for the token endpoint only", f.Kind)
	}
	errs = append(errs, f.matchProblems()...)
	if d := time.Duration(f.DelayMillis) * time.Millisecond; d < 0 || d > maxDelay {
		bad("delay_ms %d: want 0 to %d", f.DelayMillis, maxDelay.Milliseconds())
	}
	if f.DelayMillis == 0 && (f.Kind == FaultDelayAnswer || f.Kind == FaultDelayRequest) {
		bad("delay_ms: kind %q needs it", f.Kind)
	}
	if f.Status != 0 && (f.Status < 200 || f.Status > 599) {
		bad("status %d: want 200 to 599", f.Status)
	}
	if f.KeepToken && !slices.Contains([]FaultKind{FaultDropBeforeAnswer, FaultHang, FaultHTML, FaultStatus}, f.Kind) {
		bad("keep_token: not for kind %q", f.Kind)
	}
	errs = append(errs, f.parameterProblems()...)
	return errors.Join(errs...)
}

// matchProblems are those of what the fault hits.
func (f Fault) matchProblems() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if f.Percent < 0 || f.Percent > 100 || f.FamilyPercent < 0 || f.FamilyPercent > 100 {
		bad("percent %d, family_percent %d: want 0 to 100", f.Percent, f.FamilyPercent)
	}
	if f.Skip < 0 || f.Count < 0 || f.PerFamily < 0 || f.AfterSeconds < 0 || f.ForSeconds < 0 {
		bad("skip, count, per_family, after_seconds and for_seconds: want no negative number")
	}
	if f.RateSlope < 0 || f.RateOver < 0 || f.RateOver > 0 && f.RateSlope == 0 {
		bad("rate_over %d, rate_slope %v: want no negative number, and a slope if there is a rate", f.RateOver, f.RateSlope)
	}
	return errs
}

func (f Fault) parameterProblems() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if f.Kind == FaultOAuthError && f.Error == "" {
		bad("error: kind %q needs it", f.Kind)
	}
	if f.RetryAfterSeconds < 0 || !slices.Contains([]string{"", "seconds", "date", "none"}, f.RetryAfterForm) {
		bad("retry_after_seconds %d, retry_after_form %q: want no negative number, and seconds, date or none", f.RetryAfterSeconds, f.RetryAfterForm)
	}
	if f.Kind == FaultTokenBytes && (f.TokenBytes < minTokenBytes || f.TokenBytes > maxTokenBytes) {
		bad("token_bytes %d: want %d to %d", f.TokenBytes, minTokenBytes, maxTokenBytes)
	}
	if n := int(maxDelay.Milliseconds()); f.Kind == FaultUnknownAtFirst && (f.UnknownMillis < 1 || f.UnknownMillis > n) {
		bad("unknown_ms %d: want 1 to %d", f.UnknownMillis, n)
	}
	if n, err := strconv.Atoi(f.ExpiresIn); f.Kind == FaultExpiresIn && (err != nil || n < 0) &&
		!slices.Contains([]string{"missing", "string", "negative"}, f.ExpiresIn) {
		bad("expires_in %q: want missing, string, negative or a number of seconds", f.ExpiresIn)
	}
	return errs
}

func (f Fault) endpoint() string {
	if f.Endpoint == "" {
		return EndpointToken
	}
	return f.Endpoint
}

// processes reports whether a request with this fault is processed at all.
func (f *Fault) processes() bool {
	switch f.kind() {
	case FaultRefuse, FaultOAuthError, FaultRateLimit:
		return false
	default:
		return f == nil || !f.KeepToken
	}
}

// delivers reports whether the client gets to know what the provider decided.
func (f *Fault) delivers() bool {
	switch f.kind() {
	case FaultDropBeforeAnswer, FaultDropAfterHeaders, FaultDropMidBody, FaultHang, FaultGzipUnlabelled,
		FaultGzipMislabelled, FaultTruncatedJSON, FaultHTML, FaultStatus:
		return false
	default:
		return true
	}
}

// kind of f; "" for no fault.
func (f *Fault) kind() FaultKind {
	if f == nil {
		return ""
	}
	return f.Kind
}
