package rpc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/broker"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// reasonTable is the contract's table, written a second time on purpose.
var reasonTable = []struct {
	reason broker.Reason
	code   codes.Code
	retry  bool
}{
	{"GRANT_NOT_FOUND", codes.NotFound, false},
	{"CALLER_UNAUTHENTICATED", codes.Unauthenticated, false},
	{"CALLER_NOT_ALLOWED", codes.PermissionDenied, false},
	{"CONSENT_REQUIRED", codes.FailedPrecondition, false},
	{"SITE_NOT_GRANTED", codes.FailedPrecondition, false},
	{"SITE_AMBIGUOUS", codes.FailedPrecondition, false},
	{"SCOPE_NOT_GRANTED", codes.FailedPrecondition, false},
	{"GRANT_REVOKED", codes.FailedPrecondition, false},
	{"GRANT_QUARANTINED", codes.FailedPrecondition, false},
	{"APP_PAUSED", codes.FailedPrecondition, false},
	{"PROVIDER_UNAVAILABLE", codes.Unavailable, true},
	{"REFRESH_IN_PROGRESS", codes.Unavailable, true},
	{"STORE_UNAVAILABLE", codes.Unavailable, true},
	{"KEY_UNAVAILABLE", codes.Unavailable, true},
	{"AUDIT_UNAVAILABLE", codes.Unavailable, true},
	{"PROVIDER_RATE_LIMITED", codes.ResourceExhausted, true},
	{"CALLER_RATE_LIMITED", codes.ResourceExhausted, true},
	{"STREAM_ENDED", codes.Unavailable, true},
	{"INVALID_REQUEST", codes.InvalidArgument, false},
	{"INTERNAL", codes.Internal, false},
}

func details(err error) (info *errdetails.ErrorInfo, retry *errdetails.RetryInfo, bad *errdetails.BadRequest) {
	for _, d := range status.Convert(err).Details() {
		switch d := d.(type) {
		case *errdetails.ErrorInfo:
			info = d
		case *errdetails.RetryInfo:
			retry = d
		case *errdetails.BadRequest:
			bad = d
		}
	}
	return info, retry, bad
}

func TestEveryReasonHasItsCodeAndDetails(t *testing.T) {
	r := newRig(t)
	client := holdfastv1.NewTokenServiceClient(r.dial(mapped))
	if len(reasonTable) != len(codeOf) || len(reasonTable) != len(holdfastv1.ErrorReason_value)-1 {
		t.Errorf("%d reasons in the test, %d in the mapping, %d in the contract",
			len(reasonTable), len(codeOf), len(holdfastv1.ErrorReason_value)-1)
	}
	for _, row := range reasonTable {
		t.Run(string(row.reason), func(t *testing.T) {
			if holdfastv1.ErrorReason_value["ERROR_REASON_"+string(row.reason)] == 0 {
				t.Error("the contract does not know the reason")
			}
			r.broker.hook = func(context.Context) error {
				return fmt.Errorf("wrapped: %w", &broker.Error{
					Reason: row.reason, Message: "do this next", RetryAfter: 7 * time.Second,
					Metadata: map[string]string{"why": "REFUSED", "link": ""}, Field: "min_ttl",
				})
			}
			ctx := metadata.AppendToOutgoingContext(t.Context(), "x-request-id", "req-1")
			_, err := client.GetAccessToken(ctx, hotRequest())
			s := status.Convert(err)
			if s.Code() != row.code {
				t.Errorf("code %v, want %v", s.Code(), row.code)
			}
			wantMessage, wantMetadata := "do this next", map[string]string{"why": "REFUSED", "request_id": "req-1"}
			if row.reason == broker.ReasonInternal {
				wantMessage = "internal error; report request id req-1 to the operators of the broker"
				delete(wantMetadata, "why")
			}
			if s.Message() != wantMessage {
				t.Errorf("message %q, want %q", s.Message(), wantMessage)
			}
			info, retry, bad := details(err)
			if info.GetDomain() != "holdfast" || info.GetReason() != string(row.reason) {
				t.Errorf("ErrorInfo is %v", info)
			}
			if diff := cmp.Diff(wantMetadata, info.GetMetadata()); diff != "" {
				t.Errorf("metadata: %s", diff)
			}
			if (retry != nil) != row.retry || row.retry && retry.GetRetryDelay().AsDuration() != 7*time.Second {
				t.Errorf("RetryInfo is %v, want one: %v", retry, row.retry)
			}
			if (bad != nil) != (row.reason == broker.ReasonInvalidRequest) || bad != nil &&
				(bad.GetFieldViolations()[0].GetField() != "min_ttl" || bad.GetFieldViolations()[0].GetDescription() != "do this next") {
				t.Errorf("BadRequest is %v", bad)
			}
		})
	}
}

func TestRetryableReasonWithoutDelayGetsOne(t *testing.T) {
	_, retry, _ := details(refuse(&broker.Error{Reason: broker.ReasonStoreUnavailable}, "id").err())
	if got := retry.GetRetryDelay().AsDuration(); got != defaultRetry {
		t.Errorf("retry after %v, want %v", got, defaultRetry)
	}
}

func TestForeignErrorsTellTheClientNothing(t *testing.T) {
	const canary = "canary-badger-path"
	for _, row := range []struct {
		name string
		err  error
	}{
		{"a plain error", errors.New(canary)},
		{"a gRPC status of somebody else", status.Error(codes.NotFound, canary)},
		{"an unknown reason", &broker.Error{Reason: "SOMETHING_NEW", Message: canary}},
		{"an internal error with a message", &broker.Error{Reason: broker.ReasonInternal, Message: canary}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t)
			r.broker.hook = func(context.Context) error { return row.err }
			_, err := holdfastv1.NewTokenServiceClient(r.dial(mapped)).GetAccessToken(t.Context(), hotRequest())
			s := status.Convert(err)
			if s.Code() != codes.Internal || strings.Contains(s.Proto().String(), canary) {
				t.Errorf("the client got %v", s.Proto())
			}
			info, _, _ := details(err)
			id := info.GetMetadata()["request_id"]
			if id == "" || !strings.Contains(s.Message(), id) {
				t.Errorf("message %q does not name request id %q", s.Message(), id)
			}
			if log := r.log.String(); strings.Count(log, canary) != 1 || !strings.Contains(log, id) {
				t.Errorf("the log should have the cause once, with the request id:\n%s", log)
			}
		})
	}
}

func TestAPanicReachesTheLogAndItsValueNothing(t *testing.T) {
	const canary = "canary-panic-value"
	r := newRig(t)
	r.broker.hook = func(context.Context) error { panic(canary) }
	client := holdfastv1.NewTokenServiceClient(r.dial(mapped))
	_, err := client.GetAccessToken(t.Context(), hotRequest())
	s := status.Convert(err)
	if s.Code() != codes.Internal || strings.Contains(s.Proto().String(), canary) {
		t.Errorf("the client got %v", s.Proto())
	}
	log := r.log.String()
	if strings.Contains(log, canary) || strings.Count(log, "a panic of type string") != 1 || !strings.Contains(log, "fakebroker_test.go") {
		t.Errorf("the log should have the panic once, with its stack and without its value:\n%s", log)
	}
	r.broker.hook = nil
	if _, err := client.GetAccessToken(t.Context(), hotRequest()); err != nil {
		t.Errorf("the connection does not serve after a panic: %v", err)
	}
}

func TestBatchMembersCarryTheirOwnRefusals(t *testing.T) {
	r := newRig(t)
	r.broker.results = []broker.TokenResult{
		{Answer: r.broker.answer()},
		{Err: &broker.Error{
			Reason: broker.ReasonRefreshInProgress, Message: "wait", RetryAfter: time.Second, Metadata: map[string]string{"k": "v"},
		}},
		{Err: &broker.Error{Reason: broker.ReasonInvalidRequest, Message: "too long", Field: "min_ttl"}},
		{Err: errors.New("canary-cause")},
		{},
	}
	req := &holdfastv1.BatchGetAccessTokensRequest{}
	for range r.broker.results {
		req.Requests = append(req.Requests, hotRequest())
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-request-id", "req-1")
	client := holdfastv1.NewTokenServiceClient(r.dial(mapped))
	resp, err := client.BatchGetAccessTokens(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	if got := resp.GetResults()[0].GetToken().GetAccessToken(); got != "access-token" {
		t.Errorf("the first token is %q", got)
	}
	type row struct {
		Reason, Message, Field, K, ID string
		Retry                         time.Duration
	}
	sentence := "internal error; report request id req-1 to the operators of the broker"
	want := []row{
		{"ERROR_REASON_REFRESH_IN_PROGRESS", "wait", "", "v", "req-1", time.Second},
		{"ERROR_REASON_INVALID_REQUEST", "too long", "min_ttl", "", "req-1", 0},
		{"ERROR_REASON_INTERNAL", sentence, "", "", "req-1", 0},
		{"ERROR_REASON_INTERNAL", sentence, "", "", "req-1", 0},
	}
	var got []row
	for _, one := range resp.GetResults()[1:] {
		e := one.GetError()
		got = append(got, row{e.GetReason().String(), e.GetMessage(), e.GetField(), e.GetMetadata()["k"],
			e.GetMetadata()["request_id"], e.GetRetryAfter().AsDuration()})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := strings.Count(r.log.String(), "canary-cause"); n != 1 {
		t.Errorf("the log has the cause %d times, want once", n)
	}
	r.broker.results = r.broker.results[:2]
	if _, err := client.BatchGetAccessTokens(ctx, req); status.Code(err) != codes.Internal {
		t.Errorf("a batch with too few results gave %v", err)
	}
}
