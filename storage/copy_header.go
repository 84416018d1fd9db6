package storage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/holdfast-io/holdfast/storage/durable"
)

// place is where the store of the configuration lies, for people.
func (c *Config) place() string { return c.Dir }

// unlocked reads the header of a store, marked or not, and its root key;
// os.ErrNotExist: there is none.
func unlocked(ctx context.Context, cfg *Config) (header, []byte, error) {
	h, err := readHeader(cfg.Dir)
	if err != nil {
		return h, nil, err
	}
	root, err := h.unlock(ctx, filepath.Join(cfg.Dir, HeaderFile), cfg)
	return h, root, err
}

// makeHeader makes the header of a store that is not there yet.
func makeHeader(cfg *Config, h header, root []byte) error {
	b, err := h.encode(root)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return fmt.Errorf("making the store's directory: %w", err)
	}
	return durable.CreateFile(filepath.Join(cfg.Dir, HeaderFile), b)
}
