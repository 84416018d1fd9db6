//go:build linux || darwin || freebsd

package storage

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lockSpill locks the file for this store until it is closed or the process
// ends; false: another store holds it.
func lockSpill(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	return true, nil
}
