package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/cmd/holdfast/client"
	"github.com/holdfast-io/holdfast/cmd/holdfast/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/storage"
)

// The forms of output.
const (
	formTable  = "table"
	formJSON   = "json"
	formToken  = "token"
	formHeader = "header"
	formEnv    = "env"
)

// call is what all verbs share that call a broker.
type call struct {
	settings client.Settings
	io       streams
	form     string
	forms    []string
	format   *pflag.Flag // a second name of --output; nil: there is none
}

// newCall returns the shared part of a verb; the first form is the default one.
func newCall(io streams, forms ...string) *call {
	if len(forms) == 0 {
		forms = []string{formTable, formJSON}
	}
	return &call{io: io, forms: forms}
}

// formFlag is the flag by which the form was chosen.
func (c *call) formFlag() string {
	if c.format != nil && c.format.Changed {
		return "--" + c.format.Name
	}
	return "--output"
}

// bind adds the shared flags to cmd and returns it.
func (c *call) bind(cmd *cobra.Command) *cobra.Command {
	c.settings.Bind(cmd.Flags())
	cmd.Flags().StringVarP(&c.form, "output", "o", c.forms[0], "form of the output: "+strings.Join(c.forms, " or "))
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(c.forms, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	return cmd
}

// do connects and runs f, each call of which is bounded by --timeout.
func (c *call) do(ctx context.Context, f func(ctx context.Context, conn grpc.ClientConnInterface) error) error {
	if !slices.Contains(c.forms, c.form) {
		return usagef("%s %q: want %s", c.formFlag(), c.form, strings.Join(c.forms, " or "))
	}
	if c.settings.Timeout <= 0 {
		return usagef("--timeout %v: want more than 0, e.g. 30s", c.settings.Timeout)
	}
	if err := c.settings.Resolve(); err != nil {
		return usageError{err}
	}
	if dir := c.settings.Instead; dir != "" && isTerminal(c.io.err) {
		c.note("holdfast: the broker is that of the environment (HOLDFAST_ADDR), %s; for that of %s give --dir %[2]s", c.settings.Addr, dir)
	}
	conn, err := c.settings.Dial()
	if err != nil {
		return usageError{err}
	}
	defer func() { _ = conn.Close() }() // nothing is buffered in it
	return f(ctx, bounded{conn, c})
}

// bounded gives each call its own timeout, so that a listing of many pages does
// not run out of time as a whole.
type bounded struct {
	grpc.ClientConnInterface
	c *call
}

// Invoke implements grpc.ClientConnInterface.
func (b bounded) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	ctx, cancel := context.WithTimeout(ctx, b.c.settings.Timeout)
	defer cancel()
	return b.ClientConnInterface.Invoke(ctx, method, args, reply, opts...)
}

// show writes m as JSON if that was asked for, and calls people otherwise.
func (c *call) show(m proto.Message, people func() error) error {
	if c.form == formJSON {
		return render.JSON(c.io.out, m)
	}
	return people()
}

// note tells a person something on standard error; programs ignore it.
func (c *call) note(format string, args ...any) {
	_, _ = fmt.Fprintf(c.io.err, format+"\n", args...) // a note that nobody can read is lost
}

// onGrant is the RunE of a verb about the one grant that its argument names.
func (c *call) onGrant(f func(ctx context.Context, conn grpc.ClientConnInterface, grant *holdfastv1.GrantSelector) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		grant, err := selector(args[0])
		if err != nil {
			return err
		}
		return c.do(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error { return f(ctx, conn, grant) })
	}
}

// selector reads a grant's id or address from the command line.
func selector(text string) (*holdfastv1.GrantSelector, error) {
	if strings.HasPrefix(text, "grt_") && !strings.Contains(text, "/") {
		return &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Id{Id: text}}, nil
	}
	a, err := address(text)
	if err != nil {
		return nil, err
	}
	return &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Address{Address: a}}, nil
}

func address(text string) (*holdfastv1.GrantAddress, error) {
	a, err := storage.ParseAddress(text)
	if err != nil {
		return nil, usageError{err}
	}
	return &holdfastv1.GrantAddress{Tenant: a.Tenant, Subject: a.Subject, Product: a.Product, Name: a.Name}, nil
}

// named shows an address the way people write it.
func named(a *holdfastv1.GrantAddress) string {
	return storage.Address{Tenant: a.GetTenant(), Subject: a.GetSubject(), Product: a.GetProduct(), Name: a.GetName()}.String()
}

// completeGrant proposes the addresses that the caller may draw from. Without
// a reachable broker it proposes nothing, quickly.
func (c *call) completeGrant(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c.io.err = io.Discard // a note would stand in the middle of what somebody types
	var names []string
	err := c.do(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
		answer, err := holdfastv1.NewTokenServiceClient(conn).ListMyGrants(ctx, &holdfastv1.ListMyGrantsRequest{})
		for _, g := range answer.GetGrants() {
			names = append(names, named(g.GetAddress()))
		}
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
