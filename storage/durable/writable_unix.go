//go:build linux || darwin || freebsd

package durable

import "syscall"

// Writable returns why this process could make no file in dir; it makes none.
func Writable(dir string) error {
	const write, search = 2, 1 // W_OK and X_OK of access(2)
	return syscall.Access(dir, write|search)
}
