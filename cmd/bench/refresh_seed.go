package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/node"
	"github.com/holdfast-io/holdfast/storage"
)

// refreshSize of a refresh token, in bytes.
const refreshSize = tokenSize / 2

// seedExpired stores so many grants whose access tokens have ended.
func seedExpired(ctx context.Context, o node.Options, n int) (grants []storage.Address, err error) {
	store, err := node.OpenStore(ctx, o.Config, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	const batch = 256
	for len(grants) < n {
		var list []storage.Update
		for range min(batch, n-len(grants)) {
			a := scaleAddress(len(grants))
			grants = append(grants, a)
			list = append(list, consent(a, time.Now().Add(-2*time.Hour), time.Hour, refreshSize))
		}
		if err := store.LoadNew(ctx, list); err != nil {
			return nil, err
		}
	}
	return grants, nil
}

// changeEach stores the first n grants anew, by many writers who share syncs.
func changeEach(ctx context.Context, store *storage.Store, n int) error {
	const writers = 64
	errs := make([]error, writers)
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := w; i < n && errs[w] == nil; i += writers {
				g, err := store.Grant(ctx, scaleAddress(i).GrantID())
				if err == nil {
					err = store.Swap(ctx, storage.Update{Grant: &g})
				}
				errs[w] = err
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}
