package badgerstore

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/durable"
)

// inventoryFile is written by a clean close and removed by the next open.
const inventoryFile = "holdfast-files.json"

// inventory says what Badger's files held when the store was closed.
type inventory struct {
	Format  int         `json:"format"`
	Commits uint64      `json:"commits"`
	Files   []fileState `json:"files"`
	// Sum is the CRC-32C of the inventory's JSON with Sum 0.
	Sum uint32 `json:"crc32c"`
}

type fileState struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	// Sum is the CRC-32C of the content, of an older value log's header only:
	// reading all of those would make opening slow, nothing changes them, and
	// every value is checked when it is read.
	Sum uint32 `json:"crc32c"`
}

const inventoryFormat = 1

func (inv inventory) encode() ([]byte, error) {
	inv.Sum = 0
	b, err := json.Marshal(inv)
	if err != nil {
		return nil, err
	}
	inv.Sum = crc32.Checksum(b, castagnoli)
	b, err = json.MarshalIndent(inv, "", " ")
	return append(b, '\n'), err
}

// readInventory returns os.ErrNotExist if the store was not closed cleanly.
func readInventory(dir string) (inventory, error) {
	name := filepath.Join(dir, inventoryFile)
	b, err := os.ReadFile(name)
	if err != nil {
		return inventory{}, err
	}
	var inv, bare inventory
	if err = json.Unmarshal(b, &inv); err == nil {
		bare = inv
		bare.Sum = 0
		b, err = json.Marshal(bare)
	}
	if err != nil || crc32.Checksum(b, castagnoli) != inv.Sum {
		return inventory{}, fmt.Errorf("%w: %s is damaged: delete that file, the store is then checked as after a crash; nothing was changed", storage.ErrCorrupt, name)
	}
	if inv.Format > inventoryFormat {
		return inventory{}, fmt.Errorf("%w: %s has format %d and this program knows up to %d: start the newer Holdfast that wrote it; nothing was changed",
			storage.ErrUnavailable, name, inv.Format, inventoryFormat)
	}
	return inv, nil
}

func removeInventory(dir string) error {
	if err := os.Remove(filepath.Join(dir, inventoryFile)); err != nil {
		return fmt.Errorf("opening the store: %w", err)
	}
	return durable.SyncDir(dir)
}

func (s *Store) writeInventory() error {
	inv := inventory{Format: inventoryFormat, Commits: s.commits.Load()}
	names, err := dataFiles(s.data())
	if err != nil {
		return err
	}
	for _, n := range names {
		f, err := stateOf(s.data(), n, names)
		if err != nil {
			return err
		}
		inv.Files = append(inv.Files, f)
	}
	b, err := inv.encode()
	if err != nil {
		return fmt.Errorf("encoding the inventory: %w", err)
	}
	return durable.WriteFile(filepath.Join(s.dir, inventoryFile), b)
}

// sumLen is how much of a file of that name goes into its sum.
func sumLen(name string, names []string) int64 {
	logs := valueLogs(names)
	if slices.Contains(logs, name) && logs[len(logs)-1] != name {
		return logHeaderLen
	}
	return math.MaxInt64
}

func stateOf(dir, name string, names []string) (fileState, error) {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return fileState{}, fmt.Errorf("reading the store's files: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return fileState{}, fmt.Errorf("reading the store's files: %w", err)
	}
	h := crc32.New(castagnoli)
	if _, err := io.Copy(h, io.LimitReader(f, sumLen(name, names))); err != nil {
		return fileState{}, fmt.Errorf("reading the store's files: %w", err)
	}
	return fileState{Name: name, Size: info.Size(), Sum: h.Sum32()}, nil
}

// verify compares the files with the inventory and names the first that differs.
func (inv inventory) verify(dir string) error {
	bad := func(name, what string) error {
		return fmt.Errorf("%w: %s %s; %s; nothing was changed", storage.ErrCorrupt, filepath.Join(dir, name), what, wayOut)
	}
	names, err := dataFiles(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if !slices.ContainsFunc(inv.Files, func(f fileState) bool { return f.Name == n }) {
			return bad(n, "was not there when the store was closed")
		}
	}
	for _, want := range inv.Files {
		have, err := stateOf(dir, want.Name, names)
		switch {
		case errors.Is(err, os.ErrNotExist):
			return bad(want.Name, "is missing")
		case err != nil:
			return err
		case have.Size != want.Size:
			return bad(want.Name, fmt.Sprintf("has %d bytes, and had %d when the store was closed", have.Size, want.Size))
		case have.Sum != want.Sum:
			return bad(want.Name, "was changed since the store was closed")
		}
	}
	return nil
}
