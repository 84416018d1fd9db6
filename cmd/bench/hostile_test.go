//go:build !race

// The race detector multiplies the memory of the server, which is measured here:
// scripts/test.sh runs this in a step of its own.

package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/cmd/bench/hostile"
)

// TestNoHonestCallFailsUnderAttack asserts no time: the machine that runs it
// is slow, shared, and the attackers' as well.
func TestNoHonestCallFailsUnderAttack(t *testing.T) {
	const halfOpen, mostMemory = 1000, 1 << 30
	var log bytes.Buffer
	results, err := besiege(t.Context(), hostileFlags{halfOpen: halfOpen, duration: 2 * time.Second}, &sharedWriter{w: &log})
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	if want := len(hostile.Attacks(halfOpen)); len(results) != want {
		t.Errorf("%d of %d attacks ran", len(results), want)
	}
	for _, r := range results {
		if r.siege.Calls == 0 || r.siege.Fresh == 0 {
			t.Errorf("%s: nobody called", r.attack.Name)
		}
		if r.siege.Failed > 0 || r.quiet.Failed > 0 {
			t.Errorf("%s: %d honest calls of %d failed, %d in quiet; the first: %v", r.attack.Name, r.siege.Failed, r.siege.Calls, r.quiet.Failed, r.siege.First)
		}
		if r.peak > mostMemory {
			t.Errorf("%s: the server had %d MiB in memory", r.attack.Name, r.peak>>20)
		}
	}
	if t.Failed() {
		t.Log(log.String())
	}
}
