package badgerstore

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/holdfast-io/holdfast/storage"
)

// openRoom is the free space, in bytes, that Open wants: Badger writes the
// heads of new logs through memory maps, where a full disk kills the process, and
// the check after a crash copies the write-ahead logs, 4 MiB each.
const openRoom = 16 << 20

// whatHelps adds what to do to an error of the file system that no repair of
// files could cure.
func whatHelps(err error) error {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w: %w; make room there and start again; nothing was changed", storage.ErrUnavailable, err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: %w; repair the file system or mount it writable, and start again; nothing was changed", storage.ErrUnavailable, err)
	}
	return err
}
