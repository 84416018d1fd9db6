// Package wall owns the wall clock that the client looks at beside the monotonic
// one. Only the conformance suite's runner ever shifts it: nothing else can show
// what a wrong clock of the machine does.
package wall

import (
	"sync/atomic"
	"time"
)

var shift atomic.Int64

// Shift makes Now wrong by d, which may be negative, from now on.
func Shift(d time.Duration) { shift.Store(int64(d)) }

// Of returns what the wall clock shows at now, without a monotonic reading.
func Of(now time.Time) time.Time { return now.Round(0).Add(time.Duration(shift.Load())) }
