//go:build unix

package config

import "golang.org/x/sys/unix"

// writable reports whether this process may write to path, which exists.
func writable(path string) bool { return unix.Access(path, unix.W_OK) == nil }
