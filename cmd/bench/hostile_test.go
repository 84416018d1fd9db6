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

// TestNoHonestCallFailsUnderAttack attacks one server in all ways, one after another.
// What it has in memory is measured as it comes, garbage of the attacks before
// included. No time is asserted: the machine that runs it is slow, shared, and the
// attackers' as well.
func TestNoHonestCallFailsUnderAttack(t *testing.T) {
	const halfOpen, mostMemory = 1000, 640 << 20
	var log bytes.Buffer
	results, after, err := besiege(t.Context(), hostileFlags{halfOpen: halfOpen, duration: 2 * time.Second}, &sharedWriter{w: &log})
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
			t.Errorf("%s: the server had %d MiB in memory since its start", r.attack.Name, r.peak>>20)
		}
	}
	if after.seen.Calls == 0 || after.seen.Failed > 0 {
		t.Errorf("afterwards %d honest calls of %d failed; the first: %v", after.seen.Failed, after.seen.Calls, after.seen.First)
	}
	if kept := after.rss - results[0].quietRSS; kept > mayKeep {
		t.Errorf("%v after the last attack the server still has %d MiB more in memory than before the first", after.took, kept>>20)
	}
	t.Log(log.String())
}
