package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/cmd/holdfast/client"
	"github.com/holdfast-io/holdfast/cmd/holdfast/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func newGrantsRevoke(io streams) *cobra.Command {
	c := newCall(io)
	request := &holdfastv1.RevokeGrantRequest{}
	yes := false
	cmd := &cobra.Command{
		Use:   "revoke GRANT",
		Short: "End a grant's family: no call gets a token of it any more",
		Long: `End a grant's family: no call gets a token of it any more. Access tokens that
were handed out live until their expiry. First it says what it would do; it does
that with --yes, or after a "yes" at a terminal.`,
		Args:              one(grantExample),
		ValidArgsFunction: c.completeGrant,
		RunE: func(cmd *cobra.Command, args []string) error {
			grant, err := selector(args[0])
			if err != nil {
				return err
			}
			request.Grant = grant
			return c.do(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				return c.grantsRevoke(ctx, holdfastv1.NewAdminServiceClient(conn), request, yes)
			})
		},
	}
	cmd.Flags().StringVar(&request.Reason, "reason", "", "why, for the audit record")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it without asking")
	return c.bind(cmd)
}

func (c *call) grantsRevoke(ctx context.Context, admin holdfastv1.AdminServiceClient, request *holdfastv1.RevokeGrantRequest, yes bool) error {
	before, err := admin.GetGrant(ctx, &holdfastv1.GetGrantRequest{Grant: request.GetGrant()})
	if err != nil {
		return err
	}
	g := before.GetGrant()
	if g.GetPhase() == holdfastv1.GrantPhase_GRANT_PHASE_REVOKED {
		c.note("%s is already revoked; nothing was done", named(g.GetAddress()))
		return c.show(before, func() error { return nil })
	}
	c.note("this ends the family of %s (%s, generation %d, account %s); only a new consent, after `grants reauth`, brings it back",
		named(g.GetAddress()), phaseOf(g), g.GetGeneration(), render.Clean(g.GetAccountId()))
	if err := confirm(c.io, yes); err != nil {
		return err
	}
	answer, err := admin.RevokeGrant(ctx, request)
	if err != nil {
		return err
	}
	return c.show(answer, func() error {
		return render.Facts(c.io.out, []render.Fact{
			{Name: "grant", Value: named(answer.GetGrant().GetAddress())},
			{Name: "phase", Value: phaseOf(answer.GetGrant())},
			{Name: "at the provider", Value: providerRevocation(answer.GetProviderRevocation())},
			{Name: "last token dies", Value: render.Time(answer.GetLastTokenExpiresAt())},
		})
	})
}

func providerRevocation(r holdfastv1.ProviderRevocation) string {
	switch r {
	case holdfastv1.ProviderRevocation_PROVIDER_REVOCATION_DONE:
		return "revoked"
	case holdfastv1.ProviderRevocation_PROVIDER_REVOCATION_NOT_OFFERED:
		return "offers no revocation; the person can remove the app under Connected apps of the account"
	default:
		return "asked, and not confirmed; to be sure, the person removes the app under Connected apps of the account"
	}
}

// confirm returns nil if the person agrees: by --yes, or by typing it at a
// terminal. Without a terminal it never asks, and never takes silence for a yes.
func confirm(io streams, yes bool) error {
	if yes {
		return nil
	}
	if !isTerminal(io.in) {
		return exitError{client.ExitRefused, "nothing was done; repeat it with --yes"}
	}
	_, _ = fmt.Fprint(io.err, `type "yes" to go on: `) // a person who cannot read it will not type it
	line, _ := bufio.NewReader(io.in).ReadString('\n')
	if strings.TrimSpace(line) != "yes" {
		return exitError{client.ExitRefused, "nothing was done"}
	}
	return nil
}

func isTerminal(r any) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && f.Name() != os.DevNull
}

func newGrantsReauth(io streams) *cobra.Command {
	c := newCall(io)
	cmd := &cobra.Command{
		Use:               "reauth GRANT",
		Short:             "Make a link for a new consent of an existing grant, revoked ones included",
		Args:              one(grantExample),
		ValidArgsFunction: c.completeGrant,
		RunE: func(cmd *cobra.Command, args []string) error {
			grant, err := selector(args[0])
			if err != nil {
				return err
			}
			return c.do(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				answer, err := holdfastv1.NewAdminServiceClient(conn).StartReauth(ctx, &holdfastv1.StartReauthRequest{Grant: grant})
				if err != nil {
					return err
				}
				return c.show(answer, func() error { return c.showLink(answer) })
			})
		},
	}
	return c.bind(cmd)
}

func newGrantsRefresh(io streams) *cobra.Command {
	c := newCall(io)
	cmd := &cobra.Command{
		Use:   "refresh GRANT",
		Short: "Rotate now, which cuts the life of tokens already handed out short",
		Long: `Rotate now, however long the access token still lives, and wait for the outcome.
At Atlassian the access tokens handed out before live for ten more minutes only.`,
		Args:              one(grantExample),
		ValidArgsFunction: c.completeGrant,
		RunE: func(cmd *cobra.Command, args []string) error {
			grant, err := selector(args[0])
			if err != nil {
				return err
			}
			return c.do(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				answer, err := holdfastv1.NewAdminServiceClient(conn).ForceRefresh(ctx, &holdfastv1.ForceRefreshRequest{Grant: grant})
				if err != nil {
					return err
				}
				return c.show(answer, func() error { return render.Facts(c.io.out, grantFacts(answer.GetGrant())) })
			})
		},
	}
	return c.bind(cmd)
}
