package storage

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/holdfast-io/holdfast/storage/durable"
)

// SpillName is the name of the spill file in the store's directory. A store
// that finds it held by another one over the same directory uses SpillName-2,
// and so on.
const SpillName = "spill"

// mostSpillFiles bounds how many stores over one directory get a file.
const mostSpillFiles = 64

// SpillFile is what a Spill is kept in. What was written before a Sync that
// returned nil survives a crash of the machine.
type SpillFile interface {
	io.ReaderAt
	io.WriterAt
	Sync() error
	// Size in bytes; a file of size 0 is laid out by the store.
	Size() (int64, error)
	Close() error
}

// spillFile is a spill file on disk, locked against other stores.
type spillFile struct {
	*os.File
	path string
}

// Sync also finds a file that somebody has moved or deleted: what is written to
// it would not be found at the next start.
func (f *spillFile) Sync() error {
	if err := f.File.Sync(); err != nil {
		return err
	}
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	named, err := os.Stat(f.path)
	if err != nil || !os.SameFile(mine, named) {
		return fmt.Errorf("%s was moved or deleted while it was in use: restart Holdfast, which makes a new one", f.path)
	}
	return nil
}

// Size implements SpillFile.
func (f *spillFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// claimSpill opens every spill file in dir that no other store holds, so that
// what one store left behind is found by the next one whatever its name; if
// that is none, it makes one of so many slots.
func claimSpill(dir string, slots int) (files []SpillFile, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeSpill(files))
		}
	}()
	for i := 1; i <= mostSpillFiles; i++ {
		path := spillPath(dir, i)
		f, err := claimSpillFile(path)
		missing := errors.Is(err, os.ErrNotExist)
		if missing && len(files) == 0 {
			if err := makeSpillFile(path, slots); err != nil && !errors.Is(err, os.ErrExist) {
				return files, fmt.Errorf("making the spill file: %w: make room in %s for %d MiB; nothing was changed", err, dir, slots*SlotSize>>20)
			}
			f, err = claimSpillFile(path)
		} else if missing {
			continue // there may be others behind the gap
		}
		if err != nil {
			return files, fmt.Errorf("opening the spill file: %w", err)
		}
		if f != nil {
			files = append(files, f)
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("opening the spill file: all %d in %s are in use by other stores", mostSpillFiles, dir)
	}
	return files, nil
}

// spillPath of the i-th file, from 1.
func spillPath(dir string, i int) string {
	path := filepath.Join(dir, SpillName)
	if i > 1 {
		path = fmt.Sprintf("%s-%d", path, i)
	}
	return path
}

// addSpillFile makes one file more of so many slots, under the first free name.
func addSpillFile(dir string, slots int) (SpillFile, error) {
	for i := 1; i <= mostSpillFiles; i++ {
		path := spillPath(dir, i)
		err := makeSpillFile(path, slots)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		f, err := claimSpillFile(path)
		if err != nil {
			return nil, err
		}
		if f != nil {
			return f, nil
		}
	}
	return nil, fmt.Errorf("there are %d spill files in %s already", mostSpillFiles, dir)
}

// claimSpillFile opens and locks the file; nil: another store holds it.
func claimSpillFile(path string) (*spillFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	mine, err := lockSpill(f)
	if err != nil || !mine {
		return nil, errors.Join(err, f.Close())
	}
	return &spillFile{f, path}, nil
}

// makeSpillFile makes the file with every block of it written: one with holes
// would need room just when there is none. The filler is random, since some
// file systems make a hole of zeros.
func makeSpillFile(path string, slots int) error {
	empty, err := encodeSlot(nil)
	if err != nil {
		return err
	}
	var content []io.Reader
	for range slots {
		content = append(content, bytes.NewReader(empty), io.LimitReader(rand.Reader, int64(SlotSize-len(empty))))
	}
	return durable.CreateFrom(path, io.MultiReader(content...))
}

func closeSpill(files []SpillFile) error {
	var errs []error
	for _, f := range files {
		if err := f.Close(); !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
