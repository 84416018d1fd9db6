package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/cmd/holdfast/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// ending is one of the two ways to end a quarantine.
type ending struct {
	mode holdfastv1.AdoptMode
	use  string
	// short and long are the help; risk is said before anything is done, with the
	// number of grants; done after it.
	short, long, risk, done string
}

var adopting = ending{
	mode:  holdfastv1.AdoptMode_ADOPT_MODE_ADOPT,
	use:   "adopt",
	short: "End a quarantine: this is the surviving store",
	long: `End the quarantine of all quarantined grants, or of those that match: this is the
surviving store, and its grants may be spent again. "holdfast status" says what was
found about the store. Make sure that no other copy of it runs, or ever will.

A refresh token is spent once. If another copy has rotated a grant since this store
last did, the token here is an old one: the provider forgives it for a few minutes
at most (the leeway), and after that it ends the family. Compare "last exchange"
with when the other copy last ran. Have what it has rotated consented again
first ("holdfast grants reauth"; a new consent takes a grant out of the quarantine),
or leave it out by --tenant and --product.

First it says what it would do; it does that with --yes, or after a "yes" at a terminal.`,
	risk: "this lets %d quarantined grants be spent again. If another copy of the store has rotated one of them since its last exchange, " +
		"the token here was spent: sent after the provider's leeway it ends the family, and a person must consent again. No other copy may run any more",
	done: "%d grants are adopted",
}

var scrubbing = ending{
	mode:  holdfastv1.AdoptMode_ADOPT_MODE_SCRUB,
	use:   "scrub",
	short: "End a quarantine: this is a copy; remove its tokens",
	long: `End the quarantine of all quarantined grants, or of those that match: this is a
copy, and its tokens are another store's to spend. They are removed from the
records of this store, the access tokens with them; nothing is sent to the
provider, so that the other store goes on. To use such a grant here it needs a
consent of its own, best with another app.

Older versions of the records stay in the store's files for a while, sealed by its
key: housekeeping removes most of them later, and nothing says when the last is
gone. Where that is not good enough, stop the broker and delete the directory.

First it says what it would do; it does that with --yes, or after a "yes" at a terminal.`,
	risk: "this removes the tokens of %d quarantined grants from this store; each needs a new consent to be used here. It can not be undone: " +
		"if this is the only store, all of them are lost. Older versions of the records stay in its files, sealed, until housekeeping has rewritten them",
	done: "the tokens of %d grants were removed",
}

func newGrantsAdopt(io streams, e ending) *cobra.Command {
	c := newCall(io)
	request := &holdfastv1.AdoptGrantsRequest{Mode: e.mode}
	yes := false
	cmd := &cobra.Command{
		Use: e.use, Short: e.short, Long: e.long, Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.do(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				return c.grantsAdopt(ctx, holdfastv1.NewAdminServiceClient(conn), request, &e, yes)
			})
		},
	}
	cmd.Flags().StringVar(&request.Tenant, "tenant", "", "only this tenant's")
	cmd.Flags().StringVar(&request.Product, "product", "", "only this product's")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it without asking")
	return c.bind(cmd)
}

func (c *call) grantsAdopt(ctx context.Context, admin holdfastv1.AdminServiceClient, request *holdfastv1.AdoptGrantsRequest, e *ending, yes bool) error {
	request.DryRun = true
	plan, err := admin.AdoptGrants(ctx, request)
	if err != nil {
		return err
	}
	if err := c.show(plan, func() error { return c.showQuarantined(plan) }); err != nil {
		return err
	}
	if narrowed := request.GetTenant() != "" || request.GetProduct() != ""; narrowed && plan.GetCount() == 0 {
		c.note("no quarantined grant matches; nothing was done")
		return nil
	}
	if plan.GetCount() > 0 || !yes {
		c.note(e.risk, plan.GetCount())
	}
	if err := confirm(c.io, yes); err != nil {
		return err
	}
	request.DryRun = false
	answer, err := admin.AdoptGrants(ctx, request)
	if err != nil {
		return err
	}
	c.note(e.done, answer.GetCount())
	return nil
}

func (c *call) showQuarantined(plan *holdfastv1.AdoptGrantsResponse) error {
	rows := make([][]string, len(plan.GetGrants()))
	for i, g := range plan.GetGrants() {
		rows[i] = []string{named(g.GetAddress()), phaseOf(g), render.Time(g.GetLastExchangeAt())}
	}
	if err := render.Table(c.io.out, []string{"GRANT", "PHASE", "LAST EXCHANGE"}, rows); err != nil {
		return err
	}
	if more := plan.GetCount() - uint64(len(rows)); more > 0 {
		_, err := fmt.Fprintf(c.io.out, "and %d more\n", more)
		return err
	}
	return nil
}
