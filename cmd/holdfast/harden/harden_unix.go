//go:build unix && !linux

package harden

import "golang.org/x/sys/unix"

func protect() error { return limitCore(func(l *unix.Rlimit) { l.Cur = 0 }) }

func expose() error { return limitCore(func(l *unix.Rlimit) { l.Cur = l.Max }) }
