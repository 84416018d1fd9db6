package rpc

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/identity"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// watching is what a client asks that watches all there is to ask for.
func watching() *holdfastv1.WatchAccessTokenRequest {
	return &holdfastv1.WatchAccessTokenRequest{Token: &holdfastv1.GetAccessTokenRequest{
		Grant: byAddress(), Site: "c-1", RequiredScopes: []string{"a", "b"}, IfNotGeneration: 6, Purpose: "sync",
	}}
}

func TestAWatchCarriesEveryFieldBothWays(t *testing.T) {
	r := newRig(t)
	r.broker.results = []broker.TokenResult{
		{Answer: r.broker.answer()},
		{Err: &broker.Error{Reason: broker.ReasonConsentRequired, Message: "send a person", Metadata: map[string]string{"link": "https://x", "why": "REFUSED"}}},
	}
	stream, err := holdfastv1.NewTokenServiceClient(r.dial(mapped)).WatchAccessToken(t.Context(), watching())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []*holdfastv1.WatchAccessTokenResponse{
		{Event: &holdfastv1.WatchAccessTokenResponse_Token{Token: wireToken("access-token")}},
		{Event: &holdfastv1.WatchAccessTokenResponse_Unavailable{Unavailable: &holdfastv1.BatchError{
			Reason: holdfastv1.ErrorReason_ERROR_REASON_CONSENT_REQUIRED, Message: "send a person", Metadata: map[string]string{"link": "https://x", "why": "REFUSED"},
		}}},
	} {
		got, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if u := got.GetUnavailable(); u != nil {
			if u.Metadata["request_id"] == "" {
				t.Error("no request id")
			}
			delete(u.Metadata, "request_id")
		}
		if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
			t.Error(diff)
		}
	}
	want := []any{broker.TokenRequest{Address: acme, Site: "c-1", RequiredScopes: []string{"a", "b"}, IfNotGeneration: 6, Purpose: "sync"}}
	if _, _, asked := r.broker.last(); cmp.Diff(want, asked) != "" {
		t.Error(cmp.Diff(want, asked))
	}
}

// open watches and takes the first message.
func open(t *testing.T, conn *grpc.ClientConn) (grpc.ServerStreamingClient[holdfastv1.WatchAccessTokenResponse], error) {
	t.Helper()
	stream, err := holdfastv1.NewTokenServiceClient(conn).WatchAccessToken(t.Context(), watching())
	if err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	return stream, err
}

func TestAServerThatStopsTellsWatchersWhenToComeAgain(t *testing.T) {
	r := newRig(t)
	stream, err := open(t, r.dial(mapped))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := r.server.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	_, err = stream.Recv()
	info, retry, _ := details(err)
	if d := retry.GetRetryDelay().AsDuration(); status.Code(err) != codes.Unavailable || info.GetReason() != "STREAM_ENDED" || d < time.Second || d > 5*time.Second {
		t.Errorf("it ended with %v, %v", err, d)
	}
	if refused := r.broker.refusals(); len(refused) != 0 {
		t.Errorf("an end in good order is on record as %v", refused)
	}
	if got, observed := counts(t, r.reg, "holdfast.v1.TokenService/WatchAccessToken"); got["STREAM_ENDED"] != 1 || observed != 0 {
		t.Errorf("counted %v, observed %d", got, observed)
	}
}

func TestAWatchEndsWithWhatVouchedForItsCaller(t *testing.T) {
	r := newRig(t)
	stream, err := open(t, r.dial(mapped))
	if err != nil {
		t.Fatal(err)
	}
	r.config.Trust.SetRoots(newAuthority(t).pool)
	if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("it ended with %v", err)
	}
	if diff := cmp.Diff([]string{mapped + " x509 WatchAccessToken CALLER_UNAUTHENTICATED "}, r.broker.refusals()); diff != "" {
		t.Error(diff)
	}
}

func TestEachCallerAndAllTogetherHaveSoManyWatches(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Limits.Watches, c.Limits.WatchesPerCaller = 3, 2 })
	r.broker.allowAll = true
	one, other := r.dial(mapped), r.dial("other")
	refused := func(conn *grpc.ClientConn, limit string) {
		t.Helper()
		_, err := open(t, conn)
		info, retry, _ := details(err)
		if status.Code(err) != codes.ResourceExhausted || info.GetMetadata()["limit"] != limit || retry == nil || !strings.Contains(err.Error(), "limits."+limit) {
			t.Errorf("beyond %s: %v", limit, err)
		}
	}
	for _, conn := range []*grpc.ClientConn{one, one, other} {
		if _, err := open(t, conn); err != nil {
			t.Fatal(err)
		}
	}
	refused(one, "watches_per_caller")
	refused(other, "watches")
	if diff := cmp.Diff([]string{mapped + " x509 WatchAccessToken CALLER_RATE_LIMITED watches_per_caller",
		identity.UnmappedPrefix + "other x509 WatchAccessToken CALLER_RATE_LIMITED watches"}, r.broker.refusals()); diff != "" {
		t.Error(diff)
	}
	if n := gauge(t, r.reg, "holdfast_rpc_watches"); n != 3 {
		t.Errorf("%v are counted as open", n)
	}
}

// gauge is the value of one without labels.
func gauge(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no %s", name)
	return 0
}

func TestAWatchThatIsInvalidIsRefusedAndRecorded(t *testing.T) {
	r := newRig(t)
	for field, req := range map[string]*holdfastv1.WatchAccessTokenRequest{
		"token":         {},
		"token.grant":   {Token: &holdfastv1.GetAccessTokenRequest{}},
		"token.purpose": {Token: &holdfastv1.GetAccessTokenRequest{Grant: byAddress(), Purpose: "A B"}},
		"token ":        {Token: hotRequest()}, // with a min_ttl
	} {
		stream, err := holdfastv1.NewTokenServiceClient(r.dial(mapped)).WatchAccessToken(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		_, _, bad := details(err)
		if v := bad.GetFieldViolations(); status.Code(err) != codes.InvalidArgument || len(v) != 1 || v[0].GetField() != strings.TrimSpace(field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if diff := cmp.Diff([]string{mapped + " x509 WatchAccessToken INVALID_REQUEST "}, r.broker.refusals()); diff != "" {
		t.Error(diff)
	}
	if n, _, _ := r.broker.last(); n != 0 {
		t.Error("the broker was asked")
	}
}
