package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/client"
)

const rootHelp = `Holdfast owns an organisation's Atlassian refresh tokens and hands out
short-lived access tokens.

Try it:      holdfast dev
In service:  holdfast serve --config FILE

Verbs that call a broker find it by --addr, --ca, --cert and --key, by the
environment (HOLDFAST_ADDR, HOLDFAST_CA, HOLDFAST_CERT, HOLDFAST_KEY,
HOLDFAST_TOKEN_FILE, HOLDFAST_SERVER_NAME), or, without any of these, by what a running
"holdfast dev" left in .holdfast here or above. The command line goes before the
environment, --dir too, and the environment before a .holdfast that is found; if that
leads to another broker, a line says so where standard error is a terminal.

A grant is named by its address, tenant/subject/product[/name], or its id.

Exit codes:
  0  done
  1  something broke that should not have: an internal error, a damaged store; or
     "audit verify" or "policy test" found what they look for
  2  wrong use: command line, configuration, request, or a file that they name
  3  refused: not allowed, not found, revoked, a consent is required, not confirmed
  4  unavailable: nothing is wrong with the request; a broker or provider does not
     answer, or a port or store is in use: try again later`

// streams are where a verb reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// usagef is a usageError with a text.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// ranError marks an error that came out of a verb, so that all others are
// known to come from cobra: wrong use.
type ranError struct{ error }

func (e ranError) Unwrap() error { return e.error }

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, io streams) int {
	root := newRoot(io)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	return report(cmd, err, io.err)
}

// report prints what went wrong and says which exit code that is.
func report(cmd *cobra.Command, err error, w io.Writer) int {
	if err == nil {
		return client.ExitOK
	}
	ran, isRan := errors.AsType[ranError](err)
	if !isRan {
		_, _ = fmt.Fprintf(w, "holdfast: %v\n  see: %s --help\n", err, cmd.CommandPath()) // nobody is left to tell
		return client.ExitUsage
	}
	code, message := outcome(ran.error)
	if message != "" {
		_, _ = fmt.Fprintf(w, "holdfast: %s\n", message) // nobody is left to tell
	}
	return code
}

func newRoot(io streams) *cobra.Command {
	root := &cobra.Command{
		Use:           "holdfast",
		Short:         "The one owner of an organisation's Atlassian refresh tokens",
		Long:          rootHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          verb,
		Version:       version(),
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(io.in)
	root.SetOut(io.out)
	root.SetErr(io.err)
	root.AddCommand(
		newToken(io), newExec(io), newConsent(io), newGrants(io), newApps(io), newAudit(io), newStatus(io),
		newServe(io), newDoctor(io), newDev(io), newSim(io), newBackup(io), newRestore(io), newStore(io), newKeys(io), newPolicy(io), newVersion(io),
	)
	root.SetVersionTemplate(versionLine())
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		completion.Args = verb // a shell that is not known is wrong use, too
		completion.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	markRun(root)
	return root
}

// markRun wraps the errors of all verbs in ranError.
func markRun(cmd *cobra.Command) {
	if verb := cmd.RunE; verb != nil {
		cmd.RunE = func(c *cobra.Command, args []string) error {
			if err := verb(c, args); err != nil {
				return ranError{err}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		markRun(sub)
	}
}

// group is a command that only holds others: alone it prints its help, and
// an unknown verb is wrong use instead of being ignored.
func group(use, short string, verbs ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  verb,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(verbs...)
	return cmd
}
