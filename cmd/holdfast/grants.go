package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/cmd/holdfast/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func newGrants(io streams) *cobra.Command {
	return group("grants", "List grants and act on them",
		newGrantsList(io), newGrantsShow(io), newGrantsRevoke(io), newGrantsPurge(io), newGrantsReauth(io), newGrantsRefresh(io),
		newGrantsAdopt(io, adopting), newGrantsAdopt(io, scrubbing))
}

// pageSize of the calls behind a listing, the contract's maximum.
const pageSize = 1000

func newGrantsList(io streams) *cobra.Command {
	c := newCall(io)
	request := &holdfastv1.ListGrantsRequest{}
	var mine bool
	var phase string
	var limit int
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List grants: all of them for an operator, or those that this caller may draw from",
		Example: "  holdfast grants list --tenant acme --phase lapsed\n  holdfast grants list --mine -o json",
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			value, err := parsePhase(phase)
			if err != nil {
				return err
			}
			if mine && (request.Tenant != "" || request.Product != "" || phase != "") {
				return usagef("--mine has no filters; leave out --tenant, --product and --phase")
			}
			if limit < 0 {
				return usagef("--limit %d: want 0 (all) or more", limit)
			}
			request.Phase = value
			return c.do(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				return c.grantsList(ctx, conn, request, mine, limit)
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&mine, "mine", false, "the grants that this caller may draw tokens from; needs no admin right")
	f.StringVar(&request.Tenant, "tenant", "", "only this tenant's")
	f.StringVar(&request.Product, "product", "", "only this product's")
	f.StringVar(&phase, "phase", "", "only in this phase: "+strings.Join(phases(), ", "))
	f.IntVar(&limit, "limit", 100, "most grants to list; 0: all")
	f.StringVar(&request.PageToken, "page-token", "", "go on where a listing with -o json ended (nextPageToken)")
	_ = cmd.RegisterFlagCompletionFunc("phase", cobra.FixedCompletions(phases(), cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return c.bind(cmd)
}

// page is one page of either listing.
type page interface {
	GetGrants() []*holdfastv1.Grant
	GetNextPageToken() string
}

func (c *call) grantsList(ctx context.Context, conn grpc.ClientConnInterface, request *holdfastv1.ListGrantsRequest, mine bool, limit int) error {
	all := &holdfastv1.ListGrantsResponse{NextPageToken: request.GetPageToken()}
	for {
		request.PageToken, request.PageSize = all.GetNextPageToken(), pageSize
		if limit > 0 {
			request.PageSize = int32(min(pageSize, limit-len(all.GetGrants())))
		}
		p, err := listPage(ctx, conn, request, mine)
		if err != nil {
			return err
		}
		all.Grants, all.NextPageToken = append(all.Grants, p.GetGrants()...), p.GetNextPageToken()
		if all.GetNextPageToken() == "" || limit > 0 && len(all.GetGrants()) >= limit {
			break
		}
	}
	return c.show(all, func() error {
		slices.SortStableFunc(all.GetGrants(), func(a, b *holdfastv1.Grant) int { return strings.Compare(named(a.GetAddress()), named(b.GetAddress())) })
		if err := render.Table(c.io.out, []string{"GRANT", "PHASE", "GEN", "ACCOUNT", "SITES", "CONSENTED", "ENDS", "ID"}, grantRows(all.GetGrants())); err != nil {
			return err
		}
		if all.GetNextPageToken() != "" {
			c.note("there are more, in the order of ids; --limit 0 lists all")
		}
		return nil
	})
}

func listPage(ctx context.Context, conn grpc.ClientConnInterface, request *holdfastv1.ListGrantsRequest, mine bool) (page, error) {
	if mine {
		return holdfastv1.NewTokenServiceClient(conn).ListMyGrants(ctx, &holdfastv1.ListMyGrantsRequest{
			PageSize: request.GetPageSize(), PageToken: request.GetPageToken(),
		})
	}
	return holdfastv1.NewAdminServiceClient(conn).ListGrants(ctx, request)
}

func grantRows(grants []*holdfastv1.Grant) [][]string {
	rows := make([][]string, len(grants))
	for i, g := range grants {
		var sites []string
		for _, s := range g.GetSites() {
			sites = append(sites, s.GetName())
		}
		rows[i] = []string{
			named(g.GetAddress()), phaseOf(g), fmt.Sprint(g.GetGeneration()), g.GetAccountId(),
			strings.Join(sites, ", "), render.Time(g.GetConsentedAt()), nextEnd(g), g.GetId(),
		}
	}
	return rows
}

// phaseOf shows the phase with what an operator must know about it.
func phaseOf(g *holdfastv1.Grant) string {
	text := render.Enum(g.GetPhase(), "GRANT_PHASE_")
	if g.GetLapseReason() != holdfastv1.LapseReason_LAPSE_REASON_UNSPECIFIED {
		text += " (" + render.Enum(g.GetLapseReason(), "LAPSE_REASON_") + ")"
	}
	if g.GetInDoubt() {
		text += ", in doubt"
	}
	return text
}

func phases() []string {
	var names []string
	for n := int32(1); n < int32(len(holdfastv1.GrantPhase_name)); n++ {
		names = append(names, render.Enum(holdfastv1.GrantPhase(n), "GRANT_PHASE_"))
	}
	return names
}

func parsePhase(text string) (holdfastv1.GrantPhase, error) {
	if text == "" {
		return holdfastv1.GrantPhase_GRANT_PHASE_UNSPECIFIED, nil
	}
	n, ok := holdfastv1.GrantPhase_value["GRANT_PHASE_"+strings.ToUpper(text)]
	if !ok || n == 0 {
		return 0, usagef("--phase %q: want one of %s", text, strings.Join(phases(), ", "))
	}
	return holdfastv1.GrantPhase(n), nil
}

func newGrantsShow(io streams) *cobra.Command {
	c := newCall(io)
	cmd := &cobra.Command{
		Use:               "show GRANT",
		Short:             "Show one grant with its newest events",
		Args:              one(grantExample),
		ValidArgsFunction: c.completeGrant,
		RunE: c.onGrant(func(ctx context.Context, conn grpc.ClientConnInterface, grant *holdfastv1.GrantSelector) error {
			answer, err := holdfastv1.NewAdminServiceClient(conn).GetGrant(ctx, &holdfastv1.GetGrantRequest{Grant: grant})
			if err != nil {
				return err
			}
			return c.show(answer, func() error { return c.showGrant(answer) })
		}),
	}
	return c.bind(cmd)
}

func (c *call) showGrant(answer *holdfastv1.GetGrantResponse) error {
	if err := render.Facts(c.io.out, grantFacts(answer.GetGrant())); err != nil {
		return err
	}
	rows := make([][]string, len(answer.GetEvents()))
	for i, e := range answer.GetEvents() {
		rows[i] = []string{
			render.Time(e.GetOccurredAt()), render.Enum(e.GetType(), "GRANT_EVENT_TYPE_"),
			fmt.Sprint(e.GetGeneration()), fmt.Sprint(e.GetFence()), eventDetail(e),
		}
	}
	if _, err := fmt.Fprintln(c.io.out); err != nil {
		return err
	}
	return render.Table(c.io.out, []string{"TIME", "EVENT", "GEN", "FENCE", "DETAIL"}, rows)
}

func grantFacts(g *holdfastv1.Grant) []render.Fact {
	facts := []render.Fact{
		{Name: "grant", Value: named(g.GetAddress())},
		{Name: "id", Value: g.GetId()},
		{Name: "phase", Value: phaseOf(g)},
		{Name: "app", Value: g.GetAppId()},
		{Name: "account", Value: g.GetAccountId()},
		{Name: "generation", Value: fmt.Sprint(g.GetGeneration())},
		{Name: "scopes", Value: strings.Join(g.GetScopes(), " ")},
	}
	for _, s := range g.GetSites() {
		facts = append(facts, render.Fact{Name: "site", Value: s.GetName() + "  " + s.GetUrl() + "  " + s.GetCloudId()})
	}
	facts = append(facts,
		render.Fact{Name: "consented", Value: render.Time(g.GetConsentedAt())},
		render.Fact{Name: "last exchange", Value: render.Time(g.GetLastExchangeAt())},
		render.Fact{Name: "access token", Value: render.Time(g.GetAccessExpiresAt())},
		render.Fact{Name: "not before", Value: render.Time(g.GetNextAttemptAt())},
		render.Fact{Name: "idle limit", Value: deadlineFact(g.GetIdleDeadline(), g.GetIdleDeadlineSource())},
		render.Fact{Name: "end at latest", Value: deadlineFact(g.GetAbsoluteDeadline(), g.GetAbsoluteDeadlineSource())},
	)
	return append(facts, relatedFacts(g.GetRelatedGrantIds())...)
}
