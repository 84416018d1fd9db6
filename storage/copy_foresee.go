package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/holdfast-io/holdfast/storage/durable"
)

// foresee finds what the file systems of the target would refuse, as far as
// that shows without a change: once the source is marked no broker has a store,
// until somebody has made room.
func (c *copier) foresee(context.Context) error {
	if c.arrived != nil {
		return nil // it was made already, and what is missing of it is not known
	}
	dir, err := usable(c.to.Dir)
	if err == nil && c.to.Database == nil && c.to.Room != nil {
		err = c.to.Room(dir, c.bytes)
	}
	if err == nil && c.to.WitnessFile != "" {
		_, err = usable(filepath.Dir(c.to.WitnessFile))
	}
	if err != nil {
		return fmt.Errorf("looking at the target: %w", err)
	}
	return nil
}

// usable returns dir, or the directory in which it would be made, and an error if
// nothing can be made there.
func usable(dir string) (string, error) {
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at) {
			continue
		}
		if err == nil && !info.IsDir() {
			err = errors.New("it is no directory")
		}
		if err == nil {
			err = durable.Writable(at)
		}
		if err != nil {
			return "", fmt.Errorf("%s can not be written (%s: %w): let this process write there, or name another place; nothing was changed", dir, at, err)
		}
		return at, nil
	}
}
