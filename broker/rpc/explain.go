package rpc

import (
	"context"
	"slices"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/policy"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// AccessBroker is what AdminService asks of the broker about its policy. Policy
// and audit happen behind it.
type AccessBroker interface {
	ExplainAccess(ctx context.Context, c broker.Caller, r policy.Request) (*policy.Explanation, error)
}

// ExplainAccess implements holdfastv1.AdminServiceServer.
func (s *adminService) ExplainAccess(ctx context.Context, req *holdfastv1.ExplainAccessRequest) (*holdfastv1.ExplainAccessResponse, error) {
	r := policy.Request{
		Caller: req.GetCaller(), Kind: callerKinds[req.GetCallerKind()], Groups: slices.Sorted(slices.Values(req.GetGroups())),
		Action: policy.Action(req.GetAction()), Site: req.GetSite(), Scopes: req.GetScopes(), Purpose: req.GetPurpose(),
	}
	if req.GetGrant() != nil {
		r.Address = address(req.GetGrant())
	}
	if req.GetTime().IsValid() {
		r.Now = req.GetTime().AsTime()
	}
	e, err := s.access.ExplainAccess(ctx, callerOf(ctx), r)
	if err != nil {
		return nil, err
	}
	out := &holdfastv1.ExplainAccessResponse{Allowed: e.Allow, Rules: e.Rules, Errors: e.Errors, PolicyVersion: e.Version}
	for _, f := range e.Facts {
		out.Facts = append(out.Facts, &holdfastv1.AccessFact{Name: f.Name, Value: f.Value})
	}
	if e.Shadow != nil {
		out.Shadow = &holdfastv1.ShadowDecision{Allowed: e.Shadow.Allow, Rules: e.Shadow.Rules}
	}
	return out, nil
}

// callerKinds are the broker's words; unspecified is by a client certificate.
var callerKinds = map[holdfastv1.CallerKind]string{
	holdfastv1.CallerKind_CALLER_KIND_UNSPECIFIED: string(broker.CallerX509),
	holdfastv1.CallerKind_CALLER_KIND_X509:        string(broker.CallerX509),
	holdfastv1.CallerKind_CALLER_KIND_SPIFFE:      string(broker.CallerSPIFFE),
	holdfastv1.CallerKind_CALLER_KIND_JWT:         string(broker.CallerJWT),
	holdfastv1.CallerKind_CALLER_KIND_PROXY:       string(broker.CallerProxy),
}
