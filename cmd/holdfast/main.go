// Command holdfast is the one binary of the product: the broker (serve), the
// same with everything around it for a try-out (dev), the simulated provider
// (sim) and the verbs for callers and operators. It only wires: what the verbs
// mean is decided by the broker and the packages below it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/holdfast-io/holdfast/cmd/holdfast/harden"
)

func main() { os.Exit(execute()) }

// execute runs the program as the process's arguments say and returns its exit
// code. SIGINT and SIGTERM end the context of every verb. The process's memory is
// closed before any of them reads a key or a token.
func execute() int {
	if err := harden.Process(); err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "warning: the memory of this process is not protected: %v\n", err) // nobody is left to tell
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
}
