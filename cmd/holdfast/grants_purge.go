package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/cmd/holdfast/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func newGrantsPurge(io streams) *cobra.Command {
	c := newCall(io)
	request := &holdfastv1.PurgeGrantRequest{}
	yes, dryRun := false, false
	cmd := &cobra.Command{
		Use:   "purge GRANT",
		Short: "Delete a revoked or lapsed grant with its journal",
		Long: `Delete a revoked or lapsed grant: its record, its journal and its consents. Then
the store's files are rewritten, so that nothing of it is left in them; the answer
says whether that is done already. Backups keep what they hold of it, sealed, until
you delete them. The audit record stays as it is.

It can not be undone. Whoever consents for the address next, of whatever account,
makes a new grant. Nothing is sent to the provider.

First it says what it would do; it does that with --yes, or after a "yes" at a
terminal. With --dry-run it only says it, and changes nothing.`,
		Args:              one(grantExample),
		ValidArgsFunction: c.completeGrant,
		RunE: c.onGrant(func(ctx context.Context, conn grpc.ClientConnInterface, grant *holdfastv1.GrantSelector) error {
			request.Grant = grant
			return c.grantsPurge(ctx, holdfastv1.NewAdminServiceClient(conn), request, dryRun, yes)
		}),
	}
	cmd.Flags().StringVar(&request.Reason, "reason", "", "why, for the audit record")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it without asking")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be deleted; change nothing")
	return c.bind(cmd)
}

func (c *call) grantsPurge(ctx context.Context, admin holdfastv1.AdminServiceClient, request *holdfastv1.PurgeGrantRequest, dryRun, yes bool) error {
	plan, err := admin.PurgeGrant(ctx, &holdfastv1.PurgeGrantRequest{Grant: request.GetGrant(), DryRun: true})
	if err != nil {
		return err
	}
	g := plan.GetGrant()
	c.note("this deletes %s (%s, generation %d, account %s) and %d entries of its journal; it can not be undone",
		named(g.GetAddress()), phaseOf(g), g.GetGeneration(), render.Clean(g.GetAccountId()), plan.GetEvents())
	if dryRun {
		c.note("nothing was done")
		return c.show(plan, func() error { return c.showPurge(plan, "would be rewritten without it") })
	}
	if err := confirm(c.io, yes); err != nil {
		return err
	}
	answer, err := admin.PurgeGrant(ctx, request)
	if err != nil {
		return err
	}
	left := "rewritten; nothing of it is left in them"
	if !answer.GetCollected() {
		left = "still hold sealed remains; the broker goes on rewriting them"
	}
	return c.show(answer, func() error { return c.showPurge(answer, left) })
}

func (c *call) showPurge(answer *holdfastv1.PurgeGrantResponse, files string) error {
	return render.Facts(c.io.out, []render.Fact{
		{Name: "grant", Value: named(answer.GetGrant().GetAddress())},
		{Name: "journal", Value: fmt.Sprintf("%d entries", answer.GetEvents())},
		{Name: "the store's files", Value: files},
		{Name: "backups", Value: "keep what they hold of it, sealed, until you delete them"},
	})
}
