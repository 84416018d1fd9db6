package broker

import (
	"context"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// FollowLimits does once what is done every ten seconds about observed limits.
func (b *Broker) FollowLimits(ctx context.Context) { b.followLimits(ctx, map[string]limits{}) }

// Cluster finds a limit in deaths, and how the app's event says it.
func Cluster(deaths []storage.AppDeath, limit family.Limit, now time.Time) (string, bool) {
	c, ok := findCluster(deaths, limit, now)
	return c.detail(), ok
}

// Outlived says whether a family that settled contradicts a limit that was
// observed at a time.
func Outlived(settled, exchanged, consented time.Time, limit family.Limit, length time.Duration, at time.Time) bool {
	var s survivors
	s.settled(settled, exchanged, consented)
	return s.contradict(limit, length, at)
}

// AfterFollowUps calls f once all that was noticed before it has been seen to.
func (b *Broker) AfterFollowUps(f func()) {
	b.watch.followUps <- followUp{do: func(context.Context) error { f(); return nil }}
}
