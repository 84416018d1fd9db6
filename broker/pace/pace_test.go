package pace

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestMeterAllowsABurstThenTheRate(t *testing.T) {
	var m Meter
	l := NewLimit(10, 5)
	for i := range 5 {
		if wait := m.Take(l, 0, 1); wait != 0 {
			t.Fatalf("event %d of the burst has to wait %v", i+1, wait)
		}
	}
	if wait := m.Take(l, 0, 1); wait != 100*time.Millisecond {
		t.Fatalf("after the burst the wait is %v, want 100ms", wait)
	}
	if wait := m.Take(l, 99*time.Millisecond, 1); wait != time.Millisecond {
		t.Fatalf("a moment before its time the wait is %v, want 1ms", wait)
	}
	if wait := m.Take(l, 100*time.Millisecond, 1); wait != 0 {
		t.Fatalf("who waited as told has to wait %v more", wait)
	}
	if m.Idle(200 * time.Millisecond) {
		t.Fatal("idle although the burst is not made up for")
	}
	if !m.Idle(time.Second) {
		t.Fatal("not idle a second later")
	}
}

func TestMeterRefusesAllOfWhatDoesNotFit(t *testing.T) {
	var m Meter
	l := NewLimit(100, 100)
	if m.Take(l, 0, 101) == 0 {
		t.Fatal("more than a burst was allowed")
	}
	if m.Take(l, 0, 60) != 0 || m.Take(l, 0, 60) == 0 {
		t.Fatal("two batches of 60 in a burst of 100: want the first allowed and the second not")
	}
	if m.Take(l, 0, 40) != 0 {
		t.Fatal("a refused batch was counted")
	}
}

func TestMeterCountsExactlyUnderContention(t *testing.T) {
	var m Meter
	var allowed atomic.Int64
	l := NewLimit(1, 1000)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 500 {
				if m.Take(l, 0, 1) == 0 {
					allowed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if allowed.Load() != 1000 {
		t.Fatalf("%d events allowed of a burst of 1000", allowed.Load())
	}
}

func TestTableIsBoundedAndForgetsTheIdleOnly(t *testing.T) {
	table := NewTable(func(string) Limit { return NewLimit(1, 2) })
	busy := table.Find("busy", 0)
	busy.Take(0, 2)
	for i := range 4 * Most {
		table.Find(fmt.Sprint("idle", i), time.Second)
	}
	if table.Len() > Most {
		t.Fatalf("%d names in a table of %d", table.Len(), Most)
	}
	if table.Find("busy", time.Second).Take(time.Second, 2) == 0 {
		t.Fatal("a busy name was forgotten, and with it what it had done")
	}
}

func TestNamesWithoutAPlaceShareAMeter(t *testing.T) {
	table := NewTable(func(string) Limit { return NewLimit(1, 1) })
	for i := range 8 * Most {
		table.Find(fmt.Sprint("busy", i), 0).Take(0, 1)
	}
	if table.Len() != Most {
		t.Fatalf("%d names in a table of %d", table.Len(), Most)
	}
	if table.Find("late", 0).Take(0, 1) == 0 {
		t.Fatal("a flood of names opened a way around the limit")
	}
	if table.Find("late", time.Minute).Take(time.Minute, 1) != 0 {
		t.Fatal("a name is still without a place when all others are idle")
	}
}

func TestFindAndTakeAllocateNothing(t *testing.T) {
	table := NewTable(func(string) Limit { return NewLimit(1e6, 1e6) })
	table.Find("a", 0)
	if n := testing.AllocsPerRun(100, func() { table.Find("a", 0).Take(0, 1) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func TestTellIsRare(t *testing.T) {
	n := NewTable(func(string) Limit { return NewLimit(1, 1) }).Find("a", 0)
	if !n.Tell(0) || n.Tell(time.Second) || !n.Tell(2*time.Minute) {
		t.Fatal("want the first time and then once a minute")
	}
}
