package rpc

import (
	"context"

	"github.com/holdfast-io/holdfast/broker"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// ConsentBroker is what ConsentService asks of the broker. Policy and audit happen behind it.
type ConsentBroker interface {
	StartConsent(ctx context.Context, c broker.Caller, r broker.ConsentRequest) (*broker.ConsentLink, error)
	Consent(ctx context.Context, c broker.Caller, id string) (*broker.ConsentInfo, error)
}

type consentService struct {
	holdfastv1.UnsafeConsentServiceServer
	broker ConsentBroker
}

// StartConsent implements holdfastv1.ConsentServiceServer.
func (s *consentService) StartConsent(ctx context.Context, req *holdfastv1.StartConsentRequest) (*holdfastv1.StartConsentResponse, error) {
	link, err := s.broker.StartConsent(ctx, callerOf(ctx), broker.ConsentRequest{
		Address:   address(req.GetAddress()),
		App:       req.GetAppId(),
		Scopes:    req.GetScopes(),
		ReturnURL: req.GetReturnUrl(),
	})
	if err != nil {
		return nil, err
	}
	return &holdfastv1.StartConsentResponse{
		ConsentId: link.ID,
		Url:       link.URL,
		ExpiresAt: timeOut(link.ExpiresAt),
		Scopes:    link.Scopes,
		Warning:   link.Warning,
	}, nil
}

// GetConsent implements holdfastv1.ConsentServiceServer.
func (s *consentService) GetConsent(ctx context.Context, req *holdfastv1.GetConsentRequest) (*holdfastv1.GetConsentResponse, error) {
	c, err := s.broker.Consent(ctx, callerOf(ctx), req.GetConsentId())
	if err != nil {
		return nil, err
	}
	return &holdfastv1.GetConsentResponse{Consent: &holdfastv1.Consent{
		Id:        c.ID,
		Address:   addressOut(c.Address),
		AppId:     c.App,
		Status:    holdfastv1.ConsentStatus(enumNumber(holdfastv1.ConsentStatus_value, "CONSENT_STATUS_", string(c.Status))),
		Detail:    c.Detail,
		ExpiresAt: timeOut(c.ExpiresAt),
		GrantId:   c.GrantID,
	}}, nil
}
