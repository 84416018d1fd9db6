package rig

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// Process is a running program that a test started.
type Process struct {
	name string
	cmd  *exec.Cmd
	log  *lineLog
	// ended is closed once err says how it ended.
	ended chan struct{}
	err   error
	// dealt is set once the test itself has ended it, in whatever way.
	dealt bool
}

// Start starts a command and writes what it prints to the test's log. At the
// end of the test it is asked to stop, unless the test has ended it before, and
// must do so in good order.
func Start(t testing.TB, name string, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{name: name, cmd: cmd, log: newLineLog(t, name), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	go func() {
		defer close(p.ended)
		p.err = cmd.Wait()
	}()
	t.Cleanup(func() {
		if !p.dealt {
			p.Stop(t)
		}
	})
	return p
}

// Pid of the process.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Output is everything that it printed so far.
func (p *Process) Output() string { return p.log.all() }

// Signal sends a signal.
func (p *Process) Signal(t testing.TB, sig os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Errorf("sending %v to %s: %v", sig, p.name, err)
	}
}

// Kill is the death that nobody can prepare for: SIGKILL.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	p.dealt = true
	p.Signal(t, syscall.SIGKILL)
	<-p.ended
}

// Stop asks it to stop and waits until it has, in good order.
func (p *Process) Stop(t testing.TB) {
	t.Helper()
	p.dealt = true
	p.Signal(t, syscall.SIGTERM)
	select {
	case <-p.ended:
		if p.err != nil {
			t.Errorf("%s did not end in good order after SIGTERM: %v", p.name, p.err)
		}
	case <-time.After(Patience):
		_ = p.cmd.Process.Kill()
		<-p.ended
		t.Errorf("%s had to be killed: it did not end within %v of SIGTERM", p.name, Patience)
	}
}

// Ended waits until it has ended by itself and returns its error, nil for exit code 0.
func (p *Process) Ended(t testing.TB) error {
	t.Helper()
	select {
	case <-p.ended:
		p.dealt = true
	case <-time.After(Patience):
		t.Fatalf("%s still runs after %v; it was expected to end by itself", p.name, Patience)
	}
	return p.err
}

// Server is a running `holdfast serve`.
type Server struct {
	*Process
	d *Deployment
}

// Launch starts the server and does not wait for it. env is added to the environment.
func (d *Deployment) Launch(t testing.TB, env ...string) *Server {
	t.Helper()
	cmd := d.Command("serve", "--config", d.config)
	cmd.Env = append(os.Environ(), env...)
	return &Server{Process: Start(t, "holdfast", cmd), d: d}
}

// Serve starts the server and waits until it says that it serves.
func (d *Deployment) Serve(t testing.TB, env ...string) *Server {
	t.Helper()
	s := d.Launch(t, env...)
	if !s.Serving(t) {
		t.Fatalf("holdfast ended instead of serving: %v\n%s", s.err, s.Output())
	}
	return s
}

// Serving waits until it says that it serves; false: it ended instead.
func (s *Server) Serving(t testing.TB) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	go func() {
		select {
		case <-s.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	// An earlier server's death may have made them long.
	s.d.operator.ResetConnectBackoff()
	s.d.integration.ResetConnectBackoff()
	for ctx.Err() == nil {
		watch, err := grpc_health_v1.NewHealthClient(s.d.operator).Watch(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
		for err == nil {
			var answer *grpc_health_v1.HealthCheckResponse
			if answer, err = watch.Recv(); answer.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING {
				if s.connected(ctx) {
					return true
				}
			}
		}
	}
	select {
	case <-s.ended:
		s.dealt = true
	default:
		t.Fatalf("holdfast neither serves nor ends within %v", Patience)
	}
	return false
}

// connected waits until the connection of Tokens is there too: a call over one that
// still waits after an earlier server's death fails at once.
func (s *Server) connected(ctx context.Context) bool {
	_, err := grpc_health_v1.NewHealthClient(s.d.integration).Check(ctx, &grpc_health_v1.HealthCheckRequest{}, grpc.WaitForReady(true))
	return err == nil
}

// Ready asks /readyz where operators do: whether it is ready, and the reasons if it is not.
func (s *Server) Ready(t testing.TB) (bool, string) {
	t.Helper()
	client := &http.Client{Timeout: Patience, Transport: new(http.Transport)}
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://" + s.d.Where.Metrics + "/readyz")
	if err != nil {
		t.Fatalf("asking /readyz: %v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("reading /readyz: %v", err)
	}
	return resp.StatusCode == http.StatusOK, strings.TrimSpace(string(text))
}

// lineLog writes a process's output to the test's log, a line at a time, and
// nothing once the test has ended.
type lineLog struct {
	t      testing.TB
	name   string
	mu     sync.Mutex // guards what follows
	rest   []byte
	said   bytes.Buffer
	closed bool
}

func newLineLog(t testing.TB, name string) *lineLog {
	w := &lineLog{t: t, name: name}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.closed = true
	})
	return w
}

// Write implements io.Writer and never fails.
func (w *lineLog) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said.Write(p)
	w.rest = append(w.rest, p...)
	for {
		text, rest, found := bytes.Cut(w.rest, []byte("\n"))
		if !found {
			return len(p), nil
		}
		w.rest = rest
		if !w.closed {
			w.t.Logf("%s: %s", w.name, text)
		}
	}
}

func (w *lineLog) all() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.said.String()
}

// LogWriter is a writer into the test's log for a process that the test starts by itself.
func LogWriter(t testing.TB, name string) io.Writer { return newLineLog(t, name) }
