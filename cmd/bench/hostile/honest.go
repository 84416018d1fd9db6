package hostile

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Honest is one caller: it makes a call and returns its error. Fresh makes one
// over a connection of its own, as a caller does that has just started.
type Honest struct {
	Call, Fresh func(ctx context.Context) error
}

// Seen is what the honest callers saw in one window.
type Seen struct {
	Calls, Failed int
	// First error, if any.
	First    error
	P50, P99 time.Duration
	// Fresh calls, each over a new connection, and their 99th percentile.
	Fresh    int
	FreshP99 time.Duration
}

// Watch makes honest calls for a while: callers that pause between calls, so
// that the server is not busy with them alone, and one newcomer after another.
func Watch(ctx context.Context, h Honest, callers int, pause, d time.Duration) Seen {
	var mu sync.Mutex // guards all below
	var s Seen
	var took, fresh []time.Duration
	end := time.Now().Add(d)
	var all sync.WaitGroup
	loop := func(call func(context.Context) error, into *[]time.Duration, pause time.Duration) {
		for time.Now().Before(end) && ctx.Err() == nil {
			began := time.Now()
			err := call(ctx)
			mu.Lock()
			*into = append(*into, time.Since(began))
			if err != nil && ctx.Err() == nil {
				s.Failed++
				if s.First == nil {
					s.First = err
				}
			}
			mu.Unlock()
			time.Sleep(pause)
		}
	}
	for range callers {
		all.Go(func() { loop(h.Call, &took, pause) })
	}
	all.Go(func() { loop(h.Fresh, &fresh, 10*pause) })
	all.Wait()
	slices.Sort(took)
	slices.Sort(fresh)
	s.Calls, s.Fresh = len(took), len(fresh)
	s.P50, s.P99, s.FreshP99 = at(took, 0.5), at(took, 0.99), at(fresh, 0.99)
	return s
}

// at is a quantile of sorted times.
func at(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(q*float64(len(sorted)-1))]
}

// Memory returns how much of a process is in memory now and has been at most, in bytes.
func Memory(pid int) (now, peak int64, err error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, 0, fmt.Errorf("reading the memory of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(line, ":")
		kb, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			now = kb << 10
		case "VmHWM":
			peak = kb << 10
		}
	}
	return now, peak, nil
}
