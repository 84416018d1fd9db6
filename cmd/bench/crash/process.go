package crash

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// stopPatience is how long an orderly end may take.
const stopPatience = 30 * time.Second

// process is one life of a program.
type process struct {
	cmd     *exec.Cmd
	started time.Time
	// ended is closed after the process was waited for; err is set by then.
	ended chan struct{}
	err   error
}

// startProcess starts a program whose output is added to a file.
func startProcess(cmd *exec.Cmd, logFile string) (*process, error) {
	log, err := os.OpenFile(logFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the log of a process: %w", err)
	}
	defer func() { _ = log.Close() }() // the child has its own
	if cmd.Stdout == nil {
		cmd.Stdout = log
	}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	p := &process{cmd: cmd, started: time.Now(), ended: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// kill ends the process by SIGKILL and waits for its end. An earlier end is an error.
func (p *process) kill() error {
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing: %w", err)
	}
	<-p.ended
	return p.killed()
}

// killed is nil if a SIGKILL was what ended the process.
func (p *process) killed() error {
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() == syscall.SIGKILL {
		return nil
	}
	return fmt.Errorf("the process ended by itself, not by SIGKILL: %s", p.cmd.ProcessState)
}

// stop asks the process to end, and fails if it does not do so in good order.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping: %w", err)
	}
	select {
	case <-p.ended:
		return p.err
	case <-time.After(stopPatience):
		return errors.Join(fmt.Errorf("it did not end within %v of SIGTERM", stopPatience), p.kill())
	}
}

// tail returns the end of a log, for a report of what went wrong.
func tail(logFile string) string {
	const most = 4 << 10
	text, err := os.ReadFile(logFile)
	if err != nil {
		return err.Error()
	}
	if len(text) > most {
		text = text[len(text)-most:]
		if _, whole, found := bytes.Cut(text, []byte("\n")); found {
			text = whole
		}
	}
	return string(text)
}
