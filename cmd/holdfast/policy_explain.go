package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/cmd/holdfast/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func newPolicyExplain(io streams) *cobra.Command {
	c := newCall(io)
	request := &holdfastv1.ExplainAccessRequest{}
	var kind, grant, at string
	cmd := &cobra.Command{
		Use:   "explain --caller NAME --action ACTION [--grant GRANT]",
		Short: "Ask a broker whether a call is allowed, by which rules and on which facts",
		Example: "  holdfast policy explain --caller ci.example.com --action draw --grant acme/automation/jira\n" +
			"  holdfast policy explain --caller op --action operate --time 2026-03-07T03:00:00Z",
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			value, known := holdfastv1.CallerKind_value["CALLER_KIND_"+strings.ToUpper(kind)]
			if !known || value == 0 {
				return usagef("--kind %q: want x509, spiffe, jwt or proxy", kind)
			}
			request.CallerKind = holdfastv1.CallerKind(value)
			if grant != "" {
				a, err := address(grant)
				if err != nil {
					return err
				}
				request.Grant = a
			}
			if at != "" {
				moment, err := time.Parse(time.RFC3339, at)
				if err != nil {
					return usagef("--time %q: want a form such as 2026-03-04T15:00:00Z", at)
				}
				request.Time = timestamppb.New(moment)
			}
			return c.do(cmd.Context(), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				answer, err := holdfastv1.NewAdminServiceClient(conn).ExplainAccess(ctx, request)
				if err != nil {
					return err
				}
				return c.show(answer, func() error { return explainAccess(io, answer) })
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&request.Caller, "caller", "", "name of the caller, as the audit record shows it")
	f.StringVar(&kind, "kind", "x509", "how it proves who it is: x509, spiffe, jwt or proxy")
	f.StringArrayVar(&request.Groups, "group", nil, "a group of its identity; may be repeated")
	f.StringVar(&request.Action, "action", "", "what it wants to do: "+actionNames())
	f.StringVar(&grant, "grant", "", "address of the grant; none: the action is about the broker")
	f.StringVar(&request.Site, "site", "", "site asked for")
	f.StringArrayVar(&request.Scopes, "scope", nil, "a scope asked for; may be repeated")
	f.StringVar(&request.Purpose, "purpose", "", "purpose of the call")
	f.StringVar(&at, "time", "", "time of the call; default: now")
	_ = cmd.MarkFlagRequired("caller") // it is there
	_ = cmd.MarkFlagRequired("action") // likewise
	return c.bind(cmd)
}

func actionNames() string {
	var names []string
	for _, a := range policy.Actions() {
		names = append(names, string(a))
	}
	return strings.Join(names, ", ")
}

// explainAccess shows a decision to people.
func explainAccess(io streams, a *holdfastv1.ExplainAccessResponse) error {
	facts := []render.Fact{{Name: "decision", Value: decided(a.GetAllowed(), a.GetRules())}}
	if s := a.GetShadow(); s != nil {
		facts = append(facts, render.Fact{Name: "shadow", Value: decided(s.GetAllowed(), s.GetRules())})
	}
	for _, e := range a.GetErrors() {
		facts = append(facts, render.Fact{Name: "failed", Value: e})
	}
	facts = append(facts, render.Fact{Name: "version", Value: a.GetPolicyVersion()})
	if err := render.Facts(io.out, facts); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(io.out, "\nwhat the rules could read"); err != nil {
		return err
	}
	facts = facts[:0]
	for _, f := range a.GetFacts() {
		facts = append(facts, render.Fact{Name: "  " + f.GetName(), Value: f.GetValue()})
	}
	return render.Facts(io.out, facts)
}

func decided(allowed bool, rules []string) string {
	word := "deny"
	if allowed {
		word = "allow"
	}
	if len(rules) == 0 {
		return word + ", since no rule allows it"
	}
	return word + ", by " + strings.Join(rules, ", ")
}
