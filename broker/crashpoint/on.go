//go:build crashpoints && linux

package crashpoint

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
)

// act is what is to be done at one point.
type act struct {
	plan   plan
	signal syscall.Signal // 0: a panic
	passes atomic.Uint64
}

var acts = armed()

// armed reads the environment. It ends the program where that names no point:
// a run whose crash never comes would prove something that it did not try.
func armed() (list []*act) {
	for _, v := range []struct {
		variable string
		signal   syscall.Signal
	}{{"HOLDFAST_CRASHPOINT", syscall.SIGKILL}, {"HOLDFAST_STOPPOINT", syscall.SIGSTOP}, {"HOLDFAST_PANICPOINT", 0}} {
		text := os.Getenv(v.variable)
		if text == "" {
			continue
		}
		p, err := parse(text)
		if err != nil {
			fmt.Fprintf(os.Stderr, "holdfast: %s: %v\n", v.variable, err)
			os.Exit(2)
		}
		list = append(list, &act{plan: p, signal: v.signal})
	}
	return list
}

// At marks a point: it ends or stops the process or panics there if the environment says so.
func At(name string) {
	for _, a := range acts {
		if a.plan.name != name || a.passes.Add(1) != a.plan.nth {
			continue
		}
		if a.signal == 0 {
			panic(os.Getenv("HOLDFAST_PANIC"))
		}
		raise(a.signal, name)
		if a.signal == syscall.SIGKILL {
			select {} // the signal may take a moment; not one more step
		}
	}
}

// raise sends the signal to this very thread: one that is sent to the process
// may be taken by another, while this one goes on past the point.
func raise(signal syscall.Signal, name string) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_, _, errno := syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(os.Getpid()), uintptr(syscall.Gettid()), uintptr(signal))
	if errno != 0 {
		fmt.Fprintf(os.Stderr, "holdfast: %v at %s failed: %v\n", signal, name, errno)
		os.Exit(2)
	}
}
