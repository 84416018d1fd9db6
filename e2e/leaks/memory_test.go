package leaks

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/holdfast-io/holdfast/e2e/rig"
)

// The broker runs as a user without rights in these tests, as it should: root may
// look into any process.
const ordinary = 65534

// asUser is a command that starts its arguments as the ordinary user, or as who
// runs the test if that is not root, after a line of shell.
func asUser(shell string) []string {
	line := []string{"sh", "-c", shell + `; exec "$@"`, "sh"}
	if os.Getuid() == 0 {
		line = append(line, "setpriv", fmt.Sprintf("--reuid=%d", ordinary), fmt.Sprintf("--regid=%d", ordinary), "--clear-groups")
	}
	return line
}

// newPlainWorld deploys for the ordinary user, with what stands before the command.
func newPlainWorld(t *testing.T, within []string) *world {
	t.Helper()
	w := newWorld(t, "text", "", "")
	w.Within = within
	if os.Getuid() == 0 {
		give(t, filepath.Dir(w.Dir))
	}
	return w
}

// give lets the ordinary user have the test's directory, and come to the binary.
func give(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chown(path, ordinary, ordinary))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(rig.Binary(t, rig.Build{Plain: true})), 0o755); err != nil {
		t.Fatal(err)
	}
}

// start starts `serve` with more flags and waits until it says that it serves.
func (w *world) start(env []string, flags ...string) *rig.Process {
	w.t.Helper()
	cmd := w.Command(append([]string{"serve", "--config", "holdfast.yaml"}, flags...)...)
	cmd.Env = append(os.Environ(), env...)
	p := rig.Start(w.t, "holdfast", cmd)
	rig.Until(w.t, "the broker serves", func() bool { return strings.Contains(p.Output(), "msg=serving") })
	return p
}

// What proc(5) says of a process that is not dumpable: its files below /proc
// belong to root, so that its own user cannot read them; ptrace(2) asks the same.
func TestTheMemoryOfTheBrokerIsClosedToItsOwnUser(t *testing.T) {
	for _, row := range []struct {
		name  string
		flags []string
		open  bool
	}{{"closed", nil, false}, {"opened on demand", []string{"--allow-core-dumps"}, true}} {
		t.Run(row.name, func(t *testing.T) {
			w := newPlainWorld(t, asUser("ulimit -S -c unlimited"))
			p := w.start(nil, row.flags...)
			proc := fmt.Sprintf("/proc/%d/", p.Pid())
			info, err := os.Stat(proc + "mem")
			if err != nil {
				t.Fatal(err)
			}
			if owner := info.Sys().(*syscall.Stat_t).Uid; (owner != 0) != row.open {
				t.Errorf("the process's memory belongs to user %d", owner)
			}
			peek := asUser("true")
			peek = append(peek, "cat", proc+"environ")
			out, err := exec.Command(peek[0], peek[1:]...).CombinedOutput()
			if (err == nil) != row.open {
				t.Errorf("a process of the same user reads the environment of the broker: %v, %d bytes", err, len(out))
			}
			limits, err := os.ReadFile(proc + "limits")
			if err != nil {
				t.Fatal(err)
			}
			if closed := coreLimit(limits) == "0"; closed == row.open {
				t.Errorf("the limit of core dumps is %q", coreLimit(limits))
			}
			if strings.Contains(p.Output(), "core dumps and debuggers are allowed") != row.open {
				t.Error("the log does not say whether the memory is open")
			}
			w.processMetrics()
			p.Stop(t)
		})
	}
}

func coreLimit(limits []byte) string {
	_, line, _ := bytes.Cut(limits, []byte("Max core file size"))
	return string(bytes.Fields(line)[0])
}

// processMetrics checks that the process can still look at itself, as its metrics do.
func (w *world) processMetrics() {
	w.t.Helper()
	v := &visit{w: w, person: w.Person(w.t)}
	_, body := v.get("http://" + w.Where.Metrics + "/metrics")
	for _, name := range []string{"process_open_fds ", "process_resident_memory_bytes ", "process_cpu_seconds_total "} {
		if !bytes.Contains(body, []byte("\n"+name)) {
			w.t.Errorf("/metrics has no %s", name)
		}
	}
}

func TestACrashLeavesNoCoreDump(t *testing.T) {
	for _, row := range []struct {
		name  string
		flags []string
		dumps bool
	}{{"closed", nil, false}, {"opened on demand", []string{"--allow-core-dumps"}, true}} {
		t.Run(row.name, func(t *testing.T) {
			w := newPlainWorld(t, asUser("ulimit -S -c unlimited"))
			p := w.start([]string{"GOTRACEBACK=crash"}, row.flags...)
			p.Signal(t, syscall.SIGABRT)
			ended, ok := errors.AsType[*exec.ExitError](p.Ended(t))
			if !ok {
				t.Fatal("SIGABRT did not end the broker")
			}
			// The kernel says it, whether the dump would go to a file or to a program.
			if status := ended.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGABRT || status.CoreDump() != row.dumps {
				t.Errorf("the broker ended by %v, core dump %t, want %v, %t", status.Signal(), status.CoreDump(), syscall.SIGABRT, row.dumps)
			}
			w.look("what a crash printed", []byte(p.Output()))
			if !row.dumps {
				w.lookAtFiles()
			}
		})
	}
}

func TestADebugSettingThatPrintsConnectionsIsRefused(t *testing.T) {
	w := newWorld(t, "text", "", "")
	cmd := w.Command("serve", "--config", "holdfast.yaml")
	cmd.Env = append(os.Environ(), "GODEBUG=gctrace=0,http2debug=2")
	out, err := cmd.CombinedOutput()
	if ended, ok := errors.AsType[*exec.ExitError](err); !ok || ended.ExitCode() != 2 || !bytes.Contains(out, []byte("take http2debug out of GODEBUG")) {
		t.Errorf("got %v\n%s", err, out)
	}
}
