package main

import (
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/holdfast-io/holdfast/cmd/holdfast/harden"
)

// memoryFlag opens the memory of a broker's process again, which execute has
// closed, and finds what else would carry tokens out of it.
type memoryFlag struct{ allow bool }

func (m *memoryFlag) bind(f *pflag.FlagSet) {
	f.BoolVar(&m.allow, "allow-core-dumps", false,
		"let this process be debugged and leave core dumps, which hold tokens in the clear; never in production")
}

// apply comes before the first secret is read. Its error is wrong use.
func (m *memoryFlag) apply(log *slog.Logger) error {
	if err := harden.Leaky(); err != nil {
		return usageError{err}
	}
	if !m.allow {
		return nil
	}
	if err := harden.Allow(); err != nil {
		return err
	}
	log.Warn("core dumps and debuggers are allowed: whoever gets a dump of this process, or runs as its user, gets every token in use")
	return nil
}
