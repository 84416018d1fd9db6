package crash

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/holdfast-io/holdfast/broker/crashpoint"
)

// LeastKills let every point have its turn.
var LeastKills = leastKills()

// death is how one life of the broker is to end.
type death struct {
	// point at which it kills itself; empty: it is killed.
	point string
	nth   int
	// starting: it is killed after so long from its start, otherwise from the
	// first answer to a caller on.
	starting bool
	after    time.Duration
	// consenting: somebody consents meanwhile.
	consenting bool
	// rekeying: an operator has the data keys rotated meanwhile, again and again.
	rekeying bool
}

func (d death) String() string {
	while := ""
	if d.rekeying {
		while = ", while data keys are rotated"
	}
	switch {
	case d.point != "":
		return fmt.Sprintf("at %s, pass %d%s", d.point, d.nth, while)
	case d.starting:
		return fmt.Sprintf("%v after its start%s", d.after, while)
	}
	return fmt.Sprintf("%v after its first answer%s", d.after, while)
}

// plan draws n deaths for the legs, each leg its share of them. What leads to
// one point stays together: before a process can die while it takes over,
// another must have left something open.
func plan(n, legs int, random *rand.Rand) [][]death {
	var groups [][]death
	count := 0
	add := func(group ...death) {
		groups = append(groups, group)
		count += len(group)
	}
	for range max(1, n/3/leastKills()) {
		for _, p := range crashpoint.Points() {
			add(toPoint(p.Name, len(groups) >= len(crashpoint.Points()), random)...)
		}
	}
	for count < n {
		add(atRandom(random))
	}
	random.Shuffle(len(groups), func(i, j int) { groups[i], groups[j] = groups[j], groups[i] })
	shares := make([][]death, legs)
	dealt := 0
	for _, g := range groups {
		leg := min(dealt*legs/n, legs-1)
		shares[leg] = append(shares[leg], g...)
		dealt += len(g)
	}
	return shares
}

// leastKills is how many deaths it takes to come to every point once.
func leastKills() int {
	n := 0
	for _, p := range crashpoint.Points() {
		n += len(toPoint(p.Name, false, nil))
	}
	return n
}

// toPoint are the deaths that lead to one at the point: at its first pass, or at
// any of the first few.
func toPoint(name string, anyPass bool, random *rand.Rand) []death {
	d := death{point: name, nth: 1}
	most := 1
	switch name {
	case crashpoint.CommitUnsynced, crashpoint.CommitSynced:
		most = 20
	case crashpoint.ExchangeAnnounced, crashpoint.ExchangeAnswered, crashpoint.ExchangeAdopted:
		d.consenting = true
	case crashpoint.RekeyBegun, crashpoint.RekeyResealed, crashpoint.RekeyClean, crashpoint.RekeyEnded:
		d.rekeying = true
		most = 3
	case crashpoint.StartAnnounced, crashpoint.StartCounted, crashpoint.StoreOpened: // once a start
	case crashpoint.TakeOverFound, crashpoint.TakeOverClosed:
		return []death{{point: crashpoint.SpendWritten, nth: 1}, d}
	default:
		most = 4
	}
	if anyPass {
		d.nth = 1 + random.IntN(most)
	}
	return []death{d}
}

// atRandom is a death at any moment, in one of eight cases while it starts, and in
// one of four while data keys are rotated.
func atRandom(random *rand.Rand) death {
	d := death{rekeying: random.IntN(4) == 0}
	if d.starting = random.IntN(8) == 0; d.starting {
		d.after = time.Duration(random.IntN(400)) * time.Millisecond
	} else {
		d.after = time.Duration(random.IntN(1000)) * time.Millisecond
	}
	return d
}
