package rpc

import (
	"context"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// AppsBroker is what AdminService asks of the broker about apps. Policy and
// audit happen behind it.
type AppsBroker interface {
	Apps(ctx context.Context, c broker.Caller) ([]broker.AppStatus, error)
	PauseApp(ctx context.Context, c broker.Caller, id, reason string) (*broker.AppStatus, error)
	// ResumeApp also says of how many lapsed families the provider is asked again.
	ResumeApp(ctx context.Context, c broker.Caller, id string, askAgainWithin time.Duration) (*broker.AppStatus, int, error)
}

// ListApps implements holdfastv1.AdminServiceServer.
func (s *adminService) ListApps(ctx context.Context, _ *holdfastv1.ListAppsRequest) (*holdfastv1.ListAppsResponse, error) {
	apps, err := s.apps.Apps(ctx, callerOf(ctx))
	if err != nil {
		return nil, err
	}
	out := &holdfastv1.ListAppsResponse{}
	for i := range apps {
		out.Apps = append(out.Apps, appOut(&apps[i]))
	}
	return out, nil
}

// PauseApp implements holdfastv1.AdminServiceServer.
func (s *adminService) PauseApp(ctx context.Context, req *holdfastv1.PauseAppRequest) (*holdfastv1.PauseAppResponse, error) {
	a, err := s.apps.PauseApp(ctx, callerOf(ctx), req.GetAppId(), req.GetReason())
	if err != nil {
		return nil, err
	}
	return &holdfastv1.PauseAppResponse{App: appOut(a)}, nil
}

// ResumeApp implements holdfastv1.AdminServiceServer.
func (s *adminService) ResumeApp(ctx context.Context, req *holdfastv1.ResumeAppRequest) (*holdfastv1.ResumeAppResponse, error) {
	a, asked, err := s.apps.ResumeApp(ctx, callerOf(ctx), req.GetAppId(), req.GetAskAgainLapsedWithin().AsDuration())
	if err != nil {
		return nil, err
	}
	return &holdfastv1.ResumeAppResponse{App: appOut(a), AskedAgain: uint64(asked)}, nil
}

func appOut(a *broker.AppStatus) *holdfastv1.AppStatus {
	out := &holdfastv1.AppStatus{
		Id:               a.ID,
		Products:         a.Products,
		Paused:           a.Paused,
		Shared:           a.Shared,
		PausedByOperator: a.PausedByOperator,
		VerdictsHeld:     a.VerdictsHeld,
		CircuitOpen:      a.CircuitOpen,
		RecentAttempts:   a.RecentAttempts,
		RecentRefusals:   a.RecentRefusals,
	}
	for _, e := range a.Events {
		out.Events = append(out.Events, &holdfastv1.AppEvent{
			Type:       holdfastv1.AppEventType(enumNumber(holdfastv1.AppEventType_value, "APP_EVENT_TYPE_", string(e.Type))),
			OccurredAt: timeOut(e.At),
			Detail:     e.Detail,
		})
	}
	return out
}
