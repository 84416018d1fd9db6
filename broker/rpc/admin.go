package rpc

import (
	"context"
	"slices"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/family"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/storage"
)

// AdminBroker is what AdminService asks of the broker. Policy and audit happen
// behind it. Where an id and an address are taken, exactly one is set.
type AdminBroker interface {
	// Grants returns a page and the token of the next one.
	Grants(ctx context.Context, c broker.Caller, f broker.GrantFilter) ([]broker.GrantInfo, string, error)
	Grant(ctx context.Context, c broker.Caller, id string, a storage.Address) (*broker.GrantInfo, []family.Event, error)
	Reauth(ctx context.Context, c broker.Caller, id string, a storage.Address) (*broker.ConsentLink, error)
	ForceRefresh(ctx context.Context, c broker.Caller, id string, a storage.Address) (*broker.GrantInfo, error)
	AdoptGrants(ctx context.Context, c broker.Caller, mode broker.AdoptMode, f broker.GrantFilter, dryRun bool) (*broker.AdoptResult, error)
	Status(ctx context.Context, c broker.Caller) (*broker.Status, error)
}

type adminService struct {
	holdfastv1.UnsafeAdminServiceServer
	broker  AdminBroker
	apps    AppsBroker
	keys    KeysBroker
	endings EndingsBroker
	record  RecordBroker
	access  AccessBroker
}

// ListGrants implements holdfastv1.AdminServiceServer.
func (s *adminService) ListGrants(ctx context.Context, req *holdfastv1.ListGrantsRequest) (*holdfastv1.ListGrantsResponse, error) {
	grants, next, err := s.broker.Grants(ctx, callerOf(ctx), broker.GrantFilter{
		Tenant:    req.GetTenant(),
		Product:   req.GetProduct(),
		Phase:     phases[req.GetPhase()],
		PageSize:  int(req.GetPageSize()),
		PageToken: req.GetPageToken(),
	})
	if err != nil {
		return nil, err
	}
	return &holdfastv1.ListGrantsResponse{Grants: grantsOut(grants), NextPageToken: next}, nil
}

// GetGrant implements holdfastv1.AdminServiceServer.
func (s *adminService) GetGrant(ctx context.Context, req *holdfastv1.GetGrantRequest) (*holdfastv1.GetGrantResponse, error) {
	id, addr := selected(req.GetGrant())
	grant, events, err := s.broker.Grant(ctx, callerOf(ctx), id, addr)
	if err != nil {
		return nil, err
	}
	out := &holdfastv1.GetGrantResponse{Grant: grantOut(grant)}
	for _, e := range events {
		out.Events = append(out.Events, eventOut(e))
	}
	return out, nil
}

// StartReauth implements holdfastv1.AdminServiceServer.
func (s *adminService) StartReauth(ctx context.Context, req *holdfastv1.StartReauthRequest) (*holdfastv1.StartReauthResponse, error) {
	id, addr := selected(req.GetGrant())
	link, err := s.broker.Reauth(ctx, callerOf(ctx), id, addr)
	if err != nil {
		return nil, err
	}
	return &holdfastv1.StartReauthResponse{
		ConsentId: link.ID,
		Url:       link.URL,
		ExpiresAt: timeOut(link.ExpiresAt),
		Scopes:    link.Scopes,
		Warning:   link.Warning,
	}, nil
}

// ForceRefresh implements holdfastv1.AdminServiceServer.
func (s *adminService) ForceRefresh(ctx context.Context, req *holdfastv1.ForceRefreshRequest) (*holdfastv1.ForceRefreshResponse, error) {
	id, addr := selected(req.GetGrant())
	grant, err := s.broker.ForceRefresh(ctx, callerOf(ctx), id, addr)
	if err != nil {
		return nil, err
	}
	return &holdfastv1.ForceRefreshResponse{Grant: grantOut(grant)}, nil
}

// AdoptGrants implements holdfastv1.AdminServiceServer.
func (s *adminService) AdoptGrants(ctx context.Context, req *holdfastv1.AdoptGrantsRequest) (*holdfastv1.AdoptGrantsResponse, error) {
	modes := map[holdfastv1.AdoptMode]broker.AdoptMode{
		holdfastv1.AdoptMode_ADOPT_MODE_ADOPT: broker.AdoptSurviving,
		holdfastv1.AdoptMode_ADOPT_MODE_SCRUB: broker.AdoptScrub,
	}
	r, err := s.broker.AdoptGrants(ctx, callerOf(ctx), modes[req.GetMode()],
		broker.GrantFilter{Tenant: req.GetTenant(), Product: req.GetProduct()}, req.GetDryRun())
	if err != nil {
		return nil, err
	}
	return &holdfastv1.AdoptGrantsResponse{Count: uint64(r.Count), Grants: grantsOut(r.Grants)}, nil
}

// GetStatus implements holdfastv1.AdminServiceServer.
func (s *adminService) GetStatus(ctx context.Context, _ *holdfastv1.GetStatusRequest) (*holdfastv1.GetStatusResponse, error) {
	st, err := s.broker.Status(ctx, callerOf(ctx))
	if err != nil {
		return nil, err
	}
	out := &holdfastv1.GetStatusResponse{
		Version:         st.Version,
		Environment:     st.Environment,
		Provider:        st.Provider,
		StoreId:         st.StoreID,
		StartedAt:       timeOut(st.StartedAt),
		ServerTime:      timeOut(st.Now),
		Ready:           st.Ready,
		NotReadyReasons: st.Reasons, DamagedGrantIds: st.Damaged, StoreFinding: st.StoreFinding, Warnings: st.Warnings,
		OpenSettlements: uint32(st.OpenSettlements),
		AuditCheckpoint: st.AuditCheckpoint,
	}
	if !st.CountedAt.IsZero() {
		out.PhasesCountedAt = timeOut(st.CountedAt)
	}
	if !st.Clock.At.IsZero() {
		out.ClockAhead = durationpb.New(st.Clock.Ahead)
	}
	for phase, n := range st.Families {
		if n > 0 {
			out.PhaseCounts = append(out.PhaseCounts, &holdfastv1.PhaseCount{Phase: phaseOut(phase), Count: uint64(n)})
		}
	}
	slices.SortFunc(out.PhaseCounts, func(a, b *holdfastv1.PhaseCount) int { return int(a.GetPhase() - b.GetPhase()) })
	for i := range st.Apps {
		out.Apps = append(out.Apps, appOut(&st.Apps[i]))
	}
	out.KeyRotation = rotationOut(st.KeyRotation)
	return out, nil
}
