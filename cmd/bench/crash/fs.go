package crash

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// inMemory reports whether dir lies on a file system that keeps nothing on a disk.
func inMemory(dir string) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return false, fmt.Errorf("asking what %s lies on: %w", dir, err)
	}
	return st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC, nil
}
