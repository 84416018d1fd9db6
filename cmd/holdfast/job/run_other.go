//go:build !unix

package job

import "os"

// passed are the signals that go on to the command.
var passed = []os.Signal{os.Interrupt}

// terminals reports whether the command has got s as well: a console gives it to all.
func terminals(os.Signal) bool { return true }

// Replace runs argv and ends this process with its exit code, since there is no way to
// take its place. It returns only if it could not; a *NotRun.
func Replace(argv, env []string) error {
	code, err := Run(argv, env)
	if err != nil {
		return err
	}
	os.Exit(code)
	return nil
}

func code(s *os.ProcessState) int { return s.ExitCode() }
