package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// grantExample is what a grant's address looks like.
const grantExample = "GRANT, e.g. acme/automation/jira"

// one wants exactly one argument and says what it is.
func one(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return fmt.Errorf("want %s", what)
		case len(args) > 1:
			return fmt.Errorf("unexpected argument %q; want one %s", args[1], what)
		}
		return nil
	}
}

// none wants no argument. cobra.NoArgs would speak of an unknown command.
func none(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("unexpected argument %q", args[0])
	}
	return nil
}

// verb wants one of the commands below cmd, and proposes what was meant.
func verb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("unknown command %q for %q", args[0], cmd.CommandPath())
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return errors.New(text)
}
