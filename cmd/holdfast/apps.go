package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdfast-io/holdfast/cmd/holdfast/client"
	"github.com/holdfast-io/holdfast/cmd/holdfast/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// appExample is what an app is named by.
const appExample = "APP, the id of an app in the configuration"

// mostAskAgain is the contract's maximum.
const mostAskAgain = 90 * 24 * time.Hour

func newApps(io streams) *cobra.Command {
	return group("apps", "List apps, pause and resume them", newAppsList(io), newAppsShow(io), newAppsPause(io), newAppsResume(io))
}

func newAppsList(io streams) *cobra.Command {
	c := newCall(io)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the configured apps and how they fare",
		Args:  none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.do(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				answer, err := holdfastv1.NewAdminServiceClient(conn).ListApps(ctx, &holdfastv1.ListAppsRequest{})
				if err != nil {
					return err
				}
				return c.show(answer, func() error {
					return render.Table(c.io.out, []string{"APP", "PRODUCTS", "ATTEMPTS", "REFUSED", "STATE"}, appRows(answer.GetApps()))
				})
			})
		},
	}
	return c.bind(cmd)
}

func appRows(apps []*holdfastv1.AppStatus) [][]string {
	rows := make([][]string, len(apps))
	for i, a := range apps {
		rows[i] = []string{a.GetId(), strings.Join(a.GetProducts(), ", "), fmt.Sprint(a.GetRecentAttempts()), fmt.Sprint(a.GetRecentRefusals()), appState(a)}
	}
	return rows
}

// appState says in one line what an operator must know about an app.
func appState(a *holdfastv1.AppStatus) string {
	state := "running"
	if a.GetPaused() != "" {
		state = "paused: " + strings.TrimPrefix(a.GetPaused(), "paused ") // "by whom", or why
	}
	if a.GetVerdictsHeld() {
		state += ", verdicts held"
	}
	if a.GetCircuitOpen() {
		state += ", provider fails"
	}
	if a.GetShared() {
		state += " (shared)"
	}
	return state
}

func newAppsShow(io streams) *cobra.Command {
	c := newCall(io)
	cmd := &cobra.Command{
		Use:               "show APP",
		Short:             "Show one app with its newest events",
		Args:              one(appExample),
		ValidArgsFunction: c.completeApp,
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.do(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				answer, err := holdfastv1.NewAdminServiceClient(conn).ListApps(ctx, &holdfastv1.ListAppsRequest{})
				if err != nil {
					return err
				}
				var ids []string
				for _, a := range answer.GetApps() {
					if a.GetId() == args[0] {
						return c.show(a, func() error { return c.showApp(a) })
					}
					ids = append(ids, a.GetId())
				}
				return exitError{client.ExitUsage, fmt.Sprintf("app %q is not configured; configured are %s", args[0], strings.Join(ids, ", "))}
			})
		},
	}
	return c.bind(cmd)
}

func (c *call) showApp(a *holdfastv1.AppStatus) error {
	if err := render.Facts(c.io.out, []render.Fact{
		{Name: "app", Value: a.GetId()},
		{Name: "products", Value: strings.Join(a.GetProducts(), ", ")},
		{Name: "state", Value: appState(a)},
		{Name: "last 5 minutes", Value: fmt.Sprintf("%d attempts, %d of them refused", a.GetRecentAttempts(), a.GetRecentRefusals())},
	}); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(c.io.out); err != nil {
		return err
	}
	rows := make([][]string, len(a.GetEvents()))
	for i, e := range a.GetEvents() {
		rows[i] = []string{render.Time(e.GetOccurredAt()), render.Enum(e.GetType(), "APP_EVENT_TYPE_"), e.GetDetail()}
	}
	return render.Table(c.io.out, []string{"TIME", "EVENT", "DETAIL"}, rows)
}

func newAppsPause(io streams) *cobra.Command {
	c := newCall(io)
	request := &holdfastv1.PauseAppRequest{}
	cmd := &cobra.Command{
		Use:   "pause APP",
		Short: "Stop all spending for an app until it is resumed",
		Long: `Stop all spending for an app: on every replica within 15 seconds, over restarts,
until "holdfast apps resume". Access tokens that are still valid are served on;
when they end, callers get APP_PAUSED. A rotation whose answer was lost is still
repeated, inside the time in which the provider forgives that: it spends nothing
new, and its family would end otherwise. No family ends by a pause, unless it lasts
longer than the provider keeps an idle one.`,
		Args:              one(appExample),
		ValidArgsFunction: c.completeApp,
		RunE: func(cmd *cobra.Command, args []string) error {
			request.AppId = args[0]
			return c.do(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				answer, err := holdfastv1.NewAdminServiceClient(conn).PauseApp(ctx, request)
				if err != nil {
					return err
				}
				return c.show(answer, func() error { return c.showApp(answer.GetApp()) })
			})
		},
	}
	cmd.Flags().StringVar(&request.Reason, "reason", "", "why, for callers and the audit record")
	return c.bind(cmd)
}

func newAppsResume(io streams) *cobra.Command {
	c := newCall(io)
	var within time.Duration
	cmd := &cobra.Command{
		Use:   "resume APP",
		Short: "End the pause of an app, an operator's or the broker's own, and try it at once",
		Long: `End the pause of an app, an operator's or the broker's own, and try it at once.
With --ask-again-lapsed the provider is asked once more about each family of the
app that lapsed within that time because the provider refused it: after an
incident at the provider, or a mistake in the app's registration there, they come
back without a new consent. A family that is refused again lapses again.`,
		Example:           "  holdfast apps resume jira --ask-again-lapsed 24h",
		Args:              one(appExample),
		ValidArgsFunction: c.completeApp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if within < 0 || within > mostAskAgain {
				return usagef("--ask-again-lapsed %v: want 0s to %v (90 days)", within, mostAskAgain)
			}
			request := &holdfastv1.ResumeAppRequest{AppId: args[0]}
			if within > 0 {
				request.AskAgainLapsedWithin = durationpb.New(within)
			}
			return c.do(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				answer, err := holdfastv1.NewAdminServiceClient(conn).ResumeApp(ctx, request)
				if err != nil {
					return err
				}
				if within > 0 {
					c.note("the provider is asked again about %d lapsed families; `holdfast grants list --phase suspected` shows those still open", answer.GetAskedAgain())
				}
				return c.show(answer, func() error { return c.showApp(answer.GetApp()) })
			})
		},
	}
	cmd.Flags().DurationVar(&within, "ask-again-lapsed", 0, "ask the provider again about families that lapsed at most this long ago because it refused them; 0: about none")
	return c.bind(cmd)
}

// completeApp proposes the ids of the configured apps.
func (c *call) completeApp(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var ids []string
	err := c.do(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
		answer, err := holdfastv1.NewAdminServiceClient(conn).ListApps(ctx, &holdfastv1.ListAppsRequest{})
		for _, a := range answer.GetApps() {
			ids = append(ids, a.GetId())
		}
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return ids, cobra.ShellCompDirectiveNoFileComp
}
