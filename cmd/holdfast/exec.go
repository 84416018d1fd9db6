package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/cmd/holdfast/job"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const execHelp = `Run a command that finds an access token in its environment:

  HOLDFAST_ACCESS_TOKEN   the token; send it as "Authorization: Bearer"
  HOLDFAST_EXPIRES_AT     when it ends, e.g. 2026-03-04T15:00:00Z
  HOLDFAST_GENERATION     its generation, for "token report"
  HOLDFAST_API_BASE_URL   base URL of the site's API, if the site is known
  HOLDFAST_CLOUD_ID       id of that site
  HOLDFAST_GRANT_ID       id of the grant

--prefix puts another word in place of HOLDFAST, for commands that need several.

An environment never changes: the token ends, within an hour at Atlassian and as early as
in --min-ttl, and the command would have to be run anew. For one that runs for longer
there is --as-file: HOLDFAST_ACCESS_TOKEN_FILE names a file with the token and nothing
else, which is replaced before the token ends; read it for each use. The file has mode 0600
in a directory of its own, in memory where there is XDG_RUNTIME_DIR, and is removed when
the command has ended (not if this program is killed by SIGKILL). It is not there while
there is no token, and why stands on standard error.

The command takes the place of this program; with --as-file it runs below it, which
passes on signals. Ctrl-C and Ctrl-\ a terminal sends to both, and so, in its foreground,
SIGINT and SIGQUIT are not passed on once more: a program that ends the command from
outside sends SIGTERM. The exit code is the command's: 127 if there is none of that name, 126
if it can not be run, 128 and the signal's number if a signal ended it. If there is no
token the command is not run, and the exit codes are those of "holdfast --help".`

func newExec(io streams) *cobra.Command {
	c := newCall(io, formTable)
	request := &tokenRequest{}
	var prefix string
	var asFile bool
	cmd := &cobra.Command{
		Use:   "exec GRANT [flags] -- COMMAND [ARGUMENT...]",
		Short: "Run a command with an access token in its environment",
		Long:  execHelp,
		Example: `  holdfast exec acme/automation/jira -- ./nightly-report.sh
  holdfast exec acme/automation/jira --as-file --purpose sync -- python3 sync.py`,
		Args:              grantAndCommand,
		ValidArgsFunction: c.completeGrant,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := job.CheckPrefix(prefix); err != nil {
				return usageError{err}
			}
			return c.onGrant(func(ctx context.Context, conn grpc.ClientConnInterface, grant *holdfastv1.GrantSelector) error {
				request.Grant = grant
				r := runner{c, holdfastv1.NewTokenServiceClient(conn), request.message(), prefix, args[1:]}
				if asFile {
					return r.withFile(ctx)
				}
				return r.withVariables(ctx)
			})(cmd, args[:1])
		},
	}
	request.bind(cmd.Flags())
	cmd.Flags().StringVar(&prefix, "prefix", job.DefaultPrefix, "what the names of the variables begin with")
	cmd.Flags().BoolVar(&asFile, "as-file", false, "the token in a file that is kept fresh, instead of a variable")
	c.settings.Bind(cmd.Flags())
	c.form = formTable
	return cmd
}

// grantAndCommand wants a grant, then a command behind "--", so that none of the
// command's own flags is taken for one of ours.
func grantAndCommand(cmd *cobra.Command, args []string) error {
	switch at := cmd.ArgsLenAtDash(); {
	case len(args) == 0 || at == 0:
		return fmt.Errorf("want %s", grantExample)
	case at < 0 || at == len(args) || args[at] == "":
		return errors.New(`want a command behind "--", e.g. holdfast exec acme/automation/jira -- ./job.sh`)
	case at > 1:
		return fmt.Errorf("unexpected argument %q; want one %s", args[1], grantExample)
	}
	return nil
}

// runner runs one command.
type runner struct {
	c       *call
	tokens  holdfastv1.TokenServiceClient
	request *holdfastv1.GetAccessTokenRequest
	prefix  string
	argv    []string
}

func (r *runner) fetch(ctx context.Context) (*holdfastv1.GetAccessTokenResponse, error) {
	return r.tokens.GetAccessToken(ctx, r.request)
}

// fetchAnew fetches over a connection of its own. Most of an hour lies between two calls, and
// the command may run for weeks: the certificates may have been renewed since, and a connection that
// is kept may be dead, or wait longer and longer to be tried again while the broker is away.
func (r *runner) fetchAnew(ctx context.Context) (*holdfastv1.GetAccessTokenResponse, error) {
	conn, err := r.c.settings.Dial()
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }() // the answer is here, or there is none
	return holdfastv1.NewTokenServiceClient(bounded{conn, r.c}).GetAccessToken(ctx, r.request)
}

func (r *runner) withVariables(ctx context.Context) error {
	t, err := r.fetch(ctx)
	if err != nil {
		return err
	}
	return ended(0, job.Replace(r.argv, job.Environment(os.Environ(), r.prefix, job.Variables(r.prefix, t, ""))))
}

func (r *runner) withFile(ctx context.Context) (err error) {
	sent := time.Now()
	t, err := r.fetch(ctx)
	if err != nil {
		return err
	}
	file, err := job.NewFile()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Remove()) }()
	if err := file.Write(t); err != nil {
		return err
	}
	// Signals end ctx and go on to the command, which decides when it ends; until then
	// it needs tokens.
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	kept := make(chan struct{})
	go func() { defer close(kept); file.Keep(ctx, t, sent, r.fetchAnew, r.c.note) }()
	defer func() { stop(); <-kept }()
	return ended(job.Run(r.argv, job.Environment(os.Environ(), r.prefix, job.Variables(r.prefix, t, file.Path()))))
}

// ended is the exit code of a command as an error.
func ended(code int, err error) error {
	if not, ok := errors.AsType[*job.NotRun](err); ok {
		return exitError{not.Code, not.Error()}
	}
	if err != nil || code == 0 {
		return err
	}
	return exitError{code: code}
}
