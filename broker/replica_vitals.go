package broker

import "time"

// ReplicaVitals is how a broker fares with the store that it shares with others.
type ReplicaVitals struct {
	// Lost is for how long the store has not answered; 0: it answers.
	Lost time.Duration
	// Verified entries are looked at in every round.
	Verified int
	// Queries for versions; Changed entries and app records that they found; Hints that came.
	Queries, Changed, Hints uint64
	// Stale are tokens served while the store did not answer.
	Stale uint64
	// Claimed grants that were due.
	Claimed uint64
	// ClockAhead is how far the store's clock is ahead of this machine's; negative: behind.
	ClockAhead time.Duration
}

// vitals does not block. Without a shared store it is nothing.
func (r *replica) vitals() ReplicaVitals {
	if r == nil {
		return ReplicaVitals{}
	}
	r.mu.Lock()
	verified := len(r.hot)
	r.mu.Unlock()
	return ReplicaVitals{
		Lost: r.lost(), Verified: verified, ClockAhead: r.b.now().Sub(r.b.clock.wall()),
		Queries: r.counts.queries.Load(), Changed: r.counts.changed.Load(), Hints: r.counts.hints.Load(),
		Stale: r.counts.stale.Load(), Claimed: r.counts.claimed.Load(),
	}
}

// notReady says for NotReady that the store does not answer; "": it does.
func (r *replica) notReady() string {
	if r == nil || r.lost() == 0 {
		return ""
	}
	return "store: the database has not answered for " + r.lost().Round(time.Second).String() +
		": nothing is refreshed, and valid tokens are served from memory for " + r.staleFor.String() + " at most"
}
