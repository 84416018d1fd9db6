package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/broker/audit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/cmd/holdfast/node"
	"github.com/holdfast-io/holdfast/storage"
)

func newAudit(io streams) *cobra.Command {
	return group("audit", "Verify the audit record, and find who had a token", newAuditVerify(io), newAuditWhoHad(io), newAuditKey(io))
}

func newAuditKey(io streams) *cobra.Command {
	file := ""
	cmd := &cobra.Command{
		Use:   "key --config FILE",
		Short: "Print the key that verifies the checkpoints of the audit record",
		Long: `Print the public key by which "holdfast audit verify --key" checks the signatures of
checkpoints. It belongs to the store, stays the same for its life, and is no secret;
keep a copy where the audit record is not. A running broker is not disturbed.`,
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
			id, seed, err := storage.AuditKey(cmd.Context(), place)
			if err != nil {
				return node.Input(err)
			}
			key, err := audit.VerifierKey(audit.Origin(id), seed)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(io.out, key)
			return err
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the broker's configuration file")
	_ = cmd.MarkFlagRequired("config") // it is there
	return cmd
}
