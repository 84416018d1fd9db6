package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdfast-io/holdfast/cmd/holdfast/job"
	"github.com/holdfast-io/holdfast/cmd/holdfast/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func newToken(io streams) *cobra.Command {
	return group("token", "Get access tokens, report rejected ones", newTokenGet(io), newTokenReport(io))
}

func newTokenGet(io streams) *cobra.Command {
	c := newCall(io, formToken, formHeader, formEnv, formJSON, formTable)
	request := &tokenRequest{}
	var prefix string
	cmd := &cobra.Command{
		Use:   "get GRANT",
		Short: "Print an access token that is valid now",
		Long: `Print an access token that is valid now, and nothing else, so that a script can
use it in place. --format, or -o, says in which form:

  token   the token alone
  header  the line "Authorization: Bearer TOKEN", e.g. for curl -H @-
  env     export lines for eval in a POSIX shell: HOLDFAST_ACCESS_TOKEN,
          HOLDFAST_EXPIRES_AT and so on, as "holdfast exec --help" lists them
  json    everything that is known about it
  table   the same for people, without the token

A shell does not see that the command in eval "$(...)" failed: it evaluates nothing,
and goes on with what the variables held before. Take the text first, as below.

What stands on a command line, every user of the machine can read: let a token go
through a pipe or the environment.`,
		Example: `  holdfast token get acme/automation/jira --format header | curl -H @- URL
  vars=$(holdfast token get acme/automation/jira --format env) && eval "$vars"`,
		Args:              one(grantExample),
		ValidArgsFunction: c.completeGrant,
		RunE: c.onGrant(func(ctx context.Context, conn grpc.ClientConnInterface, grant *holdfastv1.GrantSelector) error {
			request.Grant = grant
			return c.tokenGet(ctx, conn, request.message(), prefix)
		}),
	}
	request.bind(cmd.Flags())
	cmd.Flags().Uint64Var(&request.IfNotGeneration, "if-not-generation", 0, "the generation that was seen rejected")
	cmd.Flags().StringVar(&prefix, "prefix", job.DefaultPrefix, "what the names of the variables begin with, for --format env")
	c.bind(cmd)
	cmd.Flags().StringVar(&c.form, "format", c.form, "the same as --output")
	c.format = cmd.Flags().Lookup("format")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(c.forms, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return cmd
}

// tokenRequest is what the flags of a verb ask for.
type tokenRequest struct {
	holdfastv1.GetAccessTokenRequest
	minTTL time.Duration
}

func (r *tokenRequest) bind(f *pflag.FlagSet) {
	f.StringVar(&r.Site, "site", "", "cloud id or URL of the site to use it on")
	f.StringArrayVar(&r.RequiredScopes, "scope", nil, "a scope that the token must have; may be repeated")
	f.DurationVar(&r.minTTL, "min-ttl", 0, "time that it must still be valid for; at most the provider's access grace (10m at Atlassian)")
	f.StringVar(&r.Purpose, "purpose", "", "what it is for, for the audit record: 1 to 64 of a-z 0-9 . _ -")
}

func (r *tokenRequest) message() *holdfastv1.GetAccessTokenRequest {
	if r.minTTL != 0 {
		r.MinTtl = durationpb.New(r.minTTL)
	}
	return &r.GetAccessTokenRequest
}

func (c *call) tokenGet(ctx context.Context, conn grpc.ClientConnInterface, request *holdfastv1.GetAccessTokenRequest, prefix string) error {
	if err := job.CheckPrefix(prefix); err != nil {
		return usageError{err}
	}
	t, err := holdfastv1.NewTokenServiceClient(conn).GetAccessToken(ctx, request)
	if err != nil {
		return err
	}
	switch c.form {
	case formToken:
		_, err = fmt.Fprintln(c.io.out, t.GetAccessToken())
		return err
	case formHeader:
		if strings.ContainsFunc(t.GetAccessToken(), unicode.IsControl) {
			return errors.New("the token can not stand in a header: it holds control characters")
		}
		_, err = fmt.Fprintln(c.io.out, "Authorization: Bearer "+t.GetAccessToken())
		return err
	case formEnv:
		_, err = fmt.Fprint(c.io.out, job.Exports(job.Variables(prefix, t, "")))
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
