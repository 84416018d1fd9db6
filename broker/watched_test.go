package broker_test

import (
	"context"
	"sync"

	"github.com/holdfast-io/holdfast/storage"
)

// watched lets a test look at, and break, what the store does.
type watched struct {
	storage.Backend
	mu     sync.Mutex
	before func(changes []storage.Change) error // an error is returned instead of swapping
	health error
	swaps  int
	// reseal, if set, is called before records are sealed anew.
	reseal func(n int)
	// list, if set, is called before records are listed.
	list func()
}

func (w *watched) List(ctx context.Context, q storage.Query) ([]storage.Item, error) {
	w.mu.Lock()
	hook := w.list
	w.mu.Unlock()
	if hook != nil {
		hook()
	}
	return w.Backend.List(ctx, q)
}

func (w *watched) onList(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.list = f
}

func (w *watched) Reseal(ctx context.Context, list []storage.Reseal) error {
	w.mu.Lock()
	hook := w.reseal
	w.mu.Unlock()
	if hook != nil {
		hook(len(list))
	}
	return w.Backend.Reseal(ctx, list)
}

func (w *watched) Swap(ctx context.Context, c []storage.Change, e []storage.Entry) error {
	w.mu.Lock()
	hook := w.before
	w.swaps++
	w.mu.Unlock()
	if hook != nil {
		if err := hook(c); err != nil {
			return err
		}
	}
	return w.Backend.Swap(ctx, c, e)
}

// Collect implements storage.Collector where what is watched does.
func (w *watched) Collect(ctx context.Context, gone []storage.Key) (bool, error) {
	c, ok := w.Backend.(storage.Collector)
	if !ok {
		return false, nil
	}
	return c.Collect(ctx, gone)
}

func (w *watched) Health(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.health != nil {
		return w.health
	}
	return w.Backend.Health(ctx)
}

func (w *watched) swapCount() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.swaps
}

func (w *watched) onSwap(f func([]storage.Change) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before = f
}
