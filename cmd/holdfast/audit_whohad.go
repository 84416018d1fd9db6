package main

import (
	"context"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-io/holdfast/cmd/holdfast/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// mostToken in bytes, as the contract has it.
const mostToken = 65536

// whoHadFlags are the flags of audit who-had.
type whoHadFlags struct {
	tokenFile, fingerprint, grant string
	since                         time.Duration
	limit                         int32
}

func newAuditWhoHad(io streams) *cobra.Command {
	c, f := newCall(io), &whoHadFlags{}
	cmd := &cobra.Command{
		Use:   "who-had (--leaked FILE | --fingerprint TEXT | --grant GRANT)",
		Short: "List who was handed an access token, and how long it lives",
		Long: `List who was handed an access token, or any token of a grant, newest first, and until
when each is alive at the latest. The token goes to the broker and is recorded nowhere:
the audit record knows it by its fingerprint. A long record takes its time: give
--timeout. "holdfast grants revoke" ends what should not live on.`,
		Example: "  holdfast audit who-had --leaked leaked.txt\n  holdfast audit who-had --grant acme/automation/jira --since 24h",
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			request, err := f.request(io.in)
			if err != nil {
				return err
			}
			return c.do(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				answer, err := holdfastv1.NewAdminServiceClient(conn).WhoHad(ctx, request)
				if err != nil {
					return err
				}
				return c.show(answer, func() error { return c.showHandOuts(answer) })
			})
		},
	}
	cmd.Flags().StringVar(&f.tokenFile, "leaked", "", "file that holds the token, - for standard input")
	cmd.Flags().StringVar(&f.fingerprint, "fingerprint", "", "fingerprint of the token, as the audit record shows it")
	cmd.Flags().StringVar(&f.grant, "grant", "", "address or id of a grant")
	cmd.Flags().DurationVar(&f.since, "since", 0, "only hand-outs at most this long ago; 0: as far back as the record goes")
	cmd.Flags().Int32Var(&f.limit, "limit", 100, "most hand-outs to list, up to 1000")
	cmd.MarkFlagsOneRequired("leaked", "fingerprint", "grant")
	cmd.MarkFlagsMutuallyExclusive("leaked", "fingerprint", "grant")
	return c.bind(cmd)
}

func (f *whoHadFlags) request(stdin io.Reader) (*holdfastv1.WhoHadRequest, error) {
	r := &holdfastv1.WhoHadRequest{Limit: f.limit}
	if f.since < 0 {
		return nil, usagef("--since %v: want how long ago, e.g. 24h", f.since)
	}
	if f.since > 0 {
		r.Since = timestamppb.New(time.Now().Add(-f.since))
	}
	switch {
	case f.grant != "":
		g, err := selector(f.grant)
		if err != nil {
			return nil, err
		}
		r.Token = &holdfastv1.WhoHadRequest_Grant{Grant: g}
	case f.fingerprint != "":
		r.Token = &holdfastv1.WhoHadRequest_Fingerprint{Fingerprint: f.fingerprint}
	default:
		token, err := readToken(f.tokenFile, stdin)
		if err != nil {
			return nil, err
		}
		r.Token = &holdfastv1.WhoHadRequest_AccessToken{AccessToken: token}
	}
	return r, nil
}

// readToken never puts what it read into an error.
func readToken(name string, stdin io.Reader) (string, error) {
	source := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", usageError{err}
		}
		defer func() { _ = f.Close() }() // only read
		source = f
	}
	text, err := io.ReadAll(io.LimitReader(source, mostToken+2))
	if err != nil {
		return "", usageError{err}
	}
	token := strings.TrimSpace(string(text))
	if token == "" || len(token) > mostToken {
		return "", usagef("--leaked %s holds no access token: want 1 to %d bytes", name, mostToken)
	}
	return token, nil
}

func (c *call) showHandOuts(a *holdfastv1.WhoHadResponse) error {
	rows := make([][]string, len(a.GetHandOuts()))
	for i, h := range a.GetHandOuts() {
		alive := "dead"
		if h.GetAliveUntil().AsTime().After(time.Now()) {
			alive = "until " + render.Time(h.GetAliveUntil())
		}
		rows[i] = []string{render.Time(h.GetHandedOutAt()), h.GetCaller(), render.Enum(h.GetCallerKind(), "CALLER_KIND_"), h.GetGrant(),
			h.GetPurpose(), h.GetRule(), h.GetRequestId(), h.GetFingerprint(), alive}
	}
	if err := render.Table(c.io.out, []string{"TIME", "CALLER", "KIND", "GRANT", "PURPOSE", "RULE", "REQUEST", "TOKEN", "ALIVE"}, rows); err != nil {
		return err
	}
	if len(rows) == 0 {
		c.note("nobody was handed it, as far as the record was searched")
	}
	if a.GetSearchedFrom() != nil {
		c.note("the record was searched back to %s; nothing is known of before", render.Time(a.GetSearchedFrom()))
	}
	if a.GetMore() {
		c.note("there is more: give a greater --limit, or --since")
	}
	return nil
}
