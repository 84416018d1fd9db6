package main

import "github.com/spf13/cobra"

func newStore(io streams) *cobra.Command {
	return group("store", "Move the store of a stopped broker, or see to its schema", newStoreCopy(io), newStoreMigrate(io))
}
