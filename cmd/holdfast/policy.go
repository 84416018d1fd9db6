package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/cmd/holdfast/client"
	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/cmd/holdfast/render"
)

func newPolicy(io streams) *cobra.Command {
	return group("policy", "Check and test policies, and ask why a call is allowed",
		newPolicyCheck(io), newPolicyTest(io), newPolicyExplain(io), newPolicySchema(io))
}

func newPolicySchema(io streams) *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the Cedar schema that policies are checked against",
		Args:  none,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprint(io.out, policy.Schema())
			return err
		},
	}
}

func newPolicyCheck(io streams) *cobra.Command {
	file := ""
	cmd := &cobra.Command{
		Use:   "check [FILE|DIRECTORY]...",
		Short: "Check policy files, all problems at once, without a broker",
		Example: "  holdfast policy check policies/\n" +
			"  holdfast policy check --config holdfast.yaml",
		RunE: func(_ *cobra.Command, paths []string) error {
			if (file == "") == (len(paths) == 0) {
				return usagef("name policy files, or a configuration by --config")
			}
			options, err := policyOptions(file, paths)
			if err != nil {
				return usageError{err}
			}
			set, err := policy.Load(options)
			if err != nil {
				return usageError{err}
			}
			_, err = fmt.Fprintf(io.out, "good: version %s\n", set.Version())
			return err
		},
	}
	cmd.Flags().StringVar(&file, "config", "", "check what this configuration puts in force")
	return cmd
}

// policyOptions are what a configuration puts in force, or the files at paths alone.
func policyOptions(file string, paths []string) (policy.Options, error) {
	if file == "" {
		sources, err := policy.ReadFiles(paths...)
		return policy.Options{Sources: sources}, err
	}
	c, err := config.LoadPolicy(file)
	if err != nil {
		return policy.Options{}, err
	}
	return c.PolicyOptions()
}

func newPolicyTest(io streams) *cobra.Command {
	file := ""
	var paths []string
	cmd := &cobra.Command{
		Use:   "test FILE",
		Short: "Ask policies about the cases in a file, without a broker",
		Long: `Ask policies about the cases in a file, without a broker: for a pipeline. The
file names its policies itself (policies:), or they come from --policy or --config.

  policies: [team.cedar]
  cases:
    - name: the team draws its own tokens
      caller: ci.example.com
      groups: [team-acme]
      action: draw
      grant: acme/automation/jira
      want: allow
      rule: team-acme-draws

A case has caller, kind, groups, action, grant, scopes, purpose, site, time, want and
rule. The exit code is 1 if a case fails, 2 if a file cannot be used.`,
		Args: one("FILE, the cases"),
		RunE: func(_ *cobra.Command, args []string) error { return testPolicy(io, args[0], file, paths) },
	}
	cmd.Flags().StringVar(&file, "config", "", "test what this configuration puts in force, its callers included")
	cmd.Flags().StringArrayVar(&paths, "policy", nil, "test this file, or the files of this directory; may be repeated")
	return cmd
}

func testPolicy(io streams, name, configFile string, paths []string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return usageError{err}
	}
	cases, err := policy.ParseCases(name, text)
	if err != nil {
		return usageError{err}
	}
	if configFile == "" && len(paths) == 0 {
		for _, p := range cases.Policies {
			if !filepath.IsAbs(p) {
				p = filepath.Join(filepath.Dir(name), p)
			}
			paths = append(paths, p)
		}
	}
	if configFile == "" && len(paths) == 0 {
		return usagef("%s names no policies; add policies: to it, or give --policy or --config", name)
	}
	options, err := policyOptions(configFile, paths)
	if err != nil {
		return usageError{err}
	}
	if configFile == "" {
		options.Groups = cases.Groups
	}
	set, err := policy.Load(options)
	if err != nil {
		return usageError{err}
	}
	return showResults(io, cases.Run(set))
}

func showResults(io streams, results []policy.Result) error {
	rows := make([][]string, len(results))
	failed := 0
	for i, r := range results {
		mark := "ok"
		if !r.Passed {
			mark = "FAILED"
			failed++
		}
		want := r.Case.Want
		if r.Case.Rule != "" {
			want += " by " + r.Case.Rule
		}
		rows[i] = []string{mark, r.Case.Name, want, r.Got.Verdict(), strings.Join(append(r.Got.Rules, r.Got.Errors...), ", ")}
	}
	if err := render.Table(io.out, []string{"", "CASE", "WANT", "GOT", "BY"}, rows); err != nil {
		return err
	}
	if failed > 0 {
		return exitError{client.ExitInternal, fmt.Sprintf("%d of %d cases failed", failed, len(results))}
	}
	return nil
}
