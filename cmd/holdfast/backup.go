package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/cmd/holdfast/node"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/durable"
)

func newBackup(io streams) *cobra.Command {
	file, out := "", ""
	cmd := &cobra.Command{
		Use:   "backup --config FILE --out BACKUP",
		Short: "Write a sealed backup of the store of a stopped broker",
		Long: `Write a sealed backup of the store of a stopped broker into a new file; of a store
on PostgreSQL the brokers may run on, and each grant is as it was at some moment
meanwhile. Only the same key-encryption key restores it. Never copy the store's directory instead: a
copy spends the same refresh tokens again, which ends their families. Of the
configuration it needs environment, store, keys and provider; that of "holdfast
dev", .holdfast/holdfast.yaml, serves as well.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(io, file, config.LoadStore)
			if err != nil {
				return err
			}
			place, err := storeOf(c, io)
			if err != nil {
				return err
			}
			sum, err := backup(cmd.Context(), place, out)
			if err != nil {
				return node.Input(err)
			}
			_, err = fmt.Fprintf(io.out, "%s: store %s, %d records, %d journal entries\n", out, sum.StoreID, sum.Records, sum.Entries)
			return err
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the broker's configuration file")
	cmd.Flags().StringVar(&out, "out", "", "the new file")
	_, _ = cmd.MarkFlagRequired("config"), cmd.MarkFlagRequired("out") // both are there
	return cmd
}

func storeOf(c *config.Config, io streams) (storage.Config, error) {
	log, err := newLog(io.err, slog.LevelWarn.String(), c.Log.Format)
	if err != nil {
		return storage.Config{}, err
	}
	place, err := node.StoreConfig(c, log)
	return place, node.Input(err)
}

// backup writes beside the new file and gives it its name once all is durable:
// half a backup never looks like one.
func backup(ctx context.Context, place storage.Config, out string) (sum storage.BackupSummary, err error) {
	if _, err := os.Lstat(out); err == nil {
		return sum, usagef("%s exists, and a backup never replaces anything; give another --out", out)
	}
	if err := directory(filepath.Dir(out), "--out"); err != nil {
		return sum, err
	}
	f, err := os.CreateTemp(filepath.Dir(out), filepath.Base(out)+".writing-*") // mode 0600
	if err != nil {
		return sum, fmt.Errorf("making the backup's file: %w", err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // fails once it was renamed, and may
	w := bufio.NewWriter(f)
	sum, err = storage.Backup(ctx, place, w)
	if err = errors.Join(err, w.Flush(), f.Sync(), f.Close()); err != nil {
		return sum, err
	}
	if err := os.Rename(f.Name(), out); err != nil {
		return sum, fmt.Errorf("naming the backup: %w", err)
	}
	return sum, durable.SyncDir(filepath.Dir(out))
}

func newRestore(io streams) *cobra.Command {
	file, in, adopt, yes := "", "", false, false
	cmd := &cobra.Command{
		Use:   "restore --config FILE --in BACKUP",
		Short: "Make a store from a backup; its grants start quarantined",
		Long: `Make a store from a backup, in the directory that the configuration names, which
must be missing or empty, or in its database, which must hold no store. Whatever was rotated since the backup was made is
unknown to it, so at the next start every grant is quarantined: it serves the
access tokens that are still valid and spends nothing. "holdfast grants adopt" (this
is the surviving store) and "holdfast grants scrub" (this is a copy) end that, and
"holdfast grants reauth" brings a single grant back by a new consent.

To move a store, stop its broker, back it up, and restore with --adopt: the grants
go on as they were. Use --adopt only if no broker has run on that store since the
backup, and none ever will; otherwise spent tokens are sent again and the provider
ends their families.

First it says what it would do; it does that with --yes, or after a "yes" at a terminal.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(io, file, config.LoadStore)
			if err != nil {
				return err
			}
			return restore(cmd.Context(), io, c, in, adopt, yes)
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the broker's configuration file")
	cmd.Flags().StringVar(&in, "in", "", "the backup")
	cmd.Flags().BoolVar(&adopt, "adopt", false, "no broker has run on the store since the backup: no quarantine")
	cmd.Flags().BoolVar(&yes, "yes", false, "do it without asking")
	_, _ = cmd.MarkFlagRequired("config"), cmd.MarkFlagRequired("in") // both are there
	return cmd
}

func restore(ctx context.Context, io streams, c *config.Config, in string, adopt, yes bool) error {
	node.BoundMemory()
	place, err := storeOf(c, io)
	if err != nil {
		return err
	}
	f, err := os.Open(in)
	if err != nil {
		return usageError{fmt.Errorf("opening the backup: %w", err)}
	}
	defer func() { _ = f.Close() }() // only read from
	fate := "every grant of it starts quarantined"
	if adopt {
		fate = "its grants go on as they were, so no broker may have run on the store since the backup"
	}
	_, _ = fmt.Fprintf(io.err, "this makes the store of environment %s in %s from %s; %s, "+
		"and the broker that the backup is of must never run again\n", c.Environment, place.Place(), in, fate) // confirm asks either way
	if err := confirm(io, yes); err != nil {
		return err
	}
	sum, err := storage.Restore(ctx, place, bufio.NewReader(f), adopt)
	if errors.Is(err, storage.ErrCorrupt) {
		return usageError{err} // it speaks of the backup: there is no store yet
	}
	if err != nil {
		return node.Input(err)
	}
	if _, err = fmt.Fprintf(io.out, "%s: store %s, %d records, %d journal entries\n", place.Place(), sum.StoreID, sum.Records, sum.Entries); err != nil || adopt {
		return err
	}
	_, err = fmt.Fprintln(io.err, "next: start the broker, look at holdfast status, and decide with holdfast grants adopt or holdfast grants scrub")
	return err
}
