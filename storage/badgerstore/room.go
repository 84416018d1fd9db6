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

func space(dir string, least uint64) error {
	free, err := Free(dir)
	if err != nil {
		return fmt.Errorf("%w: asking for the free space of %s: %w", storage.ErrUnavailable, dir, err)
	}
	if free < least {
		return fmt.Errorf("%w: %d MiB free in %s, want at least %d MiB: make room there; nothing was changed",
			storage.ErrUnavailable, free>>20, dir, (least+1<<20-1)>>20)
	}
	return nil
}

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

// Room returns why a new store in the file system of dir could not take so many
// bytes of records, as far as that can be told beforehand. The error is an
// ErrUnavailable. It changes nothing.
func Room(dir string, bytes uint64) error { return space(dir, openRoom+bytes) }
