// Command holdfast is the one binary of the product: the broker (serve), the
// same with everything around it for a try-out (dev), the simulated provider
// (sim) and the verbs for callers and operators. It only wires: what the verbs
// mean is decided by the broker and the packages below it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(execute()) }

// execute runs the program as the process's arguments say and returns its exit
// code. SIGINT and SIGTERM end the context of every verb.
func execute() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
}
