package patroni

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/holdfast-io/holdfast/e2e/rig"
)

// inside is set in the environment of the tests that run in their own namespaces.
const inside = "HOLDFAST_PATRONI_INSIDE"

func TestMain(m *testing.M) {
	if os.Getenv(inside) == "" {
		os.Exit(enter())
	}
	if err := errors.Join(mountMemory(), buildNetwork()); err != nil {
		fmt.Fprintln(os.Stderr, "preparing the namespaces of the tests:", err)
		os.Exit(1)
	}
	rig.Main(m)
}

// enter runs this program again in namespaces of its own and returns its exit
// code. The first process in them is a shell, which takes in orphans: a dead
// server that nobody takes in would look alive to the next one. Should this
// process die, the shell dies, and everything in the namespaces with it.
func enter() int {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "looking for the test's own program:", err)
		return 1
	}
	args := append([]string{
		"--net", "--ipc", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc", "--",
		"sh", "-c", `"$@"; exit $?`, "sh", self,
	}, os.Args[1:]...)
	cmd := exec.Command("unshare", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	runtime.LockOSThread() // the signal comes when the thread dies that started the process
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() > 0 {
		if os.Getuid() != 0 {
			fmt.Fprintln(os.Stderr, "these tests need namespaces of their own: run them as root (in a container: docker run --privileged)")
		}
		return exit.ExitCode()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "running the tests in namespaces of their own, for which util-linux must be installed:", err)
		return 1
	}
	return 0
}

// members' directories lie below runDir, in memory.
const runDir = "/run"

// mountMemory covers what a killed server would leave behind on the machine:
// directories, names of network namespaces, shared memory.
func mountMemory() error {
	for _, dir := range []string{runDir, "/dev/shm"} {
		if err := unix.Mount("holdfast", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=1777"); err != nil {
			return fmt.Errorf("mounting memory on %s: %w", dir, err)
		}
	}
	return nil
}
