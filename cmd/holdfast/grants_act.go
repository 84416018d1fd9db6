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
		RunE: c.onGrant(func(ctx context.Context, conn grpc.ClientConnInterface, grant *holdfastv1.GrantSelector) error {
			answer, err := holdfastv1.NewAdminServiceClient(conn).StartReauth(ctx, &holdfastv1.StartReauthRequest{Grant: grant})
			if err != nil {
				return err
			}
			return c.show(answer, func() error { return c.showLink(answer) })
		}),
	}
	return c.bind(cmd)
}

func newGrantsRefresh(io streams) *cobra.Command {
	c := newCall(io)
	cmd := &cobra.Command{
		Use:   "refresh GRANT",
		Short: "Rotate now, which cuts the life of tokens already handed out short",
		Long: `Rotate now, however long the access token still lives, and wait for the outcome.
At Atlassian the access tokens handed out before live for ten more minutes only.
It does not ask first: --yes changes nothing, and is taken so that scripts may give
it here as to the verbs that ask.`,
		Args:              one(grantExample),
		ValidArgsFunction: c.completeGrant,
		RunE: c.onGrant(func(ctx context.Context, conn grpc.ClientConnInterface, grant *holdfastv1.GrantSelector) error {
			answer, err := holdfastv1.NewAdminServiceClient(conn).ForceRefresh(ctx, &holdfastv1.ForceRefreshRequest{Grant: grant})
			if err != nil {
				return err
			}
			return c.show(answer, func() error { return render.Facts(c.io.out, grantFacts(answer.GetGrant())) })
		}),
	}
	cmd.Flags().Bool("yes", false, "do it without asking, which it does anyway")
	return c.bind(cmd)
}
