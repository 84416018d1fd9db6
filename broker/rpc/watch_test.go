package rpc

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/holdfast-io/holdfast/broker"
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
