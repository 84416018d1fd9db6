package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/cmd/holdfast/node"
)

func newServe(io streams) *cobra.Command {
	file, check := "", false
	var memory memoryFlag
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run the broker in service",
		Long: `Run the broker in service: the contract over TLS with client certificates, the
connect page over https. All problems of the configuration are reported at once.
Certificates and client secrets are read again when their files change.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(io, file, config.Load)
			if err != nil {
				return err
			}
			if check {
				_, err := fmt.Fprintf(io.out, "%s: good\n", file)
				return err
			}
			log, err := newLog(io.err, c.Log.Level, c.Log.Format)
			if err != nil {
				return err
			}
			slog.SetDefault(log)
			// Who reads standard output or error may go away: the runtime would end the
			// process for it. The writes fail instead.
			signal.Ignore(syscall.SIGPIPE)
			if err := memory.apply(log); err != nil {
				return err
			}
			n, err := node.Start(cmd.Context(), node.Options{Config: c, Version: version(), Log: log})
			if err != nil {
				return err
			}
			return n.Wait(cmd.Context())
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the configuration file")
	cmd.Flags().BoolVar(&check, "check", false, "only say whether the configuration, and the files that it names, are good")
	memory.bind(cmd.Flags())
	_ = cmd.MarkFlagRequired("config")                // it is there
	_ = cmd.MarkFlagFilename("config", "yaml", "yml") // it is there
	return cmd
}

// loadConfig reads a configuration and prints its warnings; its problems are wrong use.
func loadConfig(io streams, file string, load func(path string) (*config.Config, config.Problems, error)) (*config.Config, error) {
	c, warnings, err := load(file)
	for _, w := range warnings {
		_, _ = fmt.Fprintln(io.err, "warning:", w) // a warning that nobody can read is lost
	}
	if problems, ok := errors.AsType[config.Problems](err); ok {
		return nil, usagef("the configuration has %d problem(s):\n%w", len(problems), problems)
	}
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}
