// Package harden owns what keeps the memory of this process where it is. Tokens
// in use lie there in the clear, so it must not end up in a core file, nor be
// read by other processes of the same user. It also finds the one setting of
// the environment that would print tokens: see Leaky.
package harden

import (
	"fmt"
	"os"
	"strings"
)

// Process closes this process's memory: no core dump is written, whether to a
// file or to a program that the kernel's core_pattern names, and neither ptrace
// nor /proc gives it to a process without CAP_SYS_PTRACE. What the process reads of itself below
// /proc goes on working. An error says what could not be done; the rest is done
// all the same. Elsewhere than on Linux and other systems of that kind it does nothing.
func Process() error { return protect() }

// Allow undoes Process as far as the limits of the process permit, for somebody
// who has to look into it.
func Allow() error { return expose() }

// Leaky names the setting of the environment that makes the process print what
// goes over its connections, access and refresh tokens included; nil: there is none.
func Leaky() error {
	for setting := range strings.SplitSeq(os.Getenv("GODEBUG"), ",") {
		// As golang.org/x/net/http2 reads it, which takes 1 and 2.
		if name, value, _ := strings.Cut(strings.TrimSpace(setting), "="); name == "http2debug" && value != "0" {
			return fmt.Errorf("the environment says GODEBUG=%s, which prints what goes over connections, tokens included; "+
				"take http2debug out of GODEBUG and start again", setting)
		}
	}
	return nil
}
