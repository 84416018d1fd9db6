package storage

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-io/holdfast/storage/seal"
)

// HeaderFile is the name of the store's header in its directory.
const HeaderFile = "holdfast-store.json"

// FormatVersion of everything that a store writes. A store of a newer format is refused.
const FormatVersion = 1

// header says what a store is, before any backend is touched. All of it but
// the MAC is authenticated by the MAC, whose key comes from the root key.
type header struct {
	Format      int       `json:"format"`
	StoreID     string    `json:"store_id"`
	Environment string    `json:"environment"`
	Provider    string    `json:"provider"`
	KEKID       string    `json:"kek_id"`
	WrappedRoot []byte    `json:"wrapped_root_key"`
	CreatedAt   time.Time `json:"created_at"`
	// RestoredAt is set while the store is a restored backup whose grants have
	// not been quarantined yet.
	RestoredAt time.Time `json:"restored_at,omitzero"`
	// Finding is set while the grants have not been quarantined yet for what the
	// witness said at a start.
	Finding string `json:"finding,omitempty"`
	// Moved and Arriving are set on the two sides of a copy to another place; see moved.go.
	Moved    *moved    `json:"moved,omitempty"`
	Arriving *arriving `json:"arriving,omitempty"`
	MAC      []byte    `json:"mac"`
}

func (h *header) mac(root []byte) ([]byte, error) {
	key, err := seal.Derive(root, seal.ForHeader)
	if err != nil {
		return nil, err
	}
	b := appendBytes(nil, []byte("holdfast header"))
	b = binary.BigEndian.AppendUint32(b, uint32(h.Format))
	for _, s := range []string{h.StoreID, h.Environment, h.Provider, h.KEKID} {
		b = appendBytes(b, []byte(s))
	}
	b = appendBytes(b, h.WrappedRoot)
	b = appendBytes(b, []byte(h.CreatedAt.UTC().Format(time.RFC3339Nano)))
	b = appendBytes(b, []byte(h.RestoredAt.UTC().Format(time.RFC3339Nano)))
	if h.Finding != "" || h.marked() { // absent from what a Holdfast without witnesses wrote
		b = appendBytes(b, []byte(h.Finding))
	}
	b = h.appendMarks(b)
	m := hmac.New(sha256.New, key)
	m.Write(b)
	return m.Sum(nil), nil
}

// encode returns the file's content with a fresh MAC.
func (h header) encode(root []byte) ([]byte, error) {
	var err error
	if h.MAC, err = h.mac(root); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(h, "", "  ")
	return append(b, '\n'), err
}

// parseHeader parses a header's content; name says where it was found.
func parseHeader(name string, b []byte) (header, error) {
	var probe struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &probe); err != nil || probe.Format < 1 {
		return header{}, damagedHeader(name)
	}
	if probe.Format > FormatVersion {
		return header{}, fmt.Errorf("%s has format %d and this program knows up to %d: start the newer Holdfast that wrote it; nothing was changed",
			name, probe.Format, FormatVersion)
	}
	var h header
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&h); err != nil {
		return header{}, damagedHeader(name)
	}
	return h, nil
}

func damagedHeader(name string) error {
	return fmt.Errorf("%w: %s is damaged: put it back from a copy or run holdfast restore with the newest backup; nothing was changed", ErrCorrupt, name)
}

// unlock checks that the header is of the wanted store and returns the root key.
func (h *header) unlock(ctx context.Context, name string, cfg *Config) ([]byte, error) {
	if h.Environment != cfg.Environment {
		return nil, fmt.Errorf("%s belongs to environment %q, the configuration says %q: correct the environment or the store's directory; nothing was changed",
			name, h.Environment, cfg.Environment)
	}
	if h.Provider != cfg.Provider {
		return nil, fmt.Errorf("%s belongs to provider %q, the configuration says %q: correct the provider or the store's directory; nothing was changed",
			name, h.Provider, cfg.Provider)
	}
	if h.KEKID != cfg.KEK.ID() {
		return nil, fmt.Errorf("wrong KEK: %s was sealed with KEK %s, the configured one is %s: configure the key file that belongs to this store, or its KMS; nothing was changed",
			name, h.KEKID, cfg.KEK.ID())
	}
	root, err := cfg.KEK.Unwrap(ctx, h.WrappedRoot)
	if errors.Is(err, seal.ErrOpen) {
		return nil, damagedHeader(name)
	}
	if err != nil {
		return nil, fmt.Errorf("asking KEK %s to unwrap the root key of %s: %w", h.KEKID, name, kekError(err))
	}
	want, err := h.mac(root)
	if err != nil || !hmac.Equal(want, h.MAC) {
		return nil, damagedHeader(name)
	}
	return root, nil
}

// readHeader returns os.ErrNotExist if there is no store.
func readHeader(ctx context.Context, cfg *Config) (header, error) {
	b, err := cfg.rawHeader(ctx)
	if err != nil {
		return header{}, err
	}
	return parseHeader(cfg.headerName(), b)
}

// readHeaderFile returns os.ErrNotExist if the directory is missing or empty.
func readHeaderFile(dir string) ([]byte, error) {
	name := filepath.Join(dir, HeaderFile)
	b, err := os.ReadFile(name)
	if err == nil {
		return b, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("reading the store's header: %w", err)
	}
	if empty, eerr := emptyDir(dir); eerr != nil || !empty {
		return nil, errors.Join(fmt.Errorf("%s is missing but its directory is not empty: put the header back from a copy, "+
			"or give the store an empty directory; nothing was changed", name), eerr)
	}
	return nil, err
}

func emptyDir(dir string) (bool, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return true, nil
	}
	return len(entries) == 0, err
}

// createHeader makes the header of a new store, with a fresh root key.
func createHeader(ctx context.Context, cfg *Config) (header, []byte, error) {
	root := seal.NewKey()
	wrapped, err := cfg.KEK.Wrap(ctx, root)
	if err != nil {
		return header{}, nil, fmt.Errorf("asking KEK %s to wrap the root key of a new store: %w", cfg.KEK.ID(), kekError(err))
	}
	h := header{
		Format: FormatVersion, StoreID: newStoreID(), Environment: cfg.Environment, Provider: cfg.Provider,
		KEKID: cfg.KEK.ID(), WrappedRoot: wrapped, CreatedAt: cfg.Now().UTC(),
	}
	b, err := h.encode(root)
	if err != nil {
		return header{}, nil, err
	}
	return h, root, cfg.swapHeader(ctx, nil, b)
}
