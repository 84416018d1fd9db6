//go:build linux || darwin || freebsd

package fencelog

import (
	"errors"
	"os"
	"syscall"
)

// lock is false if another process holds the file. It ends with the file's closing.
func lock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}
