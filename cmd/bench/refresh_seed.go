package main

import (
	"context"
	"errors"
	"fmt"
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
	const writers = 64 // they share syncs
	errs := make([]error, writers)
	var group sync.WaitGroup
	for i := range n {
		grants = append(grants, storage.Address{Tenant: "acme", Subject: fmt.Sprintf("user-%d", i), Product: "jira", Name: storage.DefaultName})
	}
	for w := range writers {
		group.Go(func() {
			for i := w; i < n && errs[w] == nil; i += writers {
				errs[w] = store.Swap(ctx, consent(grants[i], time.Now().Add(-2*time.Hour), time.Hour, refreshSize))
			}
		})
	}
	group.Wait()
	return grants, errors.Join(errs...)
}
