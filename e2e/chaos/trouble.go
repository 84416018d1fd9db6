package chaos

import (
	"sync"
	"time"
)

// Trouble is a span of the cluster's time in which a replica has an excuse.
type Trouble struct {
	// What happens, for people.
	What string
	// From and To; To is the end of time while it lasts.
	From, To time.Duration
	// Process: the replica itself does not run. Otherwise it cannot be sure to reach
	// the database.
	Process bool
}

const forever = time.Duration(1<<63 - 1)

// Troubled notes that trouble begins for a replica. What is returned ends it.
func (r *Replica) Troubled(what string, process bool) (over func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.trouble)
	r.trouble = append(r.trouble, Trouble{What: what, From: r.c.Now(), To: forever, Process: process})
	var once sync.Once
	return func() {
		once.Do(func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.trouble[n].To = r.c.Now()
		})
	}
}

// AllTroubled notes trouble of the database for every replica.
func (c *Cluster) AllTroubled(what string) (over func()) {
	ends := make([]func(), len(c.Replicas))
	for i, r := range c.Replicas {
		ends[i] = r.Troubled(what, false)
	}
	return func() {
		for _, end := range ends {
			end()
		}
	}
}

// excuse returns the trouble that a replica had between two times, or until so
// long before the first: what it does takes a while to heal.
func (r *Replica) excuse(from, to, healing time.Duration) (troubled, process bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.trouble {
		if s.From <= to && (s.To == forever || from <= s.To+healing) {
			troubled, process = true, process || s.Process
		}
	}
	return troubled, process
}
