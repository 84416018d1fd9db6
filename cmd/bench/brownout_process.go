package main

import (
	"context"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/broker"
)

// hot draws the token of the one grant whose token outlives the run.
func (p *refresher) hot(ctx context.Context) error {
	_, err := p.node.Broker().AccessToken(ctx, broker.Caller{Name: callerName, RequestID: "bench"}, broker.TokenRequest{Address: benchAddress, Purpose: "bench"})
	return err
}

// disturb has the others of a slice at work until leave is called. It does not
// wait for the provider then: whoever waits for it leaves, and what they began goes on.
func (p *refresher) disturb(c sliceCommand) (leave func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	for range c.Others {
		group.Go(func() {
			tick := time.NewTicker(c.Every)
			defer tick.Stop()
			for ctx.Err() == nil {
				n := p.next.Add(1) - 1
				// What becomes of it is not the point: a dead provider refreshes nothing.
				_, _ = p.node.Broker().AccessToken(ctx, broker.Caller{Name: callerName, RequestID: "bench"},
					broker.TokenRequest{Address: p.grants[int(n)%len(p.grants)], Purpose: "bench"})
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		})
	}
	return func() {
		cancel()
		group.Wait()
	}
}

// calm ends a disturbance that is to last beyond a command.
func (p *refresher) calm() {
	if p.leave != nil {
		p.leave()
		p.leave = nil
	}
}
