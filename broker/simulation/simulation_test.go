package simulation

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	oneSeed   = flag.Uint64("seed", 0, "play this `seed` alone; 0: many")
	firstSeed = flag.Uint64("first", 1, "the first of many seeds")
	rotations = flag.Int("rotations", defaultRotations, "play seeds until there were so many rotations")
	progress  = flag.Bool("progress", false, "print a line for every seed")
)

// TestMain lets garbage lie: most of what a run makes dies with it.
func TestMain(m *testing.M) {
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}

// TestSimulation plays seeds until there were enough rotations.
func TestSimulation(t *testing.T) {
	if *oneSeed != 0 {
		s := live(t, *oneSeed)
		t.Logf("seed %d: %s\n%s", *oneSeed, weatherOf(*oneSeed), s)
		return
	}
	var mu sync.Mutex // guards next and total
	next, total, began := *firstSeed, stats{}, time.Now()
	t.Run("seeds", func(t *testing.T) {
		for worker := range runtime.GOMAXPROCS(0) {
			t.Run(fmt.Sprint("worker", worker), func(t *testing.T) {
				t.Parallel()
				for {
					mu.Lock()
					seed, enough := next, total.rotations >= *rotations
					next++
					mu.Unlock()
					if enough || t.Failed() {
						return
					}
					var s stats
					t.Run(fmt.Sprint("seed", seed), func(t *testing.T) { s = live(t, seed) })
					mu.Lock()
					total.add(s)
					if *progress {
						fmt.Fprintf(os.Stderr, "%6s  seeds=%d rotations=%d kills=%d doubts=%d lost_beyond_saving=%d\n",
							time.Since(began).Round(time.Second), total.seeds, total.rotations, total.kills, total.doubts, total.lost)
					}
					mu.Unlock()
				}
			})
		}
	})
	t.Logf("%d seeds from %d in %s: %s", total.seeds, *firstSeed, time.Since(began).Round(time.Second), total)
}

// live plays one seed and reports what it broke.
func live(t *testing.T, seed uint64) (s stats) {
	synctest.Test(t, func(t *testing.T) {
		w := play(t, seed, weatherOf(seed))
		w.report(t)
		s = w.stats
	})
	return s
}

// TestAStoreThatLiesIsFoundOut shows that the simulation looks at what a crash
// would leave, and not at what calls see.
func TestAStoreThatLiesIsFoundOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := play(t, 1, weather{replicas: 2, grants: 4, lasts: time.Hour, lies: true, reuse: "any", siblings: "both", lateReuse: "family"})
		if len(w.failures) == 0 || w.failures[0].invariant != 1 {
			t.Fatalf("the store forgets everything and the simulation finds %v", w.failures)
		}
	})
}
