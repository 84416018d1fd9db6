package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-io/holdfast/cmd/holdfast/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// consentPoll is how often `consent show --wait` asks.
const consentPoll = time.Second

func newConsent(io streams) *cobra.Command {
	return group("consent", "Send a person to the connect page and follow what becomes of it", newConsentStart(io), newConsentShow(io))
}

func newConsentStart(io streams) *cobra.Command {
	c := newCall(io)
	request := &holdfastv1.StartConsentRequest{}
	cmd := &cobra.Command{
		Use:     "start ADDRESS",
		Short:   "Make a link to the connect page",
		Long:    "Make a link to the connect page. Whoever holds it can consent in the grant's name: give it to the person meant only.",
		Example: "  holdfast consent start acme/automation/jira",
		Args:    one("ADDRESS, e.g. acme/automation/jira"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := address(args[0])
			if err != nil {
				return err
			}
			request.Address = a
			return c.do(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				answer, err := holdfastv1.NewConsentServiceClient(conn).StartConsent(ctx, request)
				if err != nil {
					return err
				}
				return c.show(answer, func() error { return c.showLink(answer) })
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&request.AppId, "app", "", "id of the app; default: the one configured for the product")
	f.StringArrayVar(&request.Scopes, "scope", nil, "a scope to ask for; may be repeated; default: the app's")
	f.StringVar(&request.ReturnUrl, "return-url", "", "where the last page links back to; its origin must be configured")
	return c.bind(cmd)
}

// link is what a started consent and a started re-auth have in common.
type link interface {
	GetConsentId() string
	GetUrl() string
	GetScopes() []string
	GetWarning() string
	GetExpiresAt() *timestamppb.Timestamp
}

func (c *call) showLink(l link) error {
	return render.Facts(c.io.out, []render.Fact{
		{Name: "open", Value: l.GetUrl()},
		{Name: "consent", Value: l.GetConsentId()},
		{Name: "expires", Value: render.Time(l.GetExpiresAt())},
		{Name: "scopes", Value: strings.Join(l.GetScopes(), " ")},
		{Name: "warning", Value: l.GetWarning()},
	})
}

func newConsentShow(io streams) *cobra.Command {
	c := newCall(io)
	wait := false
	cmd := &cobra.Command{
		Use:   "show CONSENT",
		Short: "Say where a consent stands",
		Args:  one("CONSENT, the id that consent start printed"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.do(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				return c.consentShow(ctx, conn, args[0], wait)
			})
		},
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until it has ended, one way or the other")
	return c.bind(cmd)
}

func (c *call) consentShow(ctx context.Context, conn grpc.ClientConnInterface, id string, wait bool) error {
	service := holdfastv1.NewConsentServiceClient(conn)
	for {
		answer, err := service.GetConsent(ctx, &holdfastv1.GetConsentRequest{ConsentId: id})
		if err != nil {
			return err
		}
		if wait && open(answer.GetConsent().GetStatus()) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(consentPoll):
				continue
			}
		}
		return c.show(answer, func() error {
			consent := answer.GetConsent()
			return render.Facts(c.io.out, []render.Fact{
				{Name: "consent", Value: consent.GetId()},
				{Name: "status", Value: render.Enum(consent.GetStatus(), "CONSENT_STATUS_")},
				{Name: "detail", Value: consent.GetDetail()},
				{Name: "for", Value: named(consent.GetAddress())},
				{Name: "app", Value: consent.GetAppId()},
				{Name: "expires", Value: render.Time(consent.GetExpiresAt())},
				{Name: "grant", Value: consent.GetGrantId()},
			})
		})
	}
}

// open reports whether a consent may still change.
func open(s holdfastv1.ConsentStatus) bool {
	switch s {
	case holdfastv1.ConsentStatus_CONSENT_STATUS_PENDING,
		holdfastv1.ConsentStatus_CONSENT_STATUS_AT_PROVIDER,
		holdfastv1.ConsentStatus_CONSENT_STATUS_EXCHANGING,
		holdfastv1.ConsentStatus_CONSENT_STATUS_NEEDS_CONFIRMATION:
		return true
	}
	return false
}
