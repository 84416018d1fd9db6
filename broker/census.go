package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

const (
	// censusEvery is the least time between two countings of all grants.
	censusEvery = time.Minute
	// censusShare bounds what counting costs: it rests twenty times as long as it
	// works, after each page, so that it never takes more than a twentieth of one
	// core from those who ask for tokens. The first counting, which somebody may be
	// waiting for, takes a fifth.
	censusShare, firstCensusShare = 20, 4
	// quickCount is what GetStatus may take to count: some ten thousand grants, or,
	// as long as nobody has counted them, four times as many.
	quickCount   = 250 * time.Millisecond
	patientCount = 4 * quickCount
	// censusPage grants are in memory at a time: it is done all the time, and what
	// it holds would be most of an idle broker's memory.
	censusPage = 100
)

// Census is how the families fared when they were last counted. It is shared:
// never change one.
type Census struct {
	// At is when the counting began; zero: there was none yet.
	At time.Time
	// Took is how long it worked, without its rests.
	Took time.Duration
	// Apps by id; an app without grants is left out, one that is not configured
	// any more is not.
	Apps map[string]AppCensus
	// Damaged is the number of grants whose records do not open.
	Damaged int
}

// AppCensus is the part of a Census that is about one app.
type AppCensus struct {
	Phases map[family.Phase]int
	// InDoubt families may have been spent without their successor being known.
	InDoubt int
	// NextIdle and NextAbsolute are the earliest deadlines by which the provider
	// ends a family of the app; zero: unknown.
	NextIdle, NextAbsolute time.Time
	// EndingSoon is the number of families whose absolute deadline is at most 30 days away.
	EndingSoon int
}

// Census returns the newest counting. It does not block.
func (b *Broker) Census() Census {
	if c := b.census.Load(); c != nil {
		return *c
	}
	return Census{}
}

// count counts every so often until ctx ends.
func (b *Broker) count(ctx context.Context) {
	for {
		started := time.Now()
		c, err := b.countForAll(ctx)
		if err == nil {
			b.census.Store(&c)
		} else if ctx.Err() == nil {
			b.log.Warn("counting the grants failed; it is tried again", "error", err)
		}
		next := max(censusEvery, censusShare*c.Took) - time.Since(started)
		if rest(ctx, max(next, time.Second)) != nil {
			return
		}
	}
}

// Why recount has nothing new: errUncounted, there are too many grants to count them
// while somebody waits, and errLate, it took too long although it was quick the last time.
var (
	errUncounted = errors.New("the grants are still being counted for the first time since the start, which takes minutes for a million, and as long as the store does not answer; ask again then")
	errLate      = fmt.Errorf("the grants could not be counted anew within %v, and were quickly the last time: the numbers are of then, and the store is slow or does not answer", patientCount)
)

// recount counts anew, unless that takes so long that the newest counting has to
// do: with a nil error, or errLate.
func (b *Broker) recount(ctx context.Context) (Census, error) {
	last := b.Census()
	if last.Took > quickCount {
		return last, nil
	}
	quick, cancel := context.WithTimeout(ctx, patientCount)
	defer cancel()
	c, err := b.countOnce(quick, 0)
	switch {
	case err == nil:
		b.census.Store(&c)
	case quick.Err() != nil && ctx.Err() == nil && last.At.IsZero():
		return Census{}, errUncounted
	case quick.Err() != nil && ctx.Err() == nil:
		return last, errLate
	}
	return c, err
}

// countSlowly counts at a share of a core.
func (b *Broker) countSlowly(ctx context.Context) (Census, error) {
	if b.Census().At.IsZero() {
		return b.countOnce(ctx, firstCensusShare)
	}
	return b.countOnce(ctx, censusShare)
}

// countOnce rests share times as long as it works.
func (b *Broker) countOnce(ctx context.Context, share int) (Census, error) {
	c := Census{At: b.now(), Apps: map[string]AppCensus{}}
	f := storage.Filter{Limit: censusPage}
	for {
		started := time.Now()
		page, err := b.store.Grants(ctx, f)
		if err != nil {
			return c, err
		}
		for i := range page {
			app := c.Apps[page[i].App]
			app.add(b.info(&page[i]), c.At)
			c.Apps[page[i].App] = app
		}
		worked := time.Since(started)
		c.Took += worked
		if len(page) < f.Limit {
			break
		}
		f.After = page[len(page)-1].ID
		if share > 0 {
			_ = rest(ctx, time.Duration(share)*worked)
		}
		if ctx.Err() != nil {
			return c, ctx.Err()
		}
	}
	c.Damaged = len(b.store.Damaged())
	return c, nil
}

func (a *AppCensus) add(g *GrantInfo, now time.Time) {
	if a.Phases == nil {
		a.Phases = map[family.Phase]int{}
	}
	a.Phases[g.Phase]++
	if g.InDoubt {
		a.InDoubt++
	}
	a.NextIdle = earliest(a.NextIdle, g.IdleDeadline)
	a.NextAbsolute = earliest(a.NextAbsolute, g.AbsoluteDeadline)
	if d := g.AbsoluteDeadline; !d.IsZero() && d.Sub(now) <= 30*24*time.Hour {
		a.EndingSoon++
	}
}

// earliest of two times of which zero is none.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// Vitals is how this broker fares at this moment, as far as it knows without asking anybody.
type Vitals struct {
	// OpenSettlements counts new tokens that could not be stored yet.
	OpenSettlements int
	// Clock is what the provider's newest answer said about this machine's
	// clock; its At is zero if there was none yet.
	Clock atlassian.Clock
	// ClockBehind is by how much the clock is behind the store's newest time, so
	// that nothing is spent; 0: it is not.
	ClockBehind time.Duration
	// Apps, in order of id, without their events.
	Apps []AppStatus
	// RefusedReads counts what was read from the store and did not open.
	RefusedReads uint64
	// KEK is what the key-encryption key answered of late.
	KEK KEKHealth
	// KeyRotation is the newest rotation of the data keys; its StartedAt is zero if there was none.
	KeyRotation KeyRotation
	// Replica is zero for a store that belongs to this process alone.
	Replica ReplicaVitals
}

// Vitals returns them. It does not block.
func (b *Broker) Vitals() Vitals {
	v := Vitals{OpenSettlements: b.unstored.count().open, ClockBehind: b.clock.behind(), RefusedReads: b.store.Refused(), KEK: b.kek.health(b.now()), KeyRotation: b.keyRotation(), Replica: b.replica.vitals()}
	v.Clock, _ = b.cfg.Provider.Clock()
	now := b.now()
	for _, id := range b.appIDs() {
		v.Apps = append(v.Apps, b.apps[id].status(now))
	}
	return v
}
