package audit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/storage/durable"
)

// sink is where the writer puts whole batches of lines.
type sink interface {
	// write returns how many bytes the sink has, or may have.
	write(b []byte) (int, error)
	// sync returns when they survive a power cut.
	sync() error
	close() error
}

// file is the primary sink of most: the newest of a row of files.
type file struct {
	path string
	f    *os.File
	size int64
	// regular is false for a device or a pipe: nothing is read from it, and it
	// is never renamed.
	regular bool
}

// openFile opens or creates the file for appending and takes its lock.
func openFile(path string) (*file, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
		f, err = os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o600) // a pipe or a device, perhaps
	}
	if err != nil {
		return nil, fmt.Errorf("opening audit file: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening audit file: %w", err), f.Close())
	}
	o := &file{path: path, f: f, size: info.Size(), regular: info.Mode().IsRegular()}
	if o.regular {
		if err := lock(f); err != nil {
			return nil, errors.Join(fmt.Errorf("audit file %s is in use: another Holdfast writes it; give each its own file: %w", path, err), f.Close())
		}
	}
	return o, nil
}

func (f *file) write(b []byte) (int, error) {
	n, err := f.f.Write(b)
	f.size += int64(n)
	return n, err
}

func (f *file) sync() error { return f.f.Sync() }

func (f *file) close() error {
	if !f.regular {
		return f.f.Close() // a pipe or a device takes no sync
	}
	return errors.Join(f.f.Sync(), f.f.Close())
}

// rotate renames the file, whose last line is number last, and begins a new
// one. After an error the old one is written on. The new one is there before the
// old one is renamed, so that a full disk is found in time.
func (f *file) rotate(last uint64) (renamed string, err error) {
	renamed = segmentName(f.path, last)
	if _, err := os.Lstat(renamed); !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("rotating audit file: %s exists already", renamed)
	}
	fresh := f.path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("rotating audit file: %w", err)
	}
	next, err := openFile(fresh)
	if err != nil {
		return "", err
	}
	err = errors.Join(f.f.Sync(), os.Rename(f.path, renamed))
	if err == nil {
		if err = os.Rename(fresh, f.path); err != nil { // searches look for it under its name
			err = errors.Join(err, os.Rename(renamed, f.path))
		}
	}
	if err != nil { // the open file is written on, under whichever name
		return "", errors.Join(fmt.Errorf("rotating audit file: %w", err), next.f.Close())
	}
	old := f.f
	f.f, f.size = next.f, 0
	return renamed, errors.Join(old.Close(), durable.SyncDir(filepath.Dir(f.path)))
}

// segmentName is the name of a full file whose last line is number last: sorted
// by name, the files are in their order.
func segmentName(path string, last uint64) string { return fmt.Sprintf("%s.%016d", path, last) }

// segments lists the full files of path, oldest first.
func segments(path string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("listing audit files: %w", err)
	}
	var names []string
	for _, e := range entries {
		number, ok := strings.CutPrefix(e.Name(), filepath.Base(path)+".")
		if _, err := strconv.ParseUint(number, 10, 64); ok && err == nil && len(number) >= 16 {
			names = append(names, filepath.Join(filepath.Dir(path), e.Name()))
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		if len(a) != len(b) { // more digits
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return names, nil
}

// expired lists full files beyond keep, and those last written before oldest,
// oldest first; zero values keep all.
func expired(path string, keep int, oldest time.Time) ([]string, error) {
	names, err := segments(path)
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		old := keep > 0 && len(names)-i > keep
		if info, err := os.Stat(name); err == nil && !oldest.IsZero() {
			old = old || info.ModTime().Before(oldest)
		}
		if !old {
			return names[:i], nil // a gap in the middle would look like a removed file
		}
	}
	return names, nil
}
