package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/client"
	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/cmd/holdfast/node"
	"github.com/holdfast-io/holdfast/storage/pgstore"
)

func newStoreMigrate(io streams) *cobra.Command {
	file, check, show := "", false, false
	cmd := &cobra.Command{
		Use:   "migrate --config FILE [--check | --print]",
		Short: "Bring the schema of a store on PostgreSQL up to date",
		Long: `Bring the schema of a store on PostgreSQL up to date, as the role that the
configuration names, which must own the tables or be allowed to make them. A broker
does the same at its start, unless store.postgres.migrate is by_hand. Brokers that
run, of the release before too, go on meanwhile: a migration only adds.

--check changes nothing and says what is missing: exit code 3 if anything is.
--print changes nothing and prints the SQL of what is missing, to be applied by hand
as the owner of the tables, such as: holdfast store migrate --config FILE --print | psql
The rights that a broker's own role needs are in storage/pgstore/README.md.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(io, file, config.LoadStore)
			if err != nil {
				return err
			}
			if c.Store.Kind != config.StorePostgres {
				return usagef("%s: store.kind is %s, and only a store on PostgreSQL has a schema", file, c.Store.Kind)
			}
			log, err := newLog(io.err, slog.LevelWarn.String(), c.Log.Format)
			if err != nil {
				return err
			}
			name, o, err := node.Postgres(&c.Store, log)
			if err != nil {
				return node.Input(err)
			}
			if check || show {
				return pendingSchema(cmd.Context(), io, name, o, show)
			}
			return migrateSchema(cmd.Context(), io, name, o)
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the broker's configuration file")
	cmd.Flags().BoolVar(&check, "check", false, "only say what is missing")
	cmd.Flags().BoolVar(&show, "print", false, "only print the SQL of what is missing")
	_ = cmd.MarkFlagRequired("config") // it is there
	cmd.MarkFlagsMutuallyExclusive("check", "print")
	return cmd
}

func pendingSchema(ctx context.Context, io streams, name string, o pgstore.Options, show bool) error {
	pending, err := pgstore.Pending(ctx, o)
	if err != nil {
		return node.Input(err)
	}
	if show {
		_, err := fmt.Fprint(io.out, pgstore.Script(pending))
		return err
	}
	if len(pending) == 0 {
		_, err := fmt.Fprintf(io.out, "%s: the schema is up to date\n", name)
		return err
	}
	if _, err := fmt.Fprintf(io.out, "%s: the schema lacks %s\n", name, files(pending)); err != nil {
		return err
	}
	return exitError{client.ExitRefused, ""}
}

func migrateSchema(ctx context.Context, io streams, name string, o pgstore.Options) error {
	done, err := pgstore.Migrate(ctx, o)
	if err != nil {
		return node.Input(err)
	}
	what := "nothing was missing"
	if len(done) > 0 {
		what = "applied " + files(done)
	}
	_, err = fmt.Fprintf(io.out, "%s: %s\n", name, what)
	return err
}

func files(steps []pgstore.Migration) string {
	names := make([]string, len(steps))
	for i, m := range steps {
		names[i] = m.Name
	}
	return strings.Join(names, ", ")
}
