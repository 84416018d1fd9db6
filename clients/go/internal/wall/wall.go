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

// Nanos is what the wall clock shows at now, in nanoseconds since 1970.
func Nanos(now time.Time) int64 { return now.UnixNano() + shift.Load() }
