//go:build unix

package job

import (
	"os"
	"os/exec"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// passed are the signals that go on to the command.
var passed = []os.Signal{
	syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGALRM, syscall.SIGWINCH,
}

// terminals reports whether the terminal has sent s to the command as well: Ctrl-C and
// the like go to all processes in the foreground. Many programs take a second one for
// impatience, and end without cleaning up. Who sent a signal is not to be had in Go, so that
// one for this process alone stays here; the help says to send SIGTERM. A group of its own in
// the foreground would tell them apart, and would take the terminal from a pipeline's other
// programs, such as a pager.
func terminals(s os.Signal) bool {
	if !slices.Contains([]os.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGWINCH}, s) {
		return false
	}
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false // there is none
	}
	defer func() { _ = tty.Close() }() // only asked
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// Replace runs argv with that environment in place of this process, so that nothing has
// to pass exit codes and signals on. It returns only if it could not; a *NotRun.
func Replace(argv, env []string) error {
	path, err := exec.LookPath(argv[0])
	if err == nil {
		err = syscall.Exec(path, argv, env) //nolint:gosec // running what its user names is what it is for
	}
	return notRun(err)
}

func code(s *os.ProcessState) int {
	if status, ok := s.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitSignal + int(status.Signal())
	}
	return s.ExitCode()
}
