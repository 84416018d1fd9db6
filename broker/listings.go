package broker

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"github.com/holdfast-io/holdfast/storage"
)

const (
	// mostListings are read at once: a page may read, open and decide about
	// mostScanned grants, which keeps a processor busy. Half of the processors,
	// at most this many, so that tokens are drawn beside it.
	mostListings = 4
	// mostListingsOfOne caller may be read or wait, so that the others wait for
	// few of its.
	mostListingsOfOne = 4
)

// listings bounds those that are read at once.
type listings struct {
	places chan struct{}

	mu sync.Mutex     // guards of
	of map[string]int // by caller, those that wait included
}

func newListings() *listings {
	n := min(max(runtime.GOMAXPROCS(0)/2, 1), mostListings)
	return &listings{places: make(chan struct{}, n), of: map[string]int{}}
}

// enter waits for a place, which leave gives back, or until ctx ends.
func (l *listings) enter(ctx context.Context, caller string) (leave func(), err error) {
	if !l.count(caller) {
		return nil, &Error{Reason: ReasonCallerRateLimited, RetryAfter: retrySoon, Metadata: map[string]string{"limit": "listings"},
			Message: fmt.Sprintf("caller %q asks for more than %d listings at once: ask for one page after the other", caller, mostListingsOfOne)}
	}
	select {
	case l.places <- struct{}{}:
		return func() { <-l.places; l.forget(caller) }, nil
	case <-ctx.Done():
		l.forget(caller)
		return nil, internal("waiting for other listings", ctx.Err())
	}
}

func (l *listings) count(caller string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of[caller] >= mostListingsOfOne {
		return false
	}
	l.of[caller]++
	return true
}

func (l *listings) forget(caller string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of[caller]--; l.of[caller] == 0 {
		delete(l.of, caller)
	}
}

// pageInTurn is page when it is the caller's turn.
func (b *Broker) pageInTurn(ctx context.Context, caller Caller, f GrantFilter, see func(storage.Address) bool) ([]GrantInfo, string, error) {
	leave, err := b.listings.enter(ctx, caller.Name)
	if err != nil {
		return nil, "", err
	}
	defer leave()
	return b.page(ctx, f, see)
}
