package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdfast-io/holdfast/cmd/holdfast/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func newToken(io streams) *cobra.Command {
	return group("token", "Get access tokens, report rejected ones", newTokenGet(io), newTokenReport(io))
}

func newTokenGet(io streams) *cobra.Command {
	c := newCall(io, formToken, formJSON, formTable)
	request := &holdfastv1.GetAccessTokenRequest{}
	var minTTL time.Duration
	cmd := &cobra.Command{
		Use:   "get GRANT",
		Short: "Print an access token that is valid now",
		Long: `Print an access token that is valid now, and nothing else, so that a script can
use it in place. With -o json everything that is known about it; with -o table
the same for people, without the token.`,
		Example: `  holdfast token get acme/automation/jira
  curl -H "Authorization: Bearer $(holdfast token get acme/automation/jira)" URL`,
		Args:              one(grantExample),
		ValidArgsFunction: c.completeGrant,
		RunE: c.onGrant(func(ctx context.Context, conn grpc.ClientConnInterface, grant *holdfastv1.GrantSelector) error {
			request.Grant = grant
			if minTTL != 0 {
				request.MinTtl = durationpb.New(minTTL)
			}
			return c.tokenGet(ctx, conn, request)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&request.Site, "site", "", "cloud id or URL of the site to use it on")
	f.StringArrayVar(&request.RequiredScopes, "scope", nil, "a scope that the token must have; may be repeated")
	f.DurationVar(&minTTL, "min-ttl", 0, "time that it must still be valid for; at most the provider's access grace (10m at Atlassian)")
	f.Uint64Var(&request.IfNotGeneration, "if-not-generation", 0, "the generation that was seen rejected")
	f.StringVar(&request.Purpose, "purpose", "", "what it is for, for the audit record: 1 to 64 of a-z 0-9 . _ -")
	return c.bind(cmd)
}

func (c *call) tokenGet(ctx context.Context, conn grpc.ClientConnInterface, request *holdfastv1.GetAccessTokenRequest) error {
	t, err := holdfastv1.NewTokenServiceClient(conn).GetAccessToken(ctx, request)
	if err != nil {
		return err
	}
	if c.form == formToken {
		_, err := fmt.Fprintln(c.io.out, t.GetAccessToken())
		return err
	}
	now := t.GetServerTime().AsTime()
	return c.show(t, func() error {
		return render.Facts(c.io.out, []render.Fact{
			{Name: "grant", Value: t.GetGrantId()},
			{Name: "generation", Value: fmt.Sprint(t.GetGeneration())},
			{Name: "expires", Value: render.Until(t.GetExpiresAt(), now)},
			{Name: "guaranteed", Value: render.Until(t.GetGuaranteedUntil(), now)},
			{Name: "refresh", Value: render.Until(t.GetRefreshAfter(), now)},
			{Name: "scopes", Value: strings.Join(t.GetScopes(), " ")},
			{Name: "site", Value: t.GetSite().GetUrl()},
			{Name: "API", Value: t.GetApiBaseUrl()},
			{Name: "token", Value: fmt.Sprintf("%d bytes; -o token prints it", len(t.GetAccessToken()))},
		})
	})
}

func newTokenReport(io streams) *cobra.Command {
	c := newCall(io)
	request := &holdfastv1.ReportRejectedTokenRequest{}
	cmd := &cobra.Command{
		Use:   "report GRANT --generation N --status CODE",
		Short: "Say that the provider's API refused an access token",
		Long: `Say that the provider's API refused an access token. The broker asks the
provider itself; only its refusal permits a rotation.`,
		Args:              one(grantExample),
		ValidArgsFunction: c.completeGrant,
		RunE: c.onGrant(func(ctx context.Context, conn grpc.ClientConnInterface, grant *holdfastv1.GrantSelector) error {
			request.Grant = grant
			answer, err := holdfastv1.NewTokenServiceClient(conn).ReportRejectedToken(ctx, request)
			if err != nil {
				return err
			}
			return c.show(answer, func() error {
				return render.Facts(c.io.out, []render.Fact{{Name: "verdict", Value: render.Enum(answer.GetVerdict(), "TOKEN_VERDICT_")}})
			})
		}),
	}
	cmd.Flags().Uint64Var(&request.Generation, "generation", 0, "generation of the refused token")
	cmd.Flags().Uint32Var(&request.HttpStatus, "status", 0, "HTTP status that the API answered with")
	_, _ = cmd.MarkFlagRequired("generation"), cmd.MarkFlagRequired("status") // both are there
	return c.bind(cmd)
}
