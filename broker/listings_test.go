package broker_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/storage/memstore"
)

// listingPlaces are half of the processors, and at most four.
func listingPlaces() int { return min(max(runtime.GOMAXPROCS(0)/2, 1), 4) }

func TestOneCallersListingsLeaveRoomForOthers(t *testing.T) {
	w := newWorld(t, func(w *world) { w.mem = memstore.New() })
	held := make(chan struct{})
	entered := make(chan struct{}, 100)
	w.backend.onList(func() { entered <- struct{}{}; <-held })
	release := sync.OnceFunc(func() { close(held) })
	defer release()
	outcomes := make(chan error, 5)
	for range 5 {
		go func() {
			_, _, err := w.Grants(t.Context(), op, broker.GrantFilter{})
			outcomes <- err
		}()
	}
	select {
	case err := <-outcomes: // the others can not have ended
		if broker.ReasonOf(err) != broker.ReasonCallerRateLimited {
			t.Errorf("one of five: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("five listings of one caller are read at once")
	}
	for range listingPlaces() {
		<-entered
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := w.MyGrants(over, svc, 1, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("who gave up waiting got %v", err)
	}
	release()
	for range 4 {
		if err := <-outcomes; err != nil {
			t.Error(err)
		}
	}
	for range 6 { // all places are given back
		if _, _, err := w.Grants(t.Context(), op, broker.GrantFilter{}); err != nil {
			t.Error(err)
		}
	}
}

func TestFewListingsAreReadAtOnce(t *testing.T) {
	w := newWorld(t, func(w *world) { w.mem = memstore.New() })
	var reading, most atomic.Int64
	w.backend.onList(func() {
		now := reading.Add(1)
		defer reading.Add(-1)
		for range 2000 { // time for the others to come as far
			runtime.Gosched()
			most.Store(max(most.Load(), now))
		}
	})
	var calls sync.WaitGroup
	for range 4 {
		calls.Go(func() {
			if _, _, err := w.Grants(t.Context(), op, broker.GrantFilter{}); err != nil {
				t.Error(err)
			}
		})
		calls.Go(func() {
			if _, _, err := w.MyGrants(t.Context(), svc, 1, ""); err != nil {
				t.Error(err)
			}
		})
	}
	calls.Wait()
	if n := most.Load(); n > int64(listingPlaces()) {
		t.Errorf("%d listings were read at once on %d processors", n, runtime.GOMAXPROCS(0))
	}
}
