package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/storage/seal"
)

func newKeys(io streams) *cobra.Command {
	return group("keys", "Make and rotate keys", newKeysCreate(io), newKeysRotate(io), newKeysRewrap(io))
}

func newKeysCreate(io streams) *cobra.Command {
	file := ""
	cmd := &cobra.Command{
		Use:   "create --out FILE",
		Short: "Make a key-encryption key in a new file, readable by its owner only",
		Long: `Make a key-encryption key (KEK) in a new file, readable by its owner only. The
store cannot be read without it: keep a copy in a safe place, away from backups
of the store. A file that exists is never replaced.`,
		Args: none,
		RunE: func(*cobra.Command, []string) error {
			// Made by itself it could lie where nobody looks for it, or vanish with a mount.
			if err := directory(filepath.Dir(file), "--out"); err != nil {
				return err
			}
			kek, err := seal.CreateFile(file)
			if errors.Is(err, os.ErrExist) {
				return usagef("%s exists, and a key is never replaced; give another --out", file)
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(io.out, "%s  %s\n", file, kek.ID())
			return err
		},
	}
	cmd.Flags().StringVar(&file, "out", "", "the new file")
	_ = cmd.MarkFlagRequired("out") // it is there
	return cmd
}

// directory refuses a place for a new file that is no directory; flag named it.
func directory(dir, flag string) error {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return usagef("%s: the directory %s does not exist; make it first, or correct the path", flag, dir)
	case err != nil:
		return usagef("%s: %w", flag, err)
	case !info.IsDir():
		return usagef("%s: %s is no directory", flag, dir)
	}
	return nil
}
