package client

import (
	"fmt"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/internal/unreached"
)

// Exit codes of the program, as its help documents them.
const (
	ExitOK          = 0
	ExitInternal    = 1
	ExitUsage       = 2
	ExitRefused     = 3
	ExitUnavailable = 4
)

// reasonDomain is the domain of the ErrorInfo that a broker sends.
const reasonDomain = "holdfast"

// Failure is a failed call, taken apart.
type Failure struct {
	Code codes.Code
	// Reason of the contract; empty if the answer did not come from a broker.
	Reason  string
	Message string
	// Metadata of the reason: why, link, sites, missing, request_id.
	Metadata map[string]string
	// RetryAfter, if the broker named one, as a text such as "2s".
	RetryAfter string
	// Fields that were invalid, as "field: what was wrong".
	Fields []string
}

// Explain takes a call's error apart. ok is false if err is no gRPC status.
func Explain(err error) (f Failure, ok bool) {
	st, ok := status.FromError(err)
	if !ok || err == nil {
		return Failure{}, false
	}
	f = Failure{Code: st.Code(), Message: st.Message()}
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == reasonDomain {
				f.Reason, f.Metadata = d.GetReason(), d.GetMetadata()
			}
		case *errdetails.RetryInfo:
			f.RetryAfter = d.GetRetryDelay().AsDuration().String()
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				f.Fields = append(f.Fields, v.GetField()+": "+v.GetDescription())
			}
		}
	}
	return f, true
}

// ExitCode says which exit code tells a script what to do about f.
func (f Failure) ExitCode() int {
	switch f.Code {
	case codes.InvalidArgument:
		return ExitUsage
	case codes.NotFound, codes.PermissionDenied, codes.Unauthenticated, codes.FailedPrecondition:
		return ExitRefused
	case codes.Unavailable, codes.ResourceExhausted, codes.DeadlineExceeded:
		return ExitUnavailable
	default:
		return ExitInternal
	}
}

// String is the message for people, several lines: reason and message, then
// what belongs to it, then what to do next.
func (f Failure) String() string {
	var b strings.Builder
	b.WriteString(f.headline())
	add := func(label, value string) {
		if value != "" {
			fmt.Fprintf(&b, "\n  %-13s%s", label+":", value)
		}
	}
	for _, field := range f.Fields {
		name, what, _ := strings.Cut(field, ": ")
		if strings.Contains(f.Message, what) {
			field = name // the headline has said the rest
		}
		add("field", field)
	}
	for _, m := range []struct{ label, key string }{
		{"why", "why"}, {"sites", "sites"}, {"missing", "missing"}, {"open", "link"},
	} {
		add(m.label, f.Metadata[m.key])
	}
	add("retry after", f.RetryAfter)
	add("request id", f.Metadata["request_id"])
	add("next", f.next())
	return b.String()
}

func (f Failure) headline() string {
	if f.Reason != "" {
		return f.Reason + ": " + f.Message
	}
	switch f.Code {
	case codes.Unavailable:
		return "the broker cannot be reached: " + f.Message
	case codes.DeadlineExceeded:
		return "the broker did not answer in time"
	default:
		return f.Code.String() + ": " + f.Message
	}
}

// nextSteps by reason, and by code where the answer carried no reason.
var nextSteps = []struct {
	reasons []string
	code    codes.Code
	text    string
	// said stands in messages that say the same, so that nothing is left to add; empty: in none.
	said string
}{
	{reasons: []string{"GRANT_NOT_FOUND"}, text: "check the address with: holdfast grants list --mine; a consent's id is what consent start printed, and it is kept for a while only"},
	{reasons: []string{"CALLER_UNAUTHENTICATED"}, text: "check --cert and --key (expired, or not signed by the broker's client CA?), or --token-file (expired, or for another audience?)"},
	{reasons: []string{"CALLER_NOT_ALLOWED"}, text: "ask an operator to list this caller's name under callers in the broker's configuration", said: "ask an operator to list"},
	{reasons: []string{"CONSENT_REQUIRED"}, text: "send a person to the link, or make one with: holdfast consent start ADDRESS", said: "send a person to the link"},
	{reasons: []string{"SITE_NOT_GRANTED"}, text: "a new consent that includes it: holdfast grants reauth ADDRESS"},
	{reasons: []string{"SCOPE_NOT_GRANTED"}, text: "a new consent that includes it: holdfast consent start ADDRESS --scope SCOPE for each one; if the app is not configured for it, an operator adds it to apps[].scopes first"},
	{reasons: []string{"SITE_AMBIGUOUS"}, text: "name one of the sites by its cloud id: --site ID"},
	{reasons: []string{"GRANT_REVOKED"}, text: "only an operator opens it again: holdfast grants reauth ADDRESS", said: "holdfast grants reauth"},
	{reasons: []string{"GRANT_QUARANTINED"}, text: "holdfast status says what was found; holdfast grants adopt or scrub, then, end it for all, and a new consent for this one alone: holdfast grants reauth ADDRESS"},
	{reasons: []string{"APP_PAUSED"}, text: "an operator should look at: holdfast apps list; and, if the broker paused it itself, run: holdfast doctor --config FILE"},
	{reasons: []string{"KEY_UNAVAILABLE"}, text: "an operator should look at: holdfast status"},
	// Status is refused as well: it is an admin act, and none goes unrecorded.
	{reasons: []string{"AUDIT_UNAVAILABLE"}, text: "an operator finds what fails in the broker's log and at /readyz beside /metrics; every command is refused until the audit file can be written again"},
	{reasons: []string{"STORE_UNAVAILABLE"}, text: "try again later; if it lasts, an operator sees the cause in holdfast status, in the log, and at /readyz beside /metrics"},
	{reasons: []string{"PROVIDER_UNAVAILABLE", "REFRESH_IN_PROGRESS", "PROVIDER_RATE_LIMITED", "CALLER_RATE_LIMITED", "STREAM_ENDED"}, text: "try again later", said: "try again later"},
	{reasons: []string{"INVALID_REQUEST"}, text: "correct the request; --help shows the forms"},
	{reasons: []string{"INTERNAL"}, text: "report it with the request id; the broker's log has the cause"},
	{code: codes.Unavailable, text: "is the broker running at this address, is its certificate of --ca and for the name in --addr (or --server-name), and does it accept --cert? For a try-out start: holdfast dev"},
	{code: codes.DeadlineExceeded, text: "try again, or allow more time with --timeout"},
	{code: codes.Unimplemented, text: "the server at this address is no broker, or an older one"},
}

// next is what to do, unless the message has said it; empty: nothing more is known.
func (f Failure) next() string {
	if f.Reason == "" && unreached.Explained(f.Message) && f.Code != codes.DeadlineExceeded {
		return "" // of a deadline the headline shows nothing else
	}
	for _, step := range nextSteps {
		if f.Reason != "" && slices.Contains(step.reasons, f.Reason) || f.Reason == "" && len(step.reasons) == 0 && step.code == f.Code {
			if step.said != "" && strings.Contains(f.Message, step.said) {
				return ""
			}
			return step.text
		}
	}
	return ""
}
