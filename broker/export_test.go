package broker

import (
	"context"

	"github.com/holdfast-io/holdfast/storage"
)

// KeepClock does once what the clock's goroutine does every ten seconds.
func (b *Broker) KeepClock(ctx context.Context) { b.clock.keepOnce(ctx, b.store, b.cfg.Provider) }

// Retire does once what the end of retentions asks for every hour.
func (b *Broker) Retire(ctx context.Context) (int, error) { return b.retire(ctx) }

// Sweep does once what the sweeper does every two seconds.
func (b *Broker) Sweep(ctx context.Context) { b.sweepDue(ctx) }

// Count does once what the census does every minute.
func (b *Broker) Count(ctx context.Context) (Census, error) { return b.countOnce(ctx, 0) }

// ShareApps does once what each replica does every ten seconds: tell the others
// what it counted of the apps, and hear what they did.
func (b *Broker) ShareApps(ctx context.Context) { b.shareApps(ctx) }

// AskKEK does once what the watch of the key-encryption key does every 30 seconds.
func (b *Broker) AskKEK(ctx context.Context) bool { return b.askKEK(ctx) }

// RekeyEnded waits until no rotation of the data keys is worked on.
func (b *Broker) RekeyEnded() {
	b.rekey.mu.Lock()
	ended := b.rekey.ended
	b.rekey.mu.Unlock()
	if ended != nil {
		<-ended
	}
}

// AtHand is what the broker has in memory of a grant, for a store that lost it.
func (b *Broker) AtHand(id string) (storage.Grant, bool) { return b.atHand(id) }
