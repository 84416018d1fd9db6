// Package faultproxy stands between two processes that talk over TCP, and lets
// the network between them fail: connections are cut, or stay open while bytes
// are lost in one direction or both, or come late. It owns the bytes on their
// way alone: it knows no protocol, and what a program makes of a fault is its
// user's to judge.
package faultproxy

import (
	"fmt"
	"time"
)

// Way is what becomes of the bytes of one direction.
type Way int

// The ways.
const (
	// Pass: they arrive.
	Pass Way = iota
	// Swallow: they are lost, and so is the end of the connection. The sender has
	// no way to know. A connection that lost bytes is reset when the fault ends, as
	// by a peer that has forgotten it.
	Swallow
	// Hold: they arrive when the fault ends, like what TCP sends again.
	Hold
)

// Fault is what is wrong with the network. The zero value is nothing.
type Fault struct {
	// Cut resets all connections, and each new one at once.
	Cut bool
	// Up is towards the target, Down back from it.
	Up, Down Way
	// Delay of every piece of bytes that passes, in both directions.
	Delay time.Duration
}

// The faults that have a name.
var (
	// None lets everything pass.
	None = Fault{}
	// Cut is a network that says at once that nobody is there.
	Cut = Fault{Cut: true}
	// HalfOpen swallows everything and closes nothing.
	HalfOpen = Fault{Up: Swallow, Down: Swallow}
	// Stalled holds everything, and delivers it when it ends.
	Stalled = Fault{Up: Hold, Down: Hold}
	// Deaf loses the answers only: what was asked for is done.
	Deaf = Fault{Down: Swallow}
	// Mute loses the requests only.
	Mute = Fault{Up: Swallow}
)

// Slow delays every piece of bytes.
func Slow(by time.Duration) Fault { return Fault{Delay: by} }

// String names the fault.
func (f Fault) String() string {
	switch f {
	case None:
		return "none"
	case Cut:
		return "cut"
	case HalfOpen:
		return "half-open"
	case Stalled:
		return "stalled"
	case Deaf:
		return "one-way, answers lost"
	case Mute:
		return "one-way, requests lost"
	case Slow(f.Delay):
		return fmt.Sprintf("slow by %v", f.Delay)
	}
	return fmt.Sprintf("cut=%t up=%d down=%d delay=%v", f.Cut, f.Up, f.Down, f.Delay)
}
