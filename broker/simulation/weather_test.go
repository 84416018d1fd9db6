package simulation

import (
	"fmt"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/family"
)

// timing keeps the provider's real leeway, lease and timeout. The access
// tokens live five minutes instead of an hour and their grace is two, so that
// rotations are frequent and that grace and leeway cannot be mixed up unseen.
var timing = family.Timing{
	Leeway: 10 * time.Minute, AccessGrace: 2 * time.Minute,
	Lease: time.Minute, HTTPTimeout: 5 * time.Second, ClockMargin: 4 * time.Second,
	RefreshAhead: 90 * time.Second, ConfirmDelay: 30 * time.Second,
	IdleLimit: 2 * time.Hour,
}

const accessLife = 5 * time.Minute

// weather is what one seed lives through.
type weather struct {
	replicas, grants int
	lasts            time.Duration
	// rate is the share of steps at which something goes wrong.
	rate float64
	// beyond lets outages outlast the leeway: only then may a family end, and
	// only by an announced last try of a token whose successor nobody ever got.
	beyond bool
	// lies makes the store forget, at the next crash, what it said was durable:
	// only to show that the simulation finds that out.
	lies bool
	// embedded is a store of one process, which takes over what an earlier one left.
	embedded bool
	// reuse, siblings and lateReuse are the provider's; see atlassiansim.Behaviour.
	reuse, siblings, lateReuse string
}

// weatherOf derives everything from the seed: it is all that a replay needs.
func weatherOf(seed uint64) weather {
	d := dice(seed, "weather")
	x := weather{
		replicas: 1 + int(seed%4), grants: 40, lasts: 2 * time.Hour,
		rate:  []float64{0.03, 0.1, 0.2, 0.35}[d.IntN(4)],
		reuse: "previous", siblings: "both", lateReuse: "family",
	}
	x.embedded = x.replicas == 1
	x.beyond = seed%5 == 3
	switch d.IntN(3) {
	case 0:
		x.reuse = "any"
	case 1: // the strictest reading of what is unknown
		x.siblings = "newest"
	}
	if d.IntN(2) == 0 {
		x.lateReuse = "client"
	}
	return x
}

func (x weather) String() string {
	s := fmt.Sprintf("%d replicas, %d grants, fault rate %.2f, reuse %s, siblings %s, late reuse ends the %s",
		x.replicas, x.grants, x.rate, x.reuse, x.siblings, x.lateReuse)
	if x.beyond {
		s += ", outages beyond the leeway"
	}
	return s
}

func (x weather) behaviour() *atlassiansim.Behaviour {
	b := atlassiansim.DefaultBehaviour()
	b.Reuse, b.Siblings, b.LateReuse = x.reuse, x.siblings, x.lateReuse
	b.LeewaySeconds = int(timing.Leeway / time.Second)
	b.AccessGraceSeconds = int(timing.AccessGrace / time.Second)
	b.AccessTTLSeconds = int(accessLife / time.Second)
	b.IdleSeconds = int(timing.IdleLimit / time.Second)
	b.TokenBytes, b.CodeBytes = 256, 256
	return &b
}
