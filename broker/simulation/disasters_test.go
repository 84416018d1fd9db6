package simulation

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
)

// disasters are what does not wait for a step of some rotation.
func (w *world) disasters() {
	for n := 0; ; n++ {
		d := dice(w.seed, "disaster", n)
		if !w.pause(between(d, time.Minute, 8*time.Minute)) {
			return
		}
		w.mu.Lock()
		hurt := w.mayHurt()
		w.mu.Unlock()
		if !hurt || !w.weather.beyond && d.Float64() > 3*w.weather.rate {
			continue
		}
		length := between(d, 5*time.Second, time.Minute)
		if w.weather.beyond && d.IntN(3) == 0 {
			length = between(d, 5*time.Minute, 25*time.Minute)
		}
		if w.weather.beyond && d.IntN(3) == 0 {
			w.blackout(d, timing.Leeway+length)
			continue
		}
		w.disaster(d.IntN(6), n, length)
	}
}

// blackout loses the answers of some rotations, and then the provider for
// longer than the leeway: whether their tokens are spent nobody can know.
func (w *world) blackout(d *rand.Rand, length time.Duration) {
	if d.IntN(2) == 0 {
		w.makeSiblings(d)
	}
	w.arm(atlassiansim.Fault{Kind: atlassiansim.FaultDropBeforeAnswer, KeepToken: d.IntN(2) == 0, ForSeconds: 20})
	victims := w.withSiblings()
	if len(victims) == 0 {
		victims = w.someGrants(d, 5)
	}
	for _, g := range victims {
		if l := w.anyLife(d); l != nil {
			w.work.Go(func() { w.force(l, g) })
		}
	}
	w.pause(5 * time.Second)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.rough { // the faults may have ended meanwhile
		w.note(nil, nil, "answers are lost, and then the provider cannot be reached for %s", length)
		prolong(&w.providerDownUntil, length)
	}
}

// someGrants returns n grants, one of them twice perhaps.
func (w *world) someGrants(d *rand.Rand, n int) (list []*grant) {
	for range n {
		list = append(list, w.grants[d.IntN(len(w.grants))])
	}
	return list
}

// makeSiblings has other replicas take over rotations of which the first answer
// is then found to be too late.
func (w *world) makeSiblings(d *rand.Rand) {
	l := w.anyLife(d)
	if l == nil || len(w.replicas) == 1 {
		return
	}
	for _, g := range w.someGrants(d, 3) {
		w.mu.Lock()
		g.late = true
		w.mu.Unlock()
		w.work.Go(func() { w.force(l, g) })
	}
	w.pause(2*timing.Lease + 30*time.Second)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range w.grants {
		g.late = false
	}
}

// withSiblings returns the grants that know two tokens of one generation, of
// which the provider may let one live: what a doubt does to them is rarely seen.
func (w *world) withSiblings() (list []*grant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range w.grants {
		if n := len(g.durable.State.Alternates); n > 0 && g.durable.State.Doubt == nil {
			list = append(list, g)
		}
	}
	return list
}

func (w *world) disaster(which, n int, length time.Duration) {
	l := w.anyLife(dice(w.seed, "victim", n))
	say := func(format string, args ...any) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.note(l, nil, format, args...)
	}
	switch which {
	case 0:
		say("the provider cannot be reached for %s", length)
		prolong(&w.providerDownUntil, length)
	case 1:
		say("the store answers nobody for %s", length)
		prolong(&w.storeDownUntil, length)
	case 2:
		if l != nil {
			say("crash out of the blue")
			l.crash()
		}
	case 3:
		if l != nil {
			say("a new version is deployed")
			w.deploy(l)
		}
	case 4:
		if w.mayRefuse() {
			say("a wave of refusals")
			w.arm(atlassiansim.Fault{Kind: atlassiansim.FaultRefuse, FamilyPercent: 40, ForSeconds: int(timing.ConfirmDelay/time.Second) - 10})
		}
	case 5:
		say("a brown-out for %s", length)
		w.arm(atlassiansim.Fault{Kind: atlassiansim.FaultStatus, Status: 502, RateOver: 1, RateSlope: 20, Percent: 80, ForSeconds: int(length / time.Second)})
	}
}

// mayRefuse reports whether a wave of refusals would be the only reason to
// suspect any family.
func (w *world) mayRefuse() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, g := range w.grants {
		if _, open := g.clear(); open {
			return false
		}
	}
	return !w.weather.beyond
}

func (w *world) arm(f atlassiansim.Fault) {
	f.GrantType = "refresh_token"
	if _, err := w.sim.AddFault(f); err != nil {
		w.broken("arming a fault", err)
	}
}

// deploy ends a process in good order and starts the next.
func (w *world) deploy(l *life) {
	l.ready.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), l.broker.Patience())
	defer cancel()
	_ = l.broker.Close(ctx)
	if l.kill() {
		w.start(l.replica)
	}
}
