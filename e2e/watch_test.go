package e2e

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/e2e/rig"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// TestAWatchFollowsItsGrant over a rotation that nobody asked for, a revocation, a
// new consent and the end of the broker.
func TestAWatchFollowsItsGrant(t *testing.T) {
	t.Parallel()
	where := rig.FreeAddresses(t)
	sim := rig.StartSim(t, where, jira)
	d := rig.Deploy(t, rig.Setup{Where: where, Apps: []rig.App{jira}, Build: rig.Build{Plain: true},
		Provider: sim.Provider("http_timeout: 3s\nlease: 8s\nclock_margin: 1s\n", "access_grace: 4s\n")})
	sim.Behave(t, map[string]any{"access_ttl_seconds": 8, "access_grace_seconds": 4})
	server := d.Serve(t)
	d.Consent(t, jira, subject, atlassiansim.DefaultAccounts()[0].ID)

	stream, err := d.Tokens.WatchAccessToken(t.Context(), &holdfastv1.WatchAccessTokenRequest{
		Token: &holdfastv1.GetAccessTokenRequest{Grant: jira.Grant(subject), Purpose: "watching"},
	})
	if err != nil {
		t.Fatal(err)
	}
	first := receive(t, stream).GetToken()
	renewed := receive(t, stream).GetToken()
	if first.GetGeneration() != 1 || renewed.GetGeneration() != 2 || !renewed.GetServerTime().AsTime().Before(first.GetExpiresAt().AsTime()) {
		t.Errorf("first came %v, which ended at %v, then %v at %v", first.GetGeneration(), first.GetExpiresAt().AsTime(), renewed.GetGeneration(), renewed.GetServerTime().AsTime())
	}
	if !sim.Accepts(t, renewed.GetAccessToken()) {
		t.Error("the provider does not accept the renewed token")
	}
	if _, err := d.Admin.RevokeGrant(t.Context(), &holdfastv1.RevokeGrantRequest{Grant: jira.Grant(subject), Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, stream).GetUnavailable(); got.GetReason() != holdfastv1.ErrorReason_ERROR_REASON_GRANT_REVOKED || got.GetRetryAfter() != nil {
		t.Errorf("after the revocation came %v", got)
	}
	if _, err := d.Admin.StartReauth(t.Context(), &holdfastv1.StartReauthRequest{Grant: jira.Grant(subject)}); err != nil {
		t.Fatal(err)
	}
	d.Consent(t, jira, subject, atlassiansim.DefaultAccounts()[0].ID)
	if got := receive(t, stream).GetToken(); got.GetGeneration() < 3 || !sim.Accepts(t, got.GetAccessToken()) {
		t.Errorf("after the new consent came generation %d", got.GetGeneration())
	}
	server.Stop(t)
	for err == nil {
		_, err = stream.Recv() // a renewal may have been on its way
	}
	if status.Code(err) != codes.Unavailable || rig.Reason(err) != "STREAM_ENDED" {
		t.Errorf("at the broker's end it ended with %v", err)
	}
}

func receive(t *testing.T, stream grpc.ServerStreamingClient[holdfastv1.WatchAccessTokenResponse]) *holdfastv1.WatchAccessTokenResponse {
	t.Helper()
	m, err := stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return m
}
