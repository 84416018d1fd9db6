// Package durable writes small files so that a crash leaves the old content or
// the new one, never a mixture, and so that what was reported as written is
// there after a loss of power.
package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// WriteFile replaces the file at path by data, mode 0600.
func WriteFile(path string, data []byte) error {
	return write(path, bytes.NewReader(data), os.Rename)
}

// CreateFile writes data to a new file at path, mode 0600. It returns an error
// that is os.ErrExist, and changes nothing, if there is one already.
func CreateFile(path string, data []byte) error { return CreateFrom(path, bytes.NewReader(data)) }

// CreateFrom is CreateFile with the content of data up to its end.
func CreateFrom(path string, data io.Reader) error {
	return write(path, data, func(from, to string) error {
		// A link, unlike a rename, never replaces.
		if err := os.Link(from, to); err != nil {
			return err
		}
		return os.Remove(from)
	})
}

func write(path string, data io.Reader, place func(from, to string) error) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	_, err = io.Copy(f, data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = place(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // the first error says more
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return SyncDir(dir)
}

// SyncDir makes the names in a directory durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("syncing directory %s: %w", dir, err)
	}
	return nil
}
