package holdfast

import (
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func TestErrorsCarryWhatAProgramNeeds(t *testing.T) {
	field, err := status.New(codes.InvalidArgument, "m").WithDetails(
		&errdetails.ErrorInfo{Domain: errorDomain, Reason: "INVALID_REQUEST"},
		&errdetails.BadRequest{FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: "purpose"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		err       error
		want      Error
		temporary bool
	}{
		{refusal(t, codes.FailedPrecondition, ConsentRequired, 0, map[string]string{"why": "REFUSED", "link": "https://h/c", "request_id": "r1"}),
			Error{Reason: ConsentRequired, Code: codes.FailedPrecondition, Message: "what to do", Why: "REFUSED", Link: "https://h/c", RequestID: "r1"}, false},
		{refusal(t, codes.FailedPrecondition, ScopeNotGranted, 0, map[string]string{"missing": "a:b c:d"}),
			Error{Reason: ScopeNotGranted, Code: codes.FailedPrecondition, Message: "what to do", Missing: []string{"a:b", "c:d"}}, false},
		{refusal(t, codes.FailedPrecondition, SiteAmbiguous, 0, map[string]string{"sites": "1 a, 2 b"}),
			Error{Reason: SiteAmbiguous, Code: codes.FailedPrecondition, Message: "what to do", Sites: "1 a, 2 b"}, false},
		{refusal(t, codes.Unavailable, AuditUnavailable, time.Second, nil),
			Error{Reason: AuditUnavailable, Code: codes.Unavailable, Message: "what to do", RetryAfter: time.Second}, true},
		{refusal(t, codes.ResourceExhausted, "SOMETHING_NEW", time.Second, nil),
			Error{Reason: "SOMETHING_NEW", Code: codes.ResourceExhausted, Message: "what to do", RetryAfter: time.Second}, true},
		{field.Err(), Error{Reason: InvalidRequest, Code: codes.InvalidArgument, Message: "m", Field: "purpose"}, false},
		{status.Error(codes.Unavailable, "no route"), Error{Reason: Unreachable, Code: codes.Unavailable, Message: "no route"}, true},
		{status.Error(codes.Unimplemented, "m"), Error{Reason: Unreachable, Code: codes.Unimplemented, Message: "m"}, true},
	} {
		got := fromStatus(c.err)
		if diff := cmp.Diff(&c.want, got, cmpopts.IgnoreUnexported(Error{}), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%v (-want +got):\n%s", c.err, diff)
		}
		if got.Temporary() != c.temporary {
			t.Errorf("%v: Temporary() = %v", got, got.Temporary())
		}
		if !errors.Is(got, c.err) {
			t.Errorf("%v does not wrap the status", got)
		}
	}
}

func TestEveryReasonOfTheContractIsKnown(t *testing.T) {
	known := map[Reason]bool{}
	for _, r := range []Reason{
		GrantNotFound, CallerUnauthenticated, CallerNotAllowed, ConsentRequired, SiteNotGranted, SiteAmbiguous, ScopeNotGranted,
		GrantRevoked, GrantQuarantined, AppPaused, ProviderUnavailable, RefreshInProgress, StoreUnavailable, KeyUnavailable,
		AuditUnavailable, ProviderRateLimited, CallerRateLimited, InvalidRequest, Internal, StreamEnded,
	} {
		known[r] = true
	}
	for number, name := range holdfastv1.ErrorReason_name {
		if r := Reason(strings.TrimPrefix(name, "ERROR_REASON_")); number != 0 && !known[r] {
			t.Errorf("the contract's %s has no constant", r)
		}
	}
}

func TestGrants(t *testing.T) {
	for _, good := range []string{"a/b/c", "a/b/c/d", "acme/x@y.z/jira", "grt_abcdefghijklmnopqrstuvwxyz"} {
		if _, err := selector(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "a/b", "a//c", "a/b/c/d/e", "a/b/c d", "grt_short", strings.Repeat("a", 129) + "/b/c"} {
		_, err := selector(bad)
		if e, ok := errors.AsType[*Error](err); !ok || e.Reason != InvalidRequest || e.Field != "grant" || e.Temporary() {
			t.Errorf("%q: got %v, want INVALID_REQUEST", bad, err)
		}
	}
}
