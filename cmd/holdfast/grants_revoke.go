package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/cmd/holdfast/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func newGrantsRevoke(io streams) *cobra.Command {
	c := newCall(io)
	request := &holdfastv1.RevokeGrantRequest{}
	yes, dryRun := false, false
	cmd := &cobra.Command{
		Use:   "revoke GRANT",
		Short: "End a grant's family: no call gets a token of it any more",
		Long: `End a grant's family: no call gets a token of it any more. Then the provider is
asked to end it too, if it offers that. Access tokens that were handed out live
until their expiry: the answer names each by its fingerprint, which the audit
record shows as well, and says when the last one dies.

At the provider, the other grants of the same account and app may end along with
this one; they are listed. Of a revoked grant the provider is asked once more,
unless it has confirmed.

First it says what it would do; it does that with --yes, or after a "yes" at a
terminal. With --dry-run it only says it, and changes nothing.`,
		Args:              one(grantExample),
		ValidArgsFunction: c.completeGrant,
		RunE: c.onGrant(func(ctx context.Context, conn grpc.ClientConnInterface, grant *holdfastv1.GrantSelector) error {
			request.Grant = grant
			return c.grantsRevoke(ctx, holdfastv1.NewAdminServiceClient(conn), request, dryRun, yes)
		}),
	}
	cmd.Flags().StringVar(&request.Reason, "reason", "", "why, for the audit record")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it without asking")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be done and what it would affect; change nothing")
	return c.bind(cmd)
}

func (c *call) grantsRevoke(ctx context.Context, admin holdfastv1.AdminServiceClient, request *holdfastv1.RevokeGrantRequest, dryRun, yes bool) error {
	plan, err := admin.RevokeGrant(ctx, &holdfastv1.RevokeGrantRequest{Grant: request.GetGrant(), DryRun: true})
	if err != nil {
		return err
	}
	g := plan.GetGrant()
	if g.GetPhase() == holdfastv1.GrantPhase_GRANT_PHASE_REVOKED {
		c.note("%s is already revoked; the provider is asked once more, unless it has confirmed", named(g.GetAddress()))
	} else {
		c.note("this ends the family of %s (%s, generation %d, account %s); only a new consent, after `grants reauth`, brings it back",
			named(g.GetAddress()), phaseOf(g), g.GetGeneration(), render.Clean(g.GetAccountId()))
	}
	if n := len(plan.GetAffectedGrants()); n > 0 && !dryRun {
		c.note("at the provider it may end %d other grants of the same account and app; --dry-run lists them", n)
	}
	if dryRun {
		c.note("nothing was done")
		return c.show(plan, func() error { return c.showRevocation(plan, true) })
	}
	if err := confirm(c.io, yes); err != nil {
		return err
	}
	answer, err := admin.RevokeGrant(ctx, request)
	if err != nil {
		return err
	}
	return c.show(answer, func() error { return c.showRevocation(answer, false) })
}

func (c *call) showRevocation(answer *holdfastv1.RevokeGrantResponse, dryRun bool) error {
	dies := render.Time(answer.GetLastTokenExpiresAt())
	if dies == "" {
		dies = "no access token is alive"
	}
	facts := []render.Fact{
		{Name: "grant", Value: named(answer.GetGrant().GetAddress())},
		{Name: "phase", Value: phaseOf(answer.GetGrant())},
		{Name: "at the provider", Value: providerRevocation(answer.GetProviderRevocation(), dryRun)},
		{Name: "last token dies", Value: dies},
	}
	if err := render.Facts(c.io.out, facts); err != nil {
		return err
	}
	if live := answer.GetLiveTokens(); len(live) > 0 {
		rows := make([][]string, len(live))
		for i, t := range live {
			rows[i] = []string{fmt.Sprint(t.GetGeneration()), t.GetFingerprint(), render.Time(t.GetDiesAt())}
		}
		if err := c.section("access tokens that may be alive; nothing but their end, or the provider, ends them:"); err != nil {
			return err
		}
		if err := render.Table(c.io.out, []string{"GEN", "FINGERPRINT", "DEAD AT THE LATEST"}, rows); err != nil {
			return err
		}
	}
	others := answer.GetAffectedGrants()
	if len(others) == 0 {
		return nil
	}
	rows := make([][]string, len(others))
	for i, g := range others {
		rows[i] = []string{named(g.GetAddress()), phaseOf(g), g.GetId()}
	}
	if err := c.section("other grants of the same account and app: ended at the provider, by it or by the person, they end too and need a new consent:"); err != nil {
		return err
	}
	return render.Table(c.io.out, []string{"GRANT", "PHASE", "ID"}, rows)
}

// section begins another part of an answer to people.
func (c *call) section(title string) error {
	_, err := fmt.Fprintf(c.io.out, "\n%s\n", title)
	return err
}

// toBeSure is what works at every provider.
const toBeSure = "the person removes the app under Connected apps of the account (id.atlassian.com, for Atlassian)"

func providerRevocation(r holdfastv1.ProviderRevocation, dryRun bool) string {
	switch r {
	case holdfastv1.ProviderRevocation_PROVIDER_REVOCATION_DONE:
		return "revoked"
	case holdfastv1.ProviderRevocation_PROVIDER_REVOCATION_NOT_OFFERED:
		return "offers no revocation; to end it there, " + toBeSure
	case holdfastv1.ProviderRevocation_PROVIDER_REVOCATION_NOT_ASKED:
		return "not asked, by the app's configuration or since it can not be asked now; to end it there, " + toBeSure
	case holdfastv1.ProviderRevocation_PROVIDER_REVOCATION_UNSPECIFIED:
		if dryRun {
			return "would be asked"
		}
	}
	return "asked, and not confirmed; to be sure, " + toBeSure
}
