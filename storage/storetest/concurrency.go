package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/holdfast-io/holdfast/storage"
)

// all runs f n times at once and returns the errors.
func all(n int, f func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

func testOneWinner(t *testing.T, b storage.Backend) {
	put(t, b, "g", 0)
	for round := range 10 {
		old := storage.Version(round + 1)
		errs := all(32, func(i int) error {
			return b.Swap(t.Context(), []storage.Change{change("g", old)}, entries("g", fmt.Sprint(round, i)))
		})
		won := -1
		for i, err := range errs {
			switch {
			case err == nil && won >= 0:
				t.Fatalf("swaps %d and %d of version %d both won", won, i, old)
			case err == nil:
				won = i
			case !errors.Is(err, storage.ErrConflict):
				t.Fatalf("a loser got %v", err)
			}
		}
		if won < 0 {
			t.Fatalf("nobody won version %d", old)
		}
		wantVersion(t, b, "g", old+1)
		wantJournal(t, b, "g", 1, fmt.Sprint(round, won))
	}
}

func testGroup(t *testing.T, b storage.Backend) {
	const n = 64
	put(t, b, "taken", 0)
	for round := range storage.Version(5) {
		errs := all(n, func(i int) error {
			if i%4 == 0 { // conflicts, together with a record that must stay out
				return b.Swap(t.Context(), []storage.Change{change(fmt.Sprint("lost", i), 0), change("taken", 7)}, entries("taken", "never"))
			}
			id := fmt.Sprint("g", i)
			return b.Swap(t.Context(), []storage.Change{change(id, round)}, entries(id, fmt.Sprint(round)))
		})
		for i, err := range errs {
			if i%4 == 0 {
				wantErr(t, "the conflicting swap", err, storage.ErrConflict)
				wantVersion(t, b, fmt.Sprint("lost", i), 0)
				continue
			}
			if err != nil {
				t.Fatalf("the swap of another grant failed: %v", err)
			}
			wantVersion(t, b, fmt.Sprint("g", i), round+1)
		}
	}
	wantVersion(t, b, "taken", 1)
	wantJournal(t, b, "taken", 64)
}

func testContext(t *testing.T, b storage.Backend) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i := range 20 {
		id := fmt.Sprint("g", i)
		err := b.Swap(ctx, []storage.Change{change(id, 0)}, nil)
		if err == nil {
			wantVersion(t, b, id, 1) // it was quick: then it must be there
			continue
		}
		if errors.Is(err, storage.ErrUnknown) {
			continue
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want one that says that the context ended", err)
		}
		wantVersion(t, b, id, 0)
	}
	if _, err := b.Get(ctx, grantKey("g")); !errors.Is(err, context.Canceled) {
		t.Errorf("Get: got %v, want one that says that the context ended", err)
	}
}

func testClosed(t *testing.T, b storage.Backend) {
	put(t, b, "g", 0)
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	_, err := b.Get(ctx, grantKey("g"))
	wantErr(t, "Get", err, storage.ErrUnavailable)
	wantErr(t, "Swap", b.Swap(ctx, []storage.Change{change("g", 1)}, nil), storage.ErrUnavailable)
	_, err = b.List(ctx, storage.Query{Kind: storage.KindGrant, Limit: 1})
	wantErr(t, "List", err, storage.ErrUnavailable)
	_, err = b.Events(ctx, "g", 1)
	wantErr(t, "Events", err, storage.ErrUnavailable)
	wantErr(t, "Health", b.Health(ctx), storage.ErrUnavailable)
}
