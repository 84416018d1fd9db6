package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/cmd/holdfast/node"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/badgerstore"
	"github.com/holdfast-io/holdfast/storage/seal"
)

const (
	// syncs is how many synced writes the disk is judged by.
	syncs = 50
	// A rotation waits for two of them: above slow callers notice, above
	// tooSlow attempts come near their timeouts.
	slow, tooSlow = 20 * time.Millisecond, 500 * time.Millisecond
	// roomy is what a store of some thousand grants does not use up in months.
	roomy = 1 << 30
)

// stored looks at the store without opening it: a running broker owns it, and
// every opening counts as a start.
func stored(ctx context.Context, c *config.Config, log *slog.Logger) []Finding {
	place := existing(c.Store.Dir)
	return append(keyRing(ctx, c, log), freeSpace(place), syncSpeed(place))
}

// existing is the nearest directory above dir that is there.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// keyRing unlocks the store's root key, which its key ring is sealed by, and
// compares the store with its witness.
func keyRing(ctx context.Context, c *config.Config, log *slog.Logger) []Finding {
	const ring, witness = "key ring", "witness"
	place, err := node.StoreConfig(c, log)
	if err != nil {
		return []Finding{{ring, Bad, err.Error(), "correct the configuration's keys section: the file that `holdfast keys create` wrote, or the KMS"}}
	}
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	seen, err := storage.Look(ctx, place)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if f := keyProvider(ctx, place.KEK); f.State == Bad {
			return []Finding{f}
		}
		return []Finding{
			{ring, Look, "there is no store in " + place.Place() + " yet", "nothing, if this is the first start; otherwise correct the store section or run holdfast restore"},
		}
	case errors.Is(err, seal.ErrUnavailable):
		return []Finding{{ring, Bad, err.Error(), "do what the line says: without its KMS a broker does not start, and a running one soon spends nothing"}}
	case errors.Is(err, storage.ErrUnavailable):
		return []Finding{{ring, Bad, err.Error(), "do what the line says: until the store answers nobody knows whether the key unlocks it"}}
	case err != nil:
		return []Finding{{ring, Bad, err.Error(), "do what the line says; if it names key, environment or provider: they must be those that this store was made with"}}
	}
	found := []Finding{good(ring, fmt.Sprintf("the configured key unlocks store %s", seen.StoreID))}
	if seen.Finding != "" {
		return append(found, Finding{witness, Bad, seen.Finding,
			"find out whether another copy of this store is in use; then run `holdfast grants adopt` or `holdfast grants scrub` on the started broker"})
	}
	return append(found, good(witness, seen.Witness))
}

// keyProvider has a key of no worth wrapped and unwrapped, where there is no
// store yet to unlock.
func keyProvider(ctx context.Context, kek seal.KEK) Finding {
	const check = "key ring"
	key := seal.NewKey()
	wrapped, err := kek.Wrap(ctx, key)
	var back []byte
	if err == nil {
		back, err = kek.Unwrap(ctx, wrapped)
	}
	switch {
	case err != nil:
		return Finding{check, Bad, err.Error(), "do what the line says: a new store needs a key that wraps and unwraps"}
	case !bytes.Equal(key, back):
		return Finding{check, Bad, "KEK " + kek.ID() + " gives back another key than it was given", "use another one"}
	}
	return good(check, "KEK "+kek.ID()+" wraps and unwraps")
}

func freeSpace(dir string) Finding {
	const check = "free space"
	free, err := badgerstore.Free(dir)
	switch {
	case err != nil:
		return Finding{check, Bad, err.Error(), "give the broker a store.dir that it can use"}
	case free < 2*badgerstore.DefaultMinFree:
		return Finding{check, Bad, fmt.Sprintf("%d MiB in %s", free>>20, dir),
			fmt.Sprintf("make room: below %d MiB nothing is spent", badgerstore.DefaultMinFree>>20)}
	case free < roomy:
		return Finding{check, Look, fmt.Sprintf("%d MiB in %s", free>>20, dir), "make room in time"}
	}
	return good(check, fmt.Sprintf("%d GiB in %s", free>>30, dir))
}

// syncSpeed writes and syncs a small file as often as it takes for a median.
func syncSpeed(dir string) Finding {
	const check = "store sync"
	took, err := syncTimes(dir)
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return Finding{check, Bad, err.Error(), "make room on this disk"}
	case err != nil:
		return Finding{check, Bad, err.Error(), "let the broker's user write to the store's directory"}
	}
	slices.Sort(took)
	median := took[len(took)/2]
	found := fmt.Sprintf("median %v, slowest %v of %d", median.Round(10*time.Microsecond), took[len(took)-1].Round(10*time.Microsecond), len(took))
	switch {
	case median > tooSlow:
		return Finding{check, Bad, found, "put store.dir on a local disk: attempts would run into their timeouts"}
	case median > slow:
		return Finding{check, Look, found, "a faster disk would shorten every rotation by twice the median"}
	}
	return good(check, found)
}

func syncTimes(dir string) (took []time.Duration, err error) {
	f, err := os.CreateTemp(dir, ".holdfast-doctor-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	block := make([]byte, 4096)
	for range syncs {
		started := time.Now()
		if _, err := f.Write(block); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(started))
	}
	return took, nil
}
