package rpc

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/broker/policy"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/storage"
)

func wireAddress() *holdfastv1.GrantAddress {
	return &holdfastv1.GrantAddress{Tenant: "acme", Subject: "automation", Product: "jira", Name: "default"}
}

func wireSite() *holdfastv1.Site {
	return &holdfastv1.Site{CloudId: "c-1", Name: "Acme", Url: "https://acme.example", Scopes: []string{"read:jira-work"}}
}

func wireGrant() *holdfastv1.Grant {
	ts := func(n time.Duration) *timestamppb.Timestamp { return timestamppb.New(at.Add(n)) }
	return &holdfastv1.Grant{
		Id: acme.GrantID(), Address: wireAddress(), AppId: "jira-app", AccountId: "a-1",
		Phase: holdfastv1.GrantPhase_GRANT_PHASE_LAPSED, LapseReason: holdfastv1.LapseReason_LAPSE_REASON_LOST_IN_DOUBT,
		Generation: 7, Scopes: []string{"read:jira-work"}, Sites: []*holdfastv1.Site{wireSite()},
		CreatedAt: ts(1), ConsentedAt: ts(2), LastExchangeAt: ts(3), AccessExpiresAt: ts(4),
		InDoubt: true, AttemptRunning: true, NextAttemptAt: ts(5), IdleDeadline: ts(6), AbsoluteDeadline: ts(7),
		IdleDeadlineSource:     holdfastv1.DeadlineSource_DEADLINE_SOURCE_OBSERVED,
		AbsoluteDeadlineSource: holdfastv1.DeadlineSource_DEADLINE_SOURCE_DOCUMENTED, RelatedGrantIds: []string{"grt_other"},
	}
}

func wireApp() *holdfastv1.AppStatus {
	return &holdfastv1.AppStatus{
		Id: "jira-app", Products: []string{"jira"}, Paused: "secret refused", Shared: true, PausedByOperator: true,
		VerdictsHeld: true, RecentAttempts: 9, RecentRefusals: 8, CircuitOpen: true,
		Events: []*holdfastv1.AppEvent{{Type: holdfastv1.AppEventType_APP_EVENT_TYPE_VERDICTS_HELD, OccurredAt: timestamppb.New(at), Detail: "8 of 9"}},
	}
}

func wireToken(token string) *holdfastv1.GetAccessTokenResponse {
	ts := func(n time.Duration) *timestamppb.Timestamp { return timestamppb.New(at.Add(n)) }
	return &holdfastv1.GetAccessTokenResponse{
		AccessToken: token, ExpiresAt: ts(time.Hour), GuaranteedUntil: ts(10 * time.Minute), RefreshAfter: ts(50 * time.Minute),
		ServerTime: ts(0), Generation: 7, GrantId: acme.GrantID(), Scopes: []string{"read:jira-work", "offline_access"},
		Site: wireSite(), ApiBaseUrl: "https://api.example/ex/jira/c-1",
	}
}

// exchanges has one row for each way through each rpc: the request, what the
// broker is asked, and the answer to what fakeBroker answers.
func exchanges() []exchange {
	id := &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Id{Id: acme.GrantID()}}
	link := &holdfastv1.StartConsentResponse{
		ConsentId: "cns_1", Url: "https://broker.example/connect/x", ExpiresAt: timestamppb.New(at),
		Scopes: []string{"read:jira-work"}, Warning: "shared app",
	}
	token := &holdfastv1.GetAccessTokenRequest{
		Grant: byAddress(), Site: "c-1", RequiredScopes: []string{"a", "b"}, MinTtl: durationpb.New(90 * time.Second),
		IfNotGeneration: 6, Purpose: "sync",
	}
	asked := broker.TokenRequest{
		Address: acme, Site: "c-1", RequiredScopes: []string{"a", "b"}, MinTTL: 90 * time.Second, IfNotGeneration: 6, Purpose: "sync",
	}
	named := byAddress()
	named.GetAddress().Name = "second"
	second := acme
	second.Name = "second"
	return []exchange{
		{holdfastv1.TokenService_GetAccessToken_FullMethodName, token, []any{asked}, wireToken("access-token")},
		{holdfastv1.TokenService_GetAccessToken_FullMethodName, &holdfastv1.GetAccessTokenRequest{Grant: id},
			[]any{broker.TokenRequest{ID: acme.GrantID()}}, wireToken("access-token")},
		{holdfastv1.TokenService_GetAccessToken_FullMethodName, &holdfastv1.GetAccessTokenRequest{Grant: named},
			[]any{broker.TokenRequest{Address: second}}, wireToken("access-token")},
		{holdfastv1.TokenService_BatchGetAccessTokens_FullMethodName,
			&holdfastv1.BatchGetAccessTokensRequest{Requests: []*holdfastv1.GetAccessTokenRequest{token, {Grant: id}}},
			[]any{[]broker.TokenRequest{asked, {ID: acme.GrantID()}}},
			&holdfastv1.BatchGetAccessTokensResponse{Results: slices.Repeat([]*holdfastv1.BatchGetAccessTokensResult{
				{Outcome: &holdfastv1.BatchGetAccessTokensResult_Token{Token: wireToken("access-token")}},
			}, 2)}},
		{holdfastv1.TokenService_ReportRejectedToken_FullMethodName,
			&holdfastv1.ReportRejectedTokenRequest{Grant: id, Generation: 3, HttpStatus: 403},
			[]any{broker.RejectionReport{ID: acme.GrantID(), Generation: 3, HTTPStatus: 403}},
			&holdfastv1.ReportRejectedTokenResponse{Verdict: holdfastv1.TokenVerdict_TOKEN_VERDICT_GENERATION_STALE}},
		{holdfastv1.TokenService_ListMyGrants_FullMethodName, &holdfastv1.ListMyGrantsRequest{PageSize: 5, PageToken: "p"},
			[]any{5, "p"}, &holdfastv1.ListMyGrantsResponse{Grants: []*holdfastv1.Grant{wireGrant()}, NextPageToken: "next"}},
		{holdfastv1.ConsentService_StartConsent_FullMethodName,
			&holdfastv1.StartConsentRequest{Address: byAddress().GetAddress(), AppId: "jira-app", Scopes: []string{"a"}, ReturnUrl: "https://x.example/done"},
			[]any{broker.ConsentRequest{Address: acme, App: "jira-app", Scopes: []string{"a"}, ReturnURL: "https://x.example/done"}}, link},
		{holdfastv1.ConsentService_GetConsent_FullMethodName, &holdfastv1.GetConsentRequest{ConsentId: "cns_1"}, []any{"cns_1"},
			&holdfastv1.GetConsentResponse{Consent: &holdfastv1.Consent{
				Id: "cns_1", Address: wireAddress(), AppId: "jira-app", Status: holdfastv1.ConsentStatus_CONSENT_STATUS_DONE,
				Detail: "well", ExpiresAt: timestamppb.New(at), GrantId: acme.GrantID(),
			}}},
		{holdfastv1.AdminService_ListGrants_FullMethodName,
			&holdfastv1.ListGrantsRequest{Tenant: "acme", Product: "jira", Phase: holdfastv1.GrantPhase_GRANT_PHASE_QUARANTINED, PageSize: 9, PageToken: "p"},
			[]any{broker.GrantFilter{Tenant: "acme", Product: "jira", Phase: family.Quarantined, PageSize: 9, PageToken: "p"}},
			&holdfastv1.ListGrantsResponse{Grants: []*holdfastv1.Grant{wireGrant()}, NextPageToken: "next"}},
		{holdfastv1.AdminService_GetGrant_FullMethodName, &holdfastv1.GetGrantRequest{Grant: id}, []any{acme.GrantID(), storage.Address{}},
			&holdfastv1.GetGrantResponse{Grant: wireGrant(), Events: []*holdfastv1.GrantEvent{{
				Type: holdfastv1.GrantEventType_GRANT_EVENT_TYPE_IN_DOUBT, OccurredAt: timestamppb.New(at), Generation: 6, Fence: 9,
				AttemptId: "att", Detail: "http_502",
			}}}},
		{holdfastv1.AdminService_PurgeGrant_FullMethodName, &holdfastv1.PurgeGrantRequest{Grant: byAddress(), Reason: "left", DryRun: true},
			[]any{"", acme, "left", true}, &holdfastv1.PurgeGrantResponse{Grant: wireGrant(), Events: 3, Collected: true}},
		{holdfastv1.AdminService_RevokeGrant_FullMethodName, &holdfastv1.RevokeGrantRequest{Grant: byAddress(), DryRun: true},
			[]any{"", acme}, wireRevocation(holdfastv1.ProviderRevocation_PROVIDER_REVOCATION_NOT_ASKED)},
		{holdfastv1.AdminService_RevokeGrant_FullMethodName, &holdfastv1.RevokeGrantRequest{Grant: byAddress(), Reason: "leaked"},
			[]any{"", acme, "leaked"},
			wireRevocation(holdfastv1.ProviderRevocation_PROVIDER_REVOCATION_NOT_OFFERED)},
		{holdfastv1.AdminService_StartReauth_FullMethodName, &holdfastv1.StartReauthRequest{Grant: id}, []any{acme.GrantID(), storage.Address{}},
			&holdfastv1.StartReauthResponse{ConsentId: link.ConsentId, Url: link.Url, ExpiresAt: link.ExpiresAt, Scopes: link.Scopes, Warning: link.Warning}},
		{holdfastv1.AdminService_ForceRefresh_FullMethodName, &holdfastv1.ForceRefreshRequest{Grant: byAddress()}, []any{"", acme},
			&holdfastv1.ForceRefreshResponse{Grant: wireGrant()}},
		{holdfastv1.AdminService_AdoptGrants_FullMethodName,
			&holdfastv1.AdoptGrantsRequest{Mode: holdfastv1.AdoptMode_ADOPT_MODE_SCRUB, Tenant: "acme", Product: "jira", DryRun: true},
			[]any{broker.AdoptScrub, broker.GrantFilter{Tenant: "acme", Product: "jira"}, true},
			&holdfastv1.AdoptGrantsResponse{Count: 1234, Grants: []*holdfastv1.Grant{wireGrant()}}},
		{holdfastv1.AdminService_AdoptGrants_FullMethodName, &holdfastv1.AdoptGrantsRequest{Mode: holdfastv1.AdoptMode_ADOPT_MODE_ADOPT},
			[]any{broker.AdoptSurviving, broker.GrantFilter{}, false},
			&holdfastv1.AdoptGrantsResponse{Count: 1234, Grants: []*holdfastv1.Grant{wireGrant()}}},
		{holdfastv1.AdminService_GetStatus_FullMethodName, &holdfastv1.GetStatusRequest{}, nil, &holdfastv1.GetStatusResponse{
			Version: "v1", Environment: "test", Provider: "sim", StoreId: "st", StartedAt: timestamppb.New(at),
			ServerTime: timestamppb.New(at.Add(1)), ClockAhead: durationpb.New(-time.Minute), NotReadyReasons: []string{"store is read-only"}, Warnings: []string{"a slot does not open"}, DamagedGrantIds: []string{"grt_damaged"}, StoreFinding: "moved or copied", OpenSettlements: 3,
			PhaseCounts: []*holdfastv1.PhaseCount{
				{Phase: holdfastv1.GrantPhase_GRANT_PHASE_ACTIVE, Count: 5}, {Phase: holdfastv1.GrantPhase_GRANT_PHASE_REVOKED, Count: 2},
			},
			Apps: []*holdfastv1.AppStatus{wireApp()}, KeyRotation: wireRotation(), AuditCheckpoint: "a note",
			PhasesCountedAt: timestamppb.New(at.Add(-time.Hour)),
		}},
		{holdfastv1.AdminService_ExplainAccess_FullMethodName,
			&holdfastv1.ExplainAccessRequest{
				Caller: "svc", CallerKind: holdfastv1.CallerKind_CALLER_KIND_SPIFFE, Groups: []string{"g"}, Action: "draw", Grant: wireAddress(),
				Site: "c-1", Scopes: []string{"a"}, Purpose: "sync", Time: timestamppb.New(at),
			},
			[]any{policy.Request{
				Caller: "svc", Kind: "spiffe", Groups: []string{"g"}, Action: policy.Draw, Address: acme,
				Site: "c-1", Scopes: []string{"a"}, Purpose: "sync", Now: at,
			}},
			&holdfastv1.ExplainAccessResponse{
				Allowed: true, Rules: []string{"r1"}, Facts: []*holdfastv1.AccessFact{{Name: "action", Value: "x"}}, Errors: []string{"r2: overflow"},
				Shadow: &holdfastv1.ShadowDecision{Allowed: true, Rules: []string{"s1"}}, PolicyVersion: "abc",
			}},
		{holdfastv1.AdminService_RotateKeys_FullMethodName, &holdfastv1.RotateKeysRequest{}, nil, &holdfastv1.RotateKeysResponse{Rotation: wireRotation()}},
		{holdfastv1.AdminService_WhoHad_FullMethodName,
			&holdfastv1.WhoHadRequest{Token: &holdfastv1.WhoHadRequest_AccessToken{AccessToken: "a token"}, Since: timestamppb.New(at), Limit: 3},
			[]any{"a token", "", "", storage.Address{}, at, 3}, wireHandOuts()},
		{holdfastv1.AdminService_ListApps_FullMethodName, &holdfastv1.ListAppsRequest{}, nil, &holdfastv1.ListAppsResponse{Apps: []*holdfastv1.AppStatus{wireApp()}}},
		{holdfastv1.AdminService_PauseApp_FullMethodName, &holdfastv1.PauseAppRequest{AppId: "jira-app", Reason: "why"},
			[]any{"jira-app", "why"}, &holdfastv1.PauseAppResponse{App: wireApp()}},
		{holdfastv1.AdminService_ResumeApp_FullMethodName,
			&holdfastv1.ResumeAppRequest{AppId: "jira-app", AskAgainLapsedWithin: durationpb.New(time.Hour)},
			[]any{"jira-app", time.Hour}, &holdfastv1.ResumeAppResponse{App: wireApp(), AskedAgain: 3}},
	}
}

func wireHandOuts() *holdfastv1.WhoHadResponse {
	return &holdfastv1.WhoHadResponse{
		HandOuts: []*holdfastv1.HandOut{{
			HandedOutAt: timestamppb.New(at), Caller: "svc", CallerKind: holdfastv1.CallerKind_CALLER_KIND_SPIFFE, Rule: "ru", Grant: "acme/a/jira",
			GrantId: "grt_1", Generation: 7, Purpose: "p", RequestId: "req", Fingerprint: "hf1:ab", AliveUntil: timestamppb.New(at.Add(time.Hour)),
		}},
		More: true, SearchedFrom: timestamppb.New(at.Add(-time.Hour)), Fingerprint: "hf1:ab",
	}
}

func wireRotation() *holdfastv1.KeyRotation {
	return &holdfastv1.KeyRotation{
		StartedAt: timestamppb.New(at), EndedAt: timestamppb.New(at.Add(time.Hour)), Resealed: 4, Total: 5, Stuck: "a record does not open",
	}
}

type exchange struct {
	method string
	req    proto.Message
	asked  []any
	want   proto.Message
}

func TestEveryRpcCarriesEveryFieldBothWays(t *testing.T) {
	r := newRig(t)
	conn := r.dial(mapped)
	covered := map[string]bool{holdfastv1.TokenService_WatchAccessToken_FullMethodName: true} // TestAWatchCarriesEveryFieldBothWays
	for _, row := range exchanges() {
		covered[row.method] = true
		got := row.want.ProtoReflect().New().Interface()
		if err := conn.Invoke(t.Context(), row.method, row.req, got); err != nil {
			t.Errorf("%s: %v", row.method, err)
			continue
		}
		if diff := cmp.Diff(row.want, got, protocmp.Transform()); diff != "" {
			t.Errorf("%s answers: %s", row.method, diff)
		}
		if _, _, asked := r.broker.last(); cmp.Diff(row.asked, asked) != "" {
			t.Errorf("%s asks the broker: %s", row.method, cmp.Diff(row.asked, asked))
		}
		requireEveryField(t, row.want)
	}
	for method := range validRequests {
		if !covered[method] {
			t.Errorf("%s has no row here", method)
		}
	}
}

// requireEveryField fails if a row leaves out a field of its answer, since then
// a mapping that forgets it would pass.
func requireEveryField(t *testing.T, m proto.Message) {
	t.Helper()
	exempt := map[protoreflect.FullName]bool{"holdfast.v1.GetStatusResponse.ready": true}
	fields := m.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.ContainingOneof() == nil && !m.ProtoReflect().Has(f) && !exempt[f.FullName()] {
			t.Errorf("the row leaves out %s", f.FullName())
		}
		if f.Message() != nil && f.Message().ParentFile().Package() == "holdfast.v1" && !f.IsList() && m.ProtoReflect().Has(f) {
			requireEveryField(t, m.ProtoReflect().Get(f).Message().Interface())
		}
	}
}

func TestUnknownTimesStayUnset(t *testing.T) {
	out := grantOut(&broker.GrantInfo{ID: "x"})
	if out.CreatedAt != nil || out.IdleDeadline != nil || out.NextAttemptAt != nil {
		t.Errorf("a zero time is sent as %v", out)
	}
	token := tokenOut(&broker.TokenAnswer{})
	if token.ExpiresAt != nil || token.Site != nil {
		t.Errorf("a zero time or no site is sent as %v", token)
	}
}

func TestTheContractKnowsEveryWordOfTheBroker(t *testing.T) {
	for _, row := range []struct {
		prefix string
		values map[string]int32
		words  []string
	}{
		{"GRANT_PHASE_", holdfastv1.GrantPhase_value, words(family.Active.String(), family.Suspected.String(), family.Lapsed.String(),
			family.Quarantined.String(), family.Revoked.String())},
		{"LAPSE_REASON_", holdfastv1.LapseReason_value, words(family.LapseRefused, family.LapseLostInDoubt, family.LapseOfflineAccess, family.LapseScrubbed)},
		{"TOKEN_VERDICT_", holdfastv1.TokenVerdict_value, words(broker.VerdictAccepted, broker.VerdictRejected, broker.VerdictStale, broker.VerdictUnverified)},
		{"PROVIDER_REVOCATION_", holdfastv1.ProviderRevocation_value, words("DONE", "NOT_OFFERED", "UNVERIFIED", "NOT_ASKED")},
		{"GRANT_EVENT_TYPE_", holdfastv1.GrantEventType_value, words(family.EventConsented, family.EventAnnounced, family.EventSettled,
			family.EventNotSpent, family.EventInDoubt, family.EventRefused, family.EventMisconfigured, family.EventTransient,
			family.EventAlternateKept, family.EventAlternatePromoted, family.EventScopesChanged, family.EventRejected,
			family.EventLapsed, family.EventRevoked, family.EventQuarantined, family.EventReauthStarted,
			family.EventDeadlineNear, family.EventVerdictHeld, family.EventUnexplained, family.EventForeignUse, family.EventInterference,
			family.EventAdopted, family.EventScrubbed, family.EventAskedAgain)},
		{"CONSENT_STATUS_", holdfastv1.ConsentStatus_value, words(storage.ConsentPending, storage.ConsentAtProvider, storage.ConsentExchanging,
			storage.ConsentConfirm, storage.ConsentDone, storage.ConsentDenied, storage.ConsentExpired, storage.ConsentNoOfflineAccess,
			storage.ConsentWrongAccount, storage.ConsentWrongProduct, storage.ConsentMissingScopes, storage.ConsentCodeRefused,
			storage.ConsentExchangeInDoubt, storage.ConsentProviderError, storage.ConsentMisconfigured, storage.ConsentDiscarded,
			storage.ConsentSuperseded)},
	} {
		if len(row.words) != len(row.values)-1 {
			t.Errorf("%s*: the contract has %d values, the test %d words", row.prefix, len(row.values)-1, len(row.words))
		}
		for _, w := range row.words {
			if enumNumber(row.values, row.prefix, w) == 0 {
				t.Errorf("the contract has no %s%s", row.prefix, strings.ToUpper(w))
			}
		}
		if enumNumber(row.values, row.prefix, "no such word") != 0 {
			t.Errorf("%s*: an unknown word is not unspecified", row.prefix)
		}
	}
}

func words[T ~string](in ...T) (out []string) {
	for _, w := range in {
		out = append(out, string(w))
	}
	return out
}

func TestTokensOf64KiBTravelAloneAndInFullBatches(t *testing.T) {
	r := newRig(t)
	r.broker.token = strings.Repeat("t", 64<<10)
	client := holdfastv1.NewTokenServiceClient(r.dial(mapped))
	one, err := client.GetAccessToken(t.Context(), hotRequest())
	if err != nil || one.GetAccessToken() != r.broker.token {
		t.Fatalf("alone: %d bytes, %v", len(one.GetAccessToken()), err)
	}
	batch, err := client.BatchGetAccessTokens(t.Context(),
		&holdfastv1.BatchGetAccessTokensRequest{Requests: slices.Repeat([]*holdfastv1.GetAccessTokenRequest{hotRequest()}, 100)},
		grpc.MaxCallRecvMsgSize(8<<20))
	if err != nil || len(batch.GetResults()) != 100 {
		t.Fatalf("batch: %d results, %v", len(batch.GetResults()), err)
	}
	for i, res := range batch.GetResults() {
		if res.GetToken().GetAccessToken() != r.broker.token {
			t.Fatalf("result %d has %d bytes", i, len(res.GetToken().GetAccessToken()))
		}
	}
}

func TestLongestBatchRequestFits(t *testing.T) {
	r := newRig(t)
	long := func(n int) string { return strings.Repeat("a", n) }
	req := &holdfastv1.GetAccessTokenRequest{
		Grant: &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Address{Address: &holdfastv1.GrantAddress{
			Tenant: long(128), Subject: long(128), Product: long(128), Name: long(128)}}},
		Site: long(512), RequiredScopes: slices.Repeat([]string{long(128)}, 100), Purpose: long(64),
		MinTtl: durationpb.New(10 * time.Minute), IfNotGeneration: 1 << 62,
	}
	client := holdfastv1.NewTokenServiceClient(r.dial(mapped))
	_, err := client.BatchGetAccessTokens(t.Context(),
		&holdfastv1.BatchGetAccessTokensRequest{Requests: slices.Repeat([]*holdfastv1.GetAccessTokenRequest{req}, 100)})
	if err != nil {
		t.Error(err)
	}
}

func wireRevocation(atProvider holdfastv1.ProviderRevocation) *holdfastv1.RevokeGrantResponse {
	return &holdfastv1.RevokeGrantResponse{
		Grant: wireGrant(), ProviderRevocation: atProvider, LastTokenExpiresAt: timestamppb.New(at),
		LiveTokens:     []*holdfastv1.LiveToken{{Generation: 3, Fingerprint: "hf1:00", DiesAt: timestamppb.New(at)}},
		AffectedGrants: []*holdfastv1.Grant{wireGrant()},
	}
}
