package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/storage"
)

// RunShared tests what several replicas do with one store. open returns two
// Backends of one empty store, both of which are storage.Shared.
func RunShared(t *testing.T, open func(t *testing.T) (one, other storage.Backend)) {
	for _, part := range []struct {
		name string
		test func(t *testing.T, one, other storage.Backend)
	}{
		{"the replicas have one clock", testOneClock},
		{"versions come in the order of their keys, 0 for what is not there", testVersions},
		{"what is due is claimed by one replica, in order, until its hold ends", testClaim},
		{"a swap ends a claim", testSwapEndsClaim},
		{"replicas that claim at once share the work out", testClaimAtOnce},
		{"a swap is heard of elsewhere", testFollow},
	} {
		t.Run(part.name, func(t *testing.T) {
			one, other := open(t)
			part.test(t, one, other)
		})
	}
}

func shared(b storage.Backend) storage.Shared { return b.(storage.Shared) }

func testOneClock(t *testing.T, one, other storage.Backend) {
	first, err := shared(one).Now(t.Context())
	_, second, verr := shared(other).Versions(t.Context(), nil)
	third, terr := shared(one).Now(t.Context())
	if err := errors.Join(err, verr, terr); err != nil || second.Before(first) || third.Before(second) {
		t.Fatalf("%v, then %v, then %v, %v", first, second, third, err)
	}
}

func testVersions(t *testing.T, one, other storage.Backend) {
	mustSwap(t, one, []storage.Change{change("a", 0), change("b", 0)})
	mustSwap(t, one, []storage.Change{change("b", 1)})
	keys := []storage.Key{grantKey("b"), grantKey("missing"), grantKey("a"), {Kind: storage.KindApp, ID: "a"}}
	got, _, err := shared(other).Versions(t.Context(), keys)
	if diff := cmp.Diff([]storage.Version{2, 0, 1, 0}, got); diff != "" || err != nil {
		t.Fatalf("%v\n%s", err, diff)
	}
}

// dueGrants swaps in n grants that are due a second after one another.
func dueGrants(t *testing.T, b storage.Backend, n int) (from time.Time) {
	t.Helper()
	for i := range n {
		c := change(fmt.Sprintf("g%02d", i), 0)
		c.Item.Due = epoch.Add(time.Duration(i) * time.Second)
		mustSwap(t, b, []storage.Change{c})
	}
	return epoch
}

func claim(t *testing.T, b storage.Backend, due storage.Span, hold time.Duration, limit int) (ids []string) {
	t.Helper()
	items, err := shared(b).Claim(t.Context(), due, hold, limit)
	if err != nil {
		t.Fatalf("Claim: %v", err)
	}
	for _, it := range items {
		if len(it.Sealed) == 0 || it.Version == 0 {
			t.Errorf("claimed %+v: want the whole record", it)
		}
		ids = append(ids, it.Key.ID)
	}
	return ids
}

func testClaim(t *testing.T, one, other storage.Backend) {
	from := dueGrants(t, one, 5)
	consent := change("consent", 0)
	consent.Item.Key.Kind = storage.KindConsent
	mustSwap(t, one, []storage.Change{change("never due", 0), consent})
	span := storage.Span{From: from.Add(time.Second), Before: from.Add(4 * time.Second)}
	steps := []struct {
		by   storage.Backend
		due  storage.Span
		hold time.Duration
		want []string
	}{
		{one, span, time.Hour, []string{"g01", "g02"}},
		{other, span, time.Hour, []string{"g03"}},
		{one, span, time.Hour, nil},
		{other, storage.Span{Before: span.Before}, time.Millisecond, []string{"g00"}},
	}
	for i, s := range steps {
		if diff := cmp.Diff(s.want, claim(t, s.by, s.due, s.hold, 2)); diff != "" {
			t.Fatalf("step %d:\n%s", i, diff)
		}
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) { // until the last hold has ended
		got := claim(t, one, storage.Span{Before: span.Before}, time.Hour, 2)
		if slices.Equal(got, []string{"g00"}) {
			return
		}
		if len(got) > 0 || time.Now().After(end) {
			t.Fatalf("claimed %v: want g00 again, once its hold has ended", got)
		}
	}
}

func testSwapEndsClaim(t *testing.T, one, other storage.Backend) {
	due := storage.Span{Before: dueGrants(t, one, 1).Add(time.Minute)}
	if got := claim(t, one, due, time.Hour, 5); len(got) != 1 {
		t.Fatalf("claimed %v", got)
	}
	c := change("g00", 1)
	c.Item.Due = epoch
	mustSwap(t, one, []storage.Change{c})
	if got := claim(t, other, due, time.Hour, 5); !slices.Equal(got, []string{"g00"}) {
		t.Fatalf("after the swap claimed %v", got)
	}
}

func testClaimAtOnce(t *testing.T, one, other storage.Backend) {
	due := storage.Span{Before: dueGrants(t, one, 40).Add(time.Hour)}
	var mu sync.Mutex
	times := map[string]int{}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 20 {
				items, err := shared([]storage.Backend{one, other}[i%2]).Claim(t.Context(), due, time.Hour, 3)
				if err != nil {
					t.Errorf("Claim: %v", err)
				}
				mu.Lock()
				for _, it := range items {
					times[it.Key.ID]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for id, n := range times {
		if n != 1 {
			t.Errorf("%s was claimed %d times", id, n)
		}
	}
	if len(times) != 40 {
		t.Errorf("claimed %d of 40", len(times))
	}
}

func testFollow(t *testing.T, one, other storage.Backend) {
	ctx, cancel := context.WithCancel(t.Context())
	heard := make(chan storage.Key, 100)
	ended := make(chan error, 1)
	go func() {
		ended <- shared(other).Follow(ctx, func(k storage.Key) {
			select {
			case heard <- k:
			default:
			}
		})
	}()
	for version := storage.Version(0); ; version++ { // until Follow has begun
		mustSwap(t, one, []storage.Change{change("a", version)})
		select {
		case k := <-heard:
			if k != grantKey("a") {
				t.Errorf("heard of %v", k)
			}
		case <-time.After(50 * time.Millisecond):
			if version < 200 {
				continue
			}
			t.Error("nothing was heard of 200 swaps")
		}
		break
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Follow ended with %v", err)
	}
}
