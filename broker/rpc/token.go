package rpc

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-io/holdfast/broker"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// TokenBroker is what TokenService asks of the broker. Policy and audit happen behind it.
type TokenBroker interface {
	AccessToken(ctx context.Context, c broker.Caller, r broker.TokenRequest) (*broker.TokenAnswer, error)
	// AccessTokens returns one result per request, in their order.
	AccessTokens(ctx context.Context, c broker.Caller, rs []broker.TokenRequest) ([]broker.TokenResult, error)
	// Watch calls send for each change, one after another, until ctx ends.
	Watch(ctx context.Context, c broker.Caller, r broker.TokenRequest, send func(broker.TokenResult) error) error
	ReportRejected(ctx context.Context, c broker.Caller, r broker.RejectionReport) (broker.RejectionVerdict, error)
	// MyGrants returns a page and the token of the next one.
	MyGrants(ctx context.Context, c broker.Caller, pageSize int, pageToken string) ([]broker.GrantInfo, string, error)
}

// tokenService embeds the unsafe server on purpose: an rpc that is in the contract
// and not here does not compile.
type tokenService struct {
	holdfastv1.UnsafeTokenServiceServer
	broker TokenBroker
	edge   *edge
}

// GetAccessToken implements holdfastv1.TokenServiceServer.
func (s *tokenService) GetAccessToken(ctx context.Context, req *holdfastv1.GetAccessTokenRequest) (*holdfastv1.GetAccessTokenResponse, error) {
	a, err := s.broker.AccessToken(ctx, callerOf(ctx), tokenRequest(req))
	if err != nil {
		return nil, err
	}
	return tokenOut(a), nil
}

// BatchGetAccessTokens implements holdfastv1.TokenServiceServer.
func (s *tokenService) BatchGetAccessTokens(ctx context.Context, req *holdfastv1.BatchGetAccessTokensRequest) (*holdfastv1.BatchGetAccessTokensResponse, error) {
	requests := make([]broker.TokenRequest, len(req.GetRequests()))
	for i, r := range req.GetRequests() {
		requests[i] = tokenRequest(r)
	}
	results, err := s.broker.AccessTokens(ctx, callerOf(ctx), requests)
	if err != nil {
		return nil, err
	}
	if len(results) != len(requests) {
		return nil, fmt.Errorf("batch of %d requests got %d results", len(requests), len(results))
	}
	out := &holdfastv1.BatchGetAccessTokensResponse{}
	for _, r := range results {
		out.Results = append(out.Results, s.result(ctx, r))
	}
	return out, nil
}

func (s *tokenService) result(ctx context.Context, r broker.TokenResult) *holdfastv1.BatchGetAccessTokensResult {
	if r.Err == nil && r.Answer != nil {
		return &holdfastv1.BatchGetAccessTokensResult{
			Outcome: &holdfastv1.BatchGetAccessTokensResult_Token{Token: tokenOut(r.Answer)},
		}
	}
	err := r.Err
	if err == nil {
		err = fmt.Errorf("a batch member has neither an answer nor an error")
	}
	why := s.edge.refuse(&call{Context: ctx, caller: callerOf(ctx)}, holdfastv1.TokenService_BatchGetAccessTokens_FullMethodName, err)
	return &holdfastv1.BatchGetAccessTokensResult{
		Outcome: &holdfastv1.BatchGetAccessTokensResult_Error{Error: why.batchError()},
	}
}

// ReportRejectedToken implements holdfastv1.TokenServiceServer.
func (s *tokenService) ReportRejectedToken(ctx context.Context, req *holdfastv1.ReportRejectedTokenRequest) (*holdfastv1.ReportRejectedTokenResponse, error) {
	report := broker.RejectionReport{Generation: req.GetGeneration(), HTTPStatus: int(req.GetHttpStatus())}
	report.ID, report.Address = selected(req.GetGrant())
	verdict, err := s.broker.ReportRejected(ctx, callerOf(ctx), report)
	if err != nil {
		return nil, err
	}
	return &holdfastv1.ReportRejectedTokenResponse{
		Verdict: holdfastv1.TokenVerdict(enumNumber(holdfastv1.TokenVerdict_value, "TOKEN_VERDICT_", string(verdict))),
	}, nil
}

// ListMyGrants implements holdfastv1.TokenServiceServer.
func (s *tokenService) ListMyGrants(ctx context.Context, req *holdfastv1.ListMyGrantsRequest) (*holdfastv1.ListMyGrantsResponse, error) {
	grants, next, err := s.broker.MyGrants(ctx, callerOf(ctx), int(req.GetPageSize()), req.GetPageToken())
	if err != nil {
		return nil, err
	}
	return &holdfastv1.ListMyGrantsResponse{Grants: grantsOut(grants), NextPageToken: next}, nil
}

func tokenRequest(r *holdfastv1.GetAccessTokenRequest) broker.TokenRequest {
	out := broker.TokenRequest{
		Site:            r.GetSite(),
		RequiredScopes:  r.GetRequiredScopes(),
		IfNotGeneration: r.GetIfNotGeneration(),
		Purpose:         r.GetPurpose(),
	}
	if r.GetMinTtl() != nil {
		out.MinTTL = r.GetMinTtl().AsDuration()
	}
	out.ID, out.Address = selected(r.GetGrant())
	return out
}

// tokenOut makes the message of the hot call: one allocation for it and its times.
func tokenOut(a *broker.TokenAnswer) *holdfastv1.GetAccessTokenResponse {
	m := &struct {
		resp  holdfastv1.GetAccessTokenResponse
		times [4]timestamppb.Timestamp
	}{}
	r := &m.resp
	r.AccessToken = a.Token.Reveal()
	r.ExpiresAt = timeInto(&m.times[0], a.ExpiresAt)
	r.GuaranteedUntil = timeInto(&m.times[1], a.GuaranteedUntil)
	r.RefreshAfter = timeInto(&m.times[2], a.RefreshAfter)
	r.ServerTime = timeInto(&m.times[3], a.ServerTime)
	r.Generation = a.Generation
	r.GrantId = a.GrantID
	r.Scopes = a.Scopes
	if a.Site != nil {
		r.Site = siteOut(*a.Site)
	}
	r.ApiBaseUrl = a.APIBaseURL
	return r
}

func timeInto(ts *timestamppb.Timestamp, t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	ts.Seconds, ts.Nanos = t.Unix(), int32(t.Nanosecond())
	return ts
}
