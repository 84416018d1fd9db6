package broker

import (
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// learnLoad lets the app's gate learn from an attempt that ended, and records
// when the circuit changes: once per outage, not once per attempt.
func (b *Broker) learnLoad(a *app, g *storage.Grant, o family.Outcome) {
	now := b.now()
	switch a.load.learn(now, g, o) {
	case circuitOpened:
		a.tell(storage.AppEvent{Type: storage.AppCircuitOpened, At: now,
			Detail: "the provider fails (" + o.Code + "): only grants in doubt and one other are tried, until one is answered"})
	case circuitClosed:
		a.tell(storage.AppEvent{Type: storage.AppCircuitClosed, At: now, Detail: "the provider answers again"})
	}
}

// circuitOpen reports whether the provider fails for the app, and pausedUntil
// until when it asked the app to wait; zero: it did not.
func (a *app) circuitOpen(now time.Time) (open bool, pausedUntil time.Time) {
	return a.load.standing(now)
}

// observe tells the observer of an attempt that ended.
func (b *Broker) observe(g *storage.Grant, sp family.Spend, class family.Class, took time.Duration, stored bool) {
	a := Attempt{App: g.App, Reason: sp.Reason, Kind: sp.Kind, Class: class, Took: took, Stored: stored, ToSettle: b.now().Sub(sp.Announced)}
	// No other attempt of this process can have begun before this one's turn ends.
	if sl := b.hot.find(g.Address); sl != nil {
		a.Overtaken = sl.entry.Load().grant.State.Fence != sp.Fence
	}
	b.cfg.Observe.Attempt(a)
}
