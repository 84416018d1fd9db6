//go:build linux || darwin || freebsd

package badgerstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/holdfast-io/holdfast/storage"
)

// dirLock is an advisory lock on the store's directory itself: it needs no
// file, so that a refused open changes nothing, and it ends with the process.
type dirLock struct{ f *os.File }

func lockDir(dir string) (*dirLock, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the store's directory: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("%w: %s is in use by another process%s: stop that one first, or give this one a directory of its own; nothing was changed",
			storage.ErrUnavailable, dir, owner(dir))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("locking the store's directory: %w", err), f.Close())
	}
	return &dirLock{f}, nil
}

// owner names the process that Badger noted in its directory.
func owner(dir string) string {
	b, err := os.ReadFile(filepath.Join(dir, dataDir, "LOCK"))
	if err != nil {
		return ""
	}
	return fmt.Sprintf(" (pid %s)", strings.TrimSpace(string(b)))
}

func (l *dirLock) release() error { return l.f.Close() }

// Free is what an unprivileged process may still write in dir, in bytes.
func Free(dir string) (uint64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil //nolint:unconvert // the types differ between systems
}
