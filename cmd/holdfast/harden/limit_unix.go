//go:build unix

package harden

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// limitCore changes the limit of a core file's size.
func limitCore(change func(*unix.Rlimit)) error {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &l); err != nil {
		return fmt.Errorf("reading the limit of core dumps: %w", err)
	}
	change(&l)
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &l); err != nil {
		return fmt.Errorf("setting the limit of core dumps: %w", err)
	}
	return nil
}
