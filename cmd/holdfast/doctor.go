package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/client"
	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/cmd/holdfast/doctor"
	"github.com/holdfast-io/holdfast/cmd/holdfast/render"
)

func newDoctor(io streams) *cobra.Command {
	file, form, strict := "", formTable, false
	cmd := &cobra.Command{
		Use:   "doctor --config FILE",
		Short: "Look at everything that a broker needs, and say what to do about what is wrong",
		Long: `Look at everything that a broker with this configuration needs: its clock against
the provider's, client secrets, callback URLs, offline access, key ring, witness,
free space, the speed of the disk, certificates. It may run beside the broker; it
changes nothing and spends no token.

Exit code 0 if no line is BAD, 3 if one is; with --strict a line to look at counts, too.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if forms := []string{formTable, formJSON}; !slices.Contains(forms, form) {
				return usagef("--output %q: want %s", form, strings.Join(forms, " or "))
			}
			c, err := loadConfig(io, file, config.Load)
			if err != nil {
				return err
			}
			log, err := newLog(io.err, "error", "text")
			if err != nil {
				return err
			}
			var found []doctor.Finding
			doctor.Examine(cmd.Context(), c, log, func(f doctor.Finding) {
				if form == formTable {
					_, _ = fmt.Fprintf(io.err, "looked at: %s\n", render.Clean(f.Check)) // progress
				}
				found = append(found, f)
			})
			if err := showFindings(io, form, found); err != nil {
				return err
			}
			return verdict(found, strict)
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the configuration file")
	cmd.Flags().StringVarP(&form, "output", "o", form, "form of the output: table or json")
	cmd.Flags().BoolVar(&strict, "strict", false, "a line to look at is reason enough for exit code 3")
	_ = cmd.MarkFlagRequired("config")                // it is there
	_ = cmd.MarkFlagFilename("config", "yaml", "yml") // it is there
	return cmd
}

// showFindings prints the table, and below it what to do about each line.
func showFindings(io streams, form string, found []doctor.Finding) error {
	if form == formJSON {
		e := json.NewEncoder(io.out)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(found)
	}
	rows := make([][]string, len(found))
	for i, f := range found {
		rows[i] = []string{string(f.State), f.Check, f.Found}
	}
	if err := render.Table(io.out, []string{"STATE", "CHECK", "FOUND"}, rows); err != nil {
		return err
	}
	for _, f := range found {
		if f.State == doctor.Good {
			continue
		}
		if _, err := fmt.Fprintf(io.out, "\n%s: %s\n  %s\n", f.State, render.Clean(f.Check), render.Clean(f.Do)); err != nil {
			return err
		}
	}
	return nil
}

func verdict(found []doctor.Finding, strict bool) error {
	bad := 0
	for _, f := range found {
		if f.State == doctor.Bad || strict && f.State == doctor.Look {
			bad++
		}
	}
	if bad > 0 {
		return exitError{client.ExitRefused, fmt.Sprintf("%d of %d lines need somebody to act", bad, len(found))}
	}
	return nil
}
