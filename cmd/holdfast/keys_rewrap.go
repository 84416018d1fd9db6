package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/cmd/holdfast/node"
	"github.com/holdfast-io/holdfast/storage"
)

func newKeysRewrap(io streams) *cobra.Command {
	file, to := "", ""
	cmd := &cobra.Command{
		Use:   "rewrap --config FILE [--to NEWFILE]",
		Short: "Have another key-encryption key wrap the store of a stopped broker",
		Long: `Have the root key of a stopped broker's store wrapped by another key-encryption
key: that of the keys section of NEWFILE, a copy of FILE with another keys section.
So a store moves from a key file to a KMS, or from one file to another. Without
--to the same provider wraps it again, by the newest version of its key.

Brokers on PostgreSQL may run on, each until it is started again, which wants the
new key: have it in every replica's configuration by then.

No record is touched: one small file is replaced, and only when the new key has
given the root key back once. Until then the old key opens the store, after it the
new one does. Then start the broker with NEWFILE.

A backup holds the wrapped root key of its time: keep the old key for as long as
there are backups that were made under it. Who had the old key and a copy of the
store can still open that copy; if the key may be known to somebody, follow with
"holdfast keys rotate", and have what was in the copy consented again.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(io, file, config.LoadStore)
			if err != nil {
				return err
			}
			next := c
			if to != "" {
				if next, err = loadConfig(io, to, config.LoadStore); err != nil {
					return err
				}
				if next.Store != c.Store || next.Environment != c.Environment || next.Provider.Resolved.Name != c.Provider.Resolved.Name {
					return usagef("%s and %s are not about the same store; give two files that differ in keys alone", file, to)
				}
			}
			place, err := storeOf(c, io)
			if err != nil {
				return err
			}
			kek, err := node.KEK(&next.Keys)
			if err != nil {
				return node.Input(err)
			}
			sum, err := storage.Rewrap(cmd.Context(), place, kek)
			if err != nil {
				return node.Input(err)
			}
			_, err = fmt.Fprintf(io.out, "%s: the root key of store %s is wrapped by %s, before it was by %s\n", place.Place(), sum.StoreID, sum.To, sum.From)
			return err
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the broker's configuration file")
	cmd.Flags().StringVar(&to, "to", "", "a configuration file with the new keys section")
	_ = cmd.MarkFlagRequired("config") // it is there
	return cmd
}
