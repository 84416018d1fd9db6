package main

import (
	"fmt"
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime returns the processor time, user and system, of all threads of a
// process. It reads the process's POSIX CPU-time clock: the same sum as
// utime+stime of /proc/PID/stat, in nanoseconds instead of ticks of 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	// The clock id of another process, see clock_getcpuclockid(3):
	// the complement of the pid, shifted, with CPUCLOCK_SCHED in the low bits.
	const cpuClockSched = 2
	clock := ^int32(pid)<<3 | cpuClockSched
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return 0, fmt.Errorf("reading the CPU time of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// allowedCores lists the cores that this process may run on.
func allowedCores() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("reading the CPU affinity: %w", err)
	}
	var cores []int
	for core := range len(set) * 64 {
		if set.IsSet(core) {
			cores = append(cores, core)
		}
	}
	return cores, nil
}

// startPinned starts cmd on one core. A child inherits the affinity of the
// thread that forks it, so that all its threads are pinned from the first
// instruction on; pinning itself later would miss those already running.
func startPinned(cmd *exec.Cmd, core int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, pinned unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return fmt.Errorf("reading the CPU affinity: %w", err)
	}
	pinned.Set(core)
	if err := unix.SchedSetaffinity(0, &pinned); err != nil {
		return fmt.Errorf("pinning to core %d: %w", core, err)
	}
	startErr := cmd.Start()
	if err := unix.SchedSetaffinity(0, &before); err != nil {
		return fmt.Errorf("restoring the CPU affinity: %w", err)
	}
	return startErr
}
