package rpc

import (
	"context"

	"github.com/holdfast-io/holdfast/broker"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/storage"
)

// EndingsBroker is what AdminService asks of the broker about the end of grants.
// Exactly one of id and address is set.
type EndingsBroker interface {
	Revoke(ctx context.Context, c broker.Caller, id string, a storage.Address, reason string) (*broker.RevokeResult, error)
	// WouldRevoke changes nothing.
	WouldRevoke(ctx context.Context, c broker.Caller, id string, a storage.Address) (*broker.RevokeResult, error)
	// Purge deletes a grant that has ended; a dry run changes nothing.
	Purge(ctx context.Context, c broker.Caller, id string, a storage.Address, reason string, dryRun bool) (*broker.PurgeResult, error)
}

// PurgeGrant implements holdfastv1.AdminServiceServer.
func (s *adminService) PurgeGrant(ctx context.Context, req *holdfastv1.PurgeGrantRequest) (*holdfastv1.PurgeGrantResponse, error) {
	id, addr := selected(req.GetGrant())
	r, err := s.endings.Purge(ctx, callerOf(ctx), id, addr, req.GetReason(), req.GetDryRun())
	if err != nil {
		return nil, err
	}
	return &holdfastv1.PurgeGrantResponse{Grant: grantOut(&r.Grant), Events: uint32(r.Events), Collected: r.Collected}, nil
}

// RevokeGrant implements holdfastv1.AdminServiceServer.
func (s *adminService) RevokeGrant(ctx context.Context, req *holdfastv1.RevokeGrantRequest) (*holdfastv1.RevokeGrantResponse, error) {
	id, addr := selected(req.GetGrant())
	var r *broker.RevokeResult
	var err error
	if req.GetDryRun() {
		r, err = s.endings.WouldRevoke(ctx, callerOf(ctx), id, addr)
	} else {
		r, err = s.endings.Revoke(ctx, callerOf(ctx), id, addr, req.GetReason())
	}
	if err != nil {
		return nil, err
	}
	out := &holdfastv1.RevokeGrantResponse{
		Grant: grantOut(&r.Grant),
		ProviderRevocation: holdfastv1.ProviderRevocation(
			enumNumber(holdfastv1.ProviderRevocation_value, "PROVIDER_REVOCATION_", r.ProviderRevocation)),
		LastTokenExpiresAt: timeOut(r.LastTokenExpiresAt),
		AffectedGrants:     grantsOut(r.Affected),
	}
	for _, t := range r.LiveTokens {
		out.LiveTokens = append(out.LiveTokens, &holdfastv1.LiveToken{Generation: t.Generation, Fingerprint: t.Fingerprint, DiesAt: timeOut(t.DiesAt)})
	}
	return out, nil
}
