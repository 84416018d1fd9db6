package badgerstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"

	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/durable"
)

// witnessFile holds the number of the newest acknowledged commit.
const witnessFile = "holdfast-commits"

// witness notes acknowledged commits beside Badger. It is written after each
// commit without a sync: the death of the process does not touch it, and after
// a loss of power it may be some seconds old. Either way it is never ahead of
// the truth, and Badger behind it has lost something that was acknowledged:
// Badger ends its log silently at the first entry that does not check.
type witness struct {
	f    *os.File
	seen uint64
}

const witnessLen = 8 + 4

// readWitness returns what the witness saw, and whether there is one.
func readWitness(dir string) (seen uint64, known bool, err error) {
	name := filepath.Join(dir, witnessFile)
	b, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, fmt.Errorf("opening the store: %w", err)
	}
	seen, err = parseWitness(name, b)
	return seen, true, err
}

func openWitness(dir string) (*witness, error) {
	name := filepath.Join(dir, witnessFile)
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the store: %w", err)
	}
	// Its name must be as durable as Badger's files, which are nothing without it.
	if err := durable.SyncDir(dir); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	b := make([]byte, witnessLen+1)
	n, _ := f.ReadAt(b, 0)
	seen, err := parseWitness(name, b[:n])
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &witness{f: f, seen: seen}, nil
}

func parseWitness(name string, b []byte) (uint64, error) {
	if len(b) == 0 {
		return 0, nil // a new store
	}
	if len(b) != witnessLen || crc32.Checksum(b[:8], castagnoli) != binary.BigEndian.Uint32(b[8:]) {
		return 0, fmt.Errorf("%w: %s is damaged: put it back from a copy; or, if no other file of the store was touched, empty it with truncate -s 0; nothing was changed",
			storage.ErrCorrupt, name)
	}
	return binary.BigEndian.Uint64(b), nil
}

// note ignores errors: a witness that stays behind misses a loss, but causes none.
func (w *witness) note(n uint64) {
	b := binary.BigEndian.AppendUint64(nil, n)
	_, _ = w.f.WriteAt(binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli)), 0)
	w.seen = n
}

func (w *witness) close() error { return w.f.Close() }
