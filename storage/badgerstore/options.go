package badgerstore

import (
	"log/slog"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// Options of a Store. The zero value is right for production.
type Options struct {
	// Log of Badger and of maintenance; nil means slog.Default().
	Log *slog.Logger
	// MinFree is the free space, in bytes, below which Health refuses, so that
	// nothing is spent; swaps may use all of it but a quarter. 0 means 64 MiB.
	// Badger writes through memory maps, where a full disk
	// kills the process instead of returning an error.
	MinFree uint64
	// GCInterval between two collections of the value log; 0 means an hour.
	GCInterval time.Duration
	// valueLogSize and memTableSize are for tests; 0 means 64 MiB and 4 MiB.
	valueLogSize, memTableSize int64
	// still is for tests that copy an open store: nothing is compacted meanwhile.
	still bool
}

// DefaultMinFree is the free space, in bytes, below which nothing is spent. A
// value-log file of Badger has this size, and a full disk below a memory map
// kills the process.
const DefaultMinFree = 64 << 20

const (
	defaultGCInterval   = time.Hour
	defaultValueLogSize = 64 << 20
	defaultMemTableSize = 4 << 20
	// valueThreshold in bytes: records and journal entries go to the value
	// log, the index's small values stay in the tree.
	valueThreshold = 64
)

func (o *Options) complete() {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.MinFree == 0 {
		o.MinFree = DefaultMinFree
	}
	if o.GCInterval == 0 {
		o.GCInterval = defaultGCInterval
	}
	if o.valueLogSize == 0 {
		o.valueLogSize = defaultValueLogSize
	}
	if o.memTableSize == 0 {
		o.memTableSize = defaultMemTableSize
	}
}

// badgerOptions are the settings that durability and the memory footprint rest
// on: sealed blobs lie in the value log, so the tree is small and so may its
// tables and caches be.
func (o *Options) badgerOptions(dir string, key []byte, log badger.Logger) badger.Options {
	compactors := 2 // the fewest that Badger takes
	if o.still {
		compactors = 0
	}
	return badger.DefaultOptions(dir).
		WithLogger(log).
		WithSyncWrites(true).
		WithDetectConflicts(true).
		WithNumVersionsToKeep(1).
		WithChecksumVerificationMode(options.OnTableAndBlockRead).
		WithVerifyValueChecksum(true).
		WithEncryptionKey(key).
		WithIndexCacheSize(16 << 20). // encrypted tables need one
		WithBlockCacheSize(8 << 20).
		WithCompression(options.None). // what is encrypted does not compress
		WithMetricsEnabled(false).
		WithMemTableSize(o.memTableSize).
		WithBaseTableSize(2 << 20).
		WithNumMemtables(2).
		// What a swap leaves in the value log counts as garbage only once the
		// tree has been compacted.
		WithNumLevelZeroTables(2).
		WithNumCompactors(compactors).
		WithValueThreshold(valueThreshold).
		WithValueLogFileSize(o.valueLogSize)
}
