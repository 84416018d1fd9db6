package storage

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/holdfast-io/holdfast/storage/durable"
)

// A spill file opens in any directory of the same store, so those that hold
// something go over as they are; the first start there drains them.

// countSpilled counts the slots of the source's spill files that hold something,
// those that do not open among them, and finds files of the target in their way.
func (c *copier) countSpilled(context.Context) error {
	if c.from.Spill != nil {
		return errors.New("a store that keeps its spill elsewhere than in its directory can not be copied")
	}
	names, err := spillNames(c.from.Dir)
	for _, name := range names {
		from, to := filepath.Join(c.from.Dir, name), filepath.Join(c.to.Dir, name)
		n, err := heldIn(from)
		if err != nil {
			return fmt.Errorf("reading the source's spill file: %w", err)
		}
		c.sum.Spilled += n
		if n == 0 {
			continue
		}
		switch equal, err := sameContent(from, to); {
		case err == nil && !equal:
			return inTheWay(to)
		case err != nil && !errors.Is(err, os.ErrNotExist):
			return fmt.Errorf("looking for a spill file of the target: %w", err)
		}
	}
	return err
}

func inTheWay(path string) error {
	return fmt.Errorf("%s is there already, with something else in it: move it away", path)
}

// spillNames are the names of the spill files in a directory, which need not exist.
func spillNames(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("looking for spill files: %w", err)
	}
	for _, e := range entries {
		if name := e.Name(); name == SpillName || strings.HasPrefix(name, SpillName+"-") {
			names = append(names, name)
		}
	}
	return names, nil
}

// heldIn counts the slots of one file.
func heldIn(path string) (held int, err error) {
	f, err := claimSpillFile(path)
	if err != nil {
		return 0, err
	}
	if f == nil {
		return 0, fmt.Errorf("%w: %s is in use by another process: stop that one first", ErrUnavailable, path)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	for n := int64(0); err == nil && n < size; n += SlotSize {
		b := make([]byte, slotHeader)
		if _, err = f.ReadAt(b, n); errors.Is(err, io.EOF) {
			return held + 1, nil // cut off: whatever it held, it does not vanish here
		}
		if sealed, perr := parseSlot(b); err == nil && (sealed != nil || perr != nil) {
			held++
		}
	}
	return held, err
}

// moveSpill copies the spill files that hold something.
func (c *copier) moveSpill(context.Context) error {
	if c.sum.Spilled == 0 {
		return nil
	}
	if err := os.MkdirAll(c.to.Dir, 0o700); err != nil {
		return fmt.Errorf("making the target's directory: %w", err)
	}
	names, err := spillNames(c.from.Dir)
	for _, name := range names {
		from, to := filepath.Join(c.from.Dir, name), filepath.Join(c.to.Dir, name)
		n, err := heldIn(from)
		if err == nil && n > 0 {
			err = c.step("spill", func() error { return copySpill(from, to) })
		}
		if err != nil {
			return fmt.Errorf("copying the spill file: %w", err)
		}
	}
	return err
}

// copySpill leaves a file alone that is there with the same content already.
func copySpill(from, to string) (err error) {
	f, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	err = durable.CreateFrom(to, f)
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	equal, err := sameContent(from, to)
	if err == nil && !equal {
		err = inTheWay(to)
	}
	return err
}

func sameContent(a, b string) (bool, error) {
	x, err := fileSum(a)
	if err != nil {
		return false, err
	}
	y, err := fileSum(b)
	return x == y, err
}

func fileSum(path string) (sum [sha256.Size]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, err
	}
	h := sha256.New()
	_, err = io.Copy(h, f)
	copy(sum[:], h.Sum(nil))
	return sum, errors.Join(err, f.Close())
}
