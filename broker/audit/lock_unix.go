//go:build linux || darwin || freebsd

package audit

import (
	"os"
	"syscall"
)

// lock locks the file for this process until it is closed: two writers would
// continue the same line, and the chain would fork.
func lock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
