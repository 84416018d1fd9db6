package harden

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// protect: a limit of 0 alone would not do, since the kernel ignores it where
// core_pattern pipes the dump into a program (core(5)); for a process that is
// not dumpable it makes none in either case, and gives /proc/PID to root (proc(5)).
// Only the soft limit is lowered, so that expose can raise it again.
func protect() error {
	return errors.Join(
		wrap("making the process not dumpable", unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)),
		limitCore(func(l *unix.Rlimit) { l.Cur = 0 }),
	)
}

func expose() error {
	return errors.Join(
		wrap("making the process dumpable", unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0)),
		limitCore(func(l *unix.Rlimit) { l.Cur = l.Max }),
	)
}

func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
