package job

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
)

// Exit codes of a command that could not be run, as shells have them.
const (
	ExitNotExecutable = 126
	ExitNotFound      = 127
	// exitSignal and the signal's number is how a command ends that a signal ended.
	exitSignal = 128
)

// NotRun is a command that could not be started.
type NotRun struct {
	// Code is ExitNotFound or ExitNotExecutable.
	Code  int
	cause error
}

func (e *NotRun) Error() string { return fmt.Sprintf("running the command: %v", e.cause) }

// Unwrap returns why.
func (e *NotRun) Unwrap() error { return e.cause }

func notRun(err error) error {
	code := ExitNotExecutable
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		code = ExitNotFound
	}
	return &NotRun{Code: code, cause: err}
}

// Run runs argv with that environment and this process's standard streams, and returns
// its exit code, or 128 and the signal's number if a signal ended it. Signals that this
// process gets go on to the command, but for those that the terminal gives to both by
// itself. It blocks until the command has ended. The error is a *NotRun.
func Run(argv, env []string) (int, error) {
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return 0, notRun(err)
	}
	cmd := &exec.Cmd{Path: path, Args: argv, Env: env, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, passed...)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, notRun(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-signals:
			if !terminals(s) {
				_ = cmd.Process.Signal(s) // it has ended otherwise
			}
		case err := <-ended:
			if exit, ok := errors.AsType[*exec.ExitError](err); ok {
				return code(exit.ProcessState), nil
			}
			return 0, err
		}
	}
}
