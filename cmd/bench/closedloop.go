package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// tally is what callers in closed loops did in the measured time.
type tally struct {
	Calls     int
	Elapsed   time.Duration
	Latencies []time.Duration
}

func (t *tally) add(o tally) {
	t.Calls, t.Elapsed, t.Latencies = t.Calls+o.Calls, t.Elapsed+o.Elapsed, append(t.Latencies, o.Latencies...)
}

// rate is calls per second.
func (t *tally) rate() float64 { return float64(t.Calls) / t.Elapsed.Seconds() }

// quantileMS is a quantile of the latencies in milliseconds.
func (t *tally) quantileMS(q float64) float64 {
	slices.Sort(t.Latencies)
	return float64(quantile(t.Latencies, q)) / float64(time.Millisecond)
}

// closedLoop lets so many callers call one after another, and measures after a
// while that is not measured. Calls that ended in the measured time count. The
// first error of each caller ends that caller and is returned.
func closedLoop(ctx context.Context, callers int, unmeasured, measured time.Duration, call func(context.Context) error) (tally, error) {
	var phase atomic.Int32
	var group sync.WaitGroup
	latencies, errs := make([][]time.Duration, callers), make([]error, callers)
	for i := range callers {
		group.Go(func() {
			for phase.Load() != ending && ctx.Err() == nil {
				started := time.Now()
				if errs[i] = call(ctx); errs[i] != nil {
					return
				}
				if phase.Load() == measuring {
					latencies[i] = append(latencies[i], time.Since(started))
				}
			}
		})
	}
	time.Sleep(unmeasured)
	started := time.Now()
	phase.Store(measuring)
	time.Sleep(measured)
	phase.Store(ending)
	t := tally{Elapsed: time.Since(started)}
	group.Wait()
	t.Latencies = slices.Concat(latencies...)
	t.Calls = len(t.Latencies)
	return t, errors.Join(errors.Join(errs...), ctx.Err())
}
