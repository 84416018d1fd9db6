package conformance

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

var onlyLanguage = flag.String("language", "", "test this SDK alone: go, typescript, python or java; separate several by commas")

const (
	// courses of a scenario at the most: one that failed while the machine was too
	// slow for its times says nothing, and is begun anew.
	courses = 3
	// slowStep and slowTick: how late steps, and the suite's own clock and the runner's
	// answer to nothing, may be. Ages count from the sending of a request, so a first
	// answer that takes long costs the token's life. The shortest bound of a step is a
	// second, of which two such standstills leave too little to a process that has to start threads.
	slowStep = 2 * time.Second
	slowTick = 300 * time.Millisecond
	// courseBound of one course.
	courseBound = 5 * time.Minute
)

func TestSDKs(t *testing.T) {
	all := scenarios(t)
	binaries := t.TempDir()
	binary := filepath.Join(binaries, "holdfast")
	build := exec.Command("go", "build", "-o", binary, "./cmd/holdfast")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building holdfast: %v\n%s", err, out)
	}
	found := false
	for _, l := range languages(binaries) {
		if *onlyLanguage != "" && !strings.Contains(","+*onlyLanguage+",", ","+l.name+",") {
			continue
		}
		found = true
		t.Run(l.name, func(t *testing.T) {
			f := &fleet{language: l}
			t.Cleanup(func() { f.end(t) })
			t.Parallel()
			if err := l.prepare(); err != nil {
				t.Fatal(err)
			}
			for _, s := range all {
				t.Run(s.name, func(t *testing.T) {
					t.Parallel()
					examine(t, f, s, binary)
				})
			}
		})
	}
	if !found {
		t.Fatalf("-language %s: there is no such SDK", *onlyLanguage)
	}
}

// examine plays a scenario until a course of it counts.
func examine(t *testing.T, f *fleet, s *scenario, binary string) {
	for n := 1; ; n++ {
		w, err := newWorld(s)
		if err != nil {
			t.Fatal(err)
		}
		stall, err := course(t.Context(), w, f, binary)
		if err == nil {
			t.Logf("%s\n%s", s.About, w.course())
			return
		}
		slow := stall > slowTick || w.late > slowStep || w.slow > slowStep
		if slow && n < courses {
			t.Logf("course %d failed on a machine that stood still for %v and came %v late; once more: %v", n, stall, max(w.late, w.slow), err)
			continue
		}
		t.Fatalf("%s\n\n%v\n\nits course (standstill %v, late by %v):\n%s\n\nthe runner said:\n%s\nthe broker said:\n%s",
			s.About, err, stall.Round(time.Millisecond), w.late.Round(time.Millisecond), w.course(), w.said(), w.dev.said())
	}
}

// course builds the scenario's world, takes all steps, and ends it.
func course(ctx context.Context, w *world, f *fleet, binary string) (stall time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, courseBound)
	defer cancel()
	watch, began := watchMachine(), time.Now()
	defer func() {
		stall = watch()
		if w.runner != nil {
			stall = max(stall, w.runner.stalled(began))
		}
		// The world ends even if the time of its course is over.
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), startBound)
		defer cancel()
		if gone := w.demolish(end); gone != nil {
			err = errors.Join(err, fmt.Errorf("at the end: %w", gone))
		}
	}()
	if err := w.build(ctx, f, binary); err != nil {
		return 0, fmt.Errorf("before the first step: %w", err)
	}
	for i := range w.s.Steps {
		s := &w.s.Steps[i]
		kind := s.kinds()[0]
		began := time.Now()
		if s.Token == nil && s.HTTP == nil {
			w.logf("%s", kind)
		}
		if err := w.play(ctx, s); err != nil {
			return 0, fmt.Errorf("step %d, %s: %w", i+1, kind, err)
		}
		if i == 0 && s.Token != nil {
			w.slow = time.Since(began) // the network is open
		}
	}
	return 0, nil
}

// watchMachine measures the longest standstill of this process until the
// function that it returns is called: the others' cannot have been much shorter.
func watchMachine() (stop func() time.Duration) {
	const tick = 20 * time.Millisecond
	done := make(chan struct{})
	var longest time.Duration
	var watching sync.WaitGroup
	watching.Go(func() {
		ticker := time.NewTicker(tick)
		defer ticker.Stop()
		for last := time.Now(); ; {
			select {
			case <-done:
				return
			case <-ticker.C:
				now := time.Now()
				longest = max(longest, now.Sub(last)-tick)
				last = now
			}
		}
	})
	return func() time.Duration {
		close(done)
		watching.Wait()
		return longest
	}
}

func (w *world) said() string {
	if w.runner == nil {
		return ""
	}
	return w.runner.log.String()
}

func (d *dev) said() string {
	if d == nil {
		return ""
	}
	return d.log.String()
}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(m.Run())
}
