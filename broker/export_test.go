package broker

import "context"

// KeepClock does once what the clock's goroutine does every ten seconds.
func (b *Broker) KeepClock(ctx context.Context) { b.clock.keepOnce(ctx, b.store, b.cfg.Provider) }

// Sweep does once what the sweeper does every two seconds.
func (b *Broker) Sweep(ctx context.Context) { b.sweepDue(ctx) }

// Count does once what the census does every minute.
func (b *Broker) Count(ctx context.Context) (Census, error) { return b.countOnce(ctx) }

// ShareApps does once what each replica does every ten seconds: tell the others
// what it counted of the apps, and hear what they did.
func (b *Broker) ShareApps(ctx context.Context) { b.shareApps(ctx) }
