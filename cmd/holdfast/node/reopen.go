package node

import (
	"context"
	"time"
)

const (
	reopenInterval = time.Second
	// reopenGrace lets the readiness go red, so that callers are sent elsewhere,
	// before the listeners close.
	reopenGrace = 2 * readyInterval
)

// watchStore ends everything once the store says that it must be reopened, which
// only a new process does cleanly: the supervisor starts one. What could not be
// stored waits for it in the spill file.
func (n *Node) watchStore(mustReopen func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	n.stack.Serve("store watch", smallGrace, func() error {
		return awaitReopen(ctx, mustReopen)
	}, func(context.Context) error {
		cancel()
		return nil
	})
}

// awaitReopen returns the store's reason after a grace, or nil when ctx ends.
func awaitReopen(ctx context.Context, mustReopen func() error) error {
	tick := time.NewTicker(reopenInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := mustReopen()
		if err == nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(reopenGrace):
		}
		return err
	}
}
