package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/e2e/chaos/faultproxy"
	"github.com/holdfast-io/holdfast/e2e/rig"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Replica is one replica over all its lives.
type Replica struct {
	*rig.Deployment
	Number int
	// Links to the servers of the database, in their order.
	Links []*faultproxy.Proxy

	c   *Cluster
	log string

	mu  sync.Mutex // guards what follows
	cmd *exec.Cmd
	// ended is closed once the life is over.
	ended chan struct{}
	lives int
	// trouble are the spans in which the replica may not answer, or not reach the
	// database, for which the test is to blame.
	trouble []Trouble
}

// String names the replica as the report does.
func (r *Replica) String() string { return fmt.Sprintf("replica %d", r.Number) }

// Start begins a life. It does not wait until the replica serves.
func (r *Replica) Start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	log, err := os.OpenFile(r.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own
	r.lives++
	fmt.Fprintf(log, "--- life %d of %s begins at %v\n", r.lives, r, r.c.Now().Round(time.Millisecond))
	cmd := r.Command("serve", "--config", "holdfast.yaml")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", r, err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // Stop looks at how it ended
		close(ended)
	}()
	r.cmd, r.ended = cmd, ended
	return nil
}

// process returns the present life, nil if there is none.
func (r *Replica) process() (*exec.Cmd, chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cmd, r.ended
}

// Lives is how often the replica was started.
func (r *Replica) Lives() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lives
}

// AwaitServing waits until the replica says that it is ready. An error says why it
// is not, or that it has ended.
func (r *Replica) AwaitServing(patience time.Duration) error {
	_, ended := r.process()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	done := make(chan struct{})
	defer close(done)
	go func() { // a call waits for a process, and knows nothing of its end
		select {
		case <-ended:
			cancel()
		case <-done:
		}
	}()
	for {
		status, err := r.Admin.GetStatus(ctx, &holdfastv1.GetStatusRequest{}, grpc.WaitForReady(true))
		if err == nil && status.GetReady() {
			return nil
		}
		if pause(ctx, 50*time.Millisecond) {
			continue
		}
		if isClosed(ended) {
			return fmt.Errorf("%s ended by itself; see %s", r, r.log)
		}
		return fmt.Errorf("%s is not ready within %v: %v, %w", r, patience, status.GetNotReadyReasons(), err)
	}
}

// Kill ends the life by SIGKILL. A life that had ended before is an error.
func (r *Replica) Kill() error {
	cmd, ended := r.process()
	if err := cmd.Process.Kill(); err != nil {
		return fmt.Errorf("killing %s, which ended by itself: %w; see %s", r, err, r.log)
	}
	<-ended
	return nil
}

// Freeze stops the process where it is, with all its connections open.
func (r *Replica) Freeze() error { return r.signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (r *Replica) Thaw() error { return r.signal(syscall.SIGCONT) }

func (r *Replica) signal(sig syscall.Signal) error {
	cmd, _ := r.process()
	if err := cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("sending %v to %s, which ended by itself: %w; see %s", sig, r, err, r.log)
	}
	return nil
}

// Stop asks the process to end, which it must do in good order.
func (r *Replica) Stop() error {
	cmd, ended := r.process()
	if err := r.signal(syscall.SIGTERM); err != nil {
		return err
	}
	patience := time.NewTimer(rig.Patience)
	defer patience.Stop()
	select {
	case <-ended:
	case <-patience.C:
		return errors.Join(fmt.Errorf("%s did not end within %v of SIGTERM; see %s", r, rig.Patience, r.log), r.Kill())
	}
	if !cmd.ProcessState.Success() {
		return fmt.Errorf("%s ended by %v after SIGTERM; see %s", r, cmd.ProcessState, r.log)
	}
	return nil
}

// end leaves no process behind, whatever became of the test.
func (r *Replica) end() {
	if cmd, ended := r.process(); cmd != nil {
		_ = cmd.Process.Kill() // an error: it has ended
		<-ended
	}
}

// Set lets all links of the replica fail, or None.
func (r *Replica) Set(f faultproxy.Fault) {
	for _, l := range r.Links {
		l.Set(f)
	}
}
