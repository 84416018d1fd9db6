package pgtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

type atomicCounter struct{ n atomic.Int64 }

func (c *atomicCounter) next() int64 { return c.n.Add(1) }

// StartAgain starts a server that was stopped or killed, on its old port, and
// waits until it answers.
func (s *Server) StartAgain(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	// Not bound to the test's context: the cleanup ends it.
	c := exec.Command(filepath.Join(s.bin, "postgres"), "-D", s.data()) //nolint:noctx,gosec // see above; the program is named in this package
	c.Dir, c.Stdout, c.Stderr = s.dir, log, log
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred, Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatalf("starting PostgreSQL: %v", err)
	}
	s.cmd = c
	deadline := time.Now().Add(startWithin)
	for {
		err := s.exec("postgres", "SELECT 1")
		if err == nil {
			return
		}
		if time.Now().After(deadline) || !running(c.Process.Pid) {
			t.Fatalf("PostgreSQL does not start: %v\n%s", err, s.Log())
		}
		time.Sleep(20 * time.Millisecond) // a look at another process, not a synchronisation
	}
}

// running reports whether a child of this process has not ended.
func running(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, ok := strings.Cut(string(b), ") ")
	return err == nil && ok && !strings.HasPrefix(rest, "Z")
}

// Log is what the server has said.
func (s *Server) Log() string {
	b, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return string(b)
}

// Stop ends the server as an operator would: open transactions are rolled back.
func (s *Server) Stop(t testing.TB) {
	t.Helper()
	if err := s.stop(syscall.SIGINT); err != nil {
		t.Fatalf("stopping PostgreSQL: %v\n%s", err, s.Log())
	}
}

// stop sends the signal and waits for the end; a server that does not end is killed.
func (s *Server) stop(sig syscall.Signal) error {
	if s.cmd == nil {
		return nil
	}
	c := s.cmd
	s.cmd = nil
	_ = c.Process.Signal(sig)
	late := time.AfterFunc(startWithin, func() { _ = c.Process.Kill() })
	err := c.Wait()
	if !late.Stop() {
		return fmt.Errorf("it did not end within %v: %w", startWithin, err)
	}
	return nil
}

// Restart stops the server and starts it again.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.Stop(t)
	s.StartAgain(t)
}

// Kill ends all of the server's processes by SIGKILL, like a loss of power but for the page cache.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	if s.cmd == nil {
		t.Fatal("killing PostgreSQL: it does not run")
	}
	// The postmaster goes first: it would answer a child's death by a recovery.
	all := s.processes()
	for _, pid := range all {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = s.cmd.Wait()
	s.cmd = nil
	deadline := time.Now().Add(startWithin)
	for _, pid := range all[1:] {
		for running(pid) {
			if time.Now().After(deadline) {
				t.Fatalf("process %d of PostgreSQL survives SIGKILL", pid)
			}
			time.Sleep(time.Millisecond) // a look at another process, not a synchronisation
		}
	}
}

// Pause stops all of the server's processes where they are, connections open:
// a machine that hangs. Resume lets them go on.
func (s *Server) Pause(t testing.TB) { s.signalAll(t, syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume(t testing.TB) { s.signalAll(t, syscall.SIGCONT) }

func (s *Server) signalAll(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if s.cmd == nil {
		t.Fatal("PostgreSQL does not run")
	}
	for _, pid := range s.processes() {
		if err := syscall.Kill(pid, sig); err != nil && err != syscall.ESRCH {
			t.Fatalf("signalling process %d of PostgreSQL: %v", pid, err)
		}
	}
}

// processes are the postmaster, first, and its children.
func (s *Server) processes() []int {
	postmaster := s.cmd.Process.Pid
	all := []int{postmaster}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended meanwhile
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(postmaster) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
			all = append(all, pid)
		}
	}
	return all
}

// TerminateBackends ends all connections of a database but the one that does it.
func (s *Server) TerminateBackends(t testing.TB, database string) {
	t.Helper()
	s.Exec(t, database, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
}

// end stops the server for good and removes its directory.
func (s *Server) end(logf func(string, ...any)) {
	if s.cmd != nil {
		for _, pid := range s.processes() { // it may be paused
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}
	if err := s.stop(syscall.SIGINT); err != nil {
		logf("stopping PostgreSQL: %v", err)
	}
	_ = s.leash.Close()
	if err := s.keeper.Wait(); err != nil {
		logf("removing %s: %v", s.dir, err)
	}
}
