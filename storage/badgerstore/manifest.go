package badgerstore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"os"

	"github.com/holdfast-io/holdfast/storage"
)

// manifestHeaderLen is the magic text and versions before the first change set.
const manifestHeaderLen = 8

// checkManifest tells a torn end of Badger's MANIFEST, which a crash leaves and
// Badger rightly drops, from damage, after which Badger would drop what it may
// not. A change set is its length, its CRC-32C (4 bytes each), and its bytes.
func checkManifest(name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("reading the store's files: %w", err)
	}
	damaged := fmt.Errorf("%w: %s is damaged; %s; nothing was changed", storage.ErrCorrupt, name, wayOut)
	if len(b) < manifestHeaderLen {
		return damaged
	}
	rest := b[manifestHeaderLen:]
	for len(rest) > 0 {
		n := changeSetLen(rest)
		if n == 0 {
			break
		}
		rest = rest[n:]
	}
	if len(rest) < 8 {
		return nil
	}
	// Torn means that this set's bytes are missing. If they are all there under
	// another length, or an intact set follows, then its length was changed.
	if crc32.Checksum(rest[8:], castagnoli) == binary.BigEndian.Uint32(rest[4:]) {
		return damaged
	}
	for i := 1; i+8 <= len(rest); i++ {
		if changeSetLen(rest[i:]) > 8 { // an empty set is any 8 zeros
			return damaged
		}
	}
	return nil
}

// changeSetLen returns the length of the intact change set that b begins with, or 0.
func changeSetLen(b []byte) int {
	if len(b) < 8 {
		return 0
	}
	n := uint64(binary.BigEndian.Uint32(b))
	if n > uint64(len(b)-8) || crc32.Checksum(b[8:8+n], castagnoli) != binary.BigEndian.Uint32(b[4:]) {
		return 0
	}
	return int(8 + n)
}
