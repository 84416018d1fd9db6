package main

import (
	"fmt"
	"slices"
	"time"
)

// refreshRound is one case measured once on all sides, slices apart.
type refreshRound struct {
	broker, provider, sync, parts sliceReply
	pgbench                       pairTally
}

// besidePgbench says for the log how the broker did beside it, if it was there.
func (r *refreshRound) besidePgbench() string {
	if r.pgbench.pairs == 0 {
		return ""
	}
	return fmt.Sprintf(", pgbench's pairs/s %6.0f (%.3f)", r.pgbench.rate(), r.broker.rate()/r.pgbench.rate())
}

// commits of the store for each rotation: two, less what concurrent ones share.
func (r *refreshRound) commits() float64 {
	return float64(r.broker.Commits) / float64(max(r.broker.Rotations, 1))
}

// syncsPerCommit: Badger syncs its write-ahead log and its value log, one after
// the other, for each commit. The tests in cmd/bench/crash see it in a trace.
const syncsPerCommit = 2

// refreshMetric is one line of a case's report.
type refreshMetric struct {
	name, unit  string
	value, base func(*refreshRound) float64
	// of says of which cases; nil: of all.
	of func(*refreshCase) bool
	// goal of the ratio.
	goal string
}

func (c *refreshCase) besideSync() bool    { return slices.Contains(c.sides(), ofSync) }
func (c *refreshCase) ofGoal() bool        { return !c.postgres && c.callers == 64 && c.delay == 0 }
func (c *refreshCase) ofNoGoal() bool      { return !c.ofGoal() }
func (c *refreshCase) besideParts() bool   { return slices.Contains(c.sides(), ofParts) }
func (c *refreshCase) besideShared() bool  { return c.besideParts() && !c.besideSync() }
func (c *refreshCase) besidePgbench() bool { return slices.Contains(c.sides(), ofPgbench) }
func (c *refreshCase) besidePair() bool    { return c.callers == 1 && c.besidePgbench() }
func (c *refreshCase) onBadger() bool      { return !c.postgres }
func (c *refreshCase) onPostgres() bool    { return c.postgres }

func mean(t *tally) float64 {
	return t.Elapsed.Seconds() * 1000 / float64(max(t.Calls, 1))
}

var refreshMetrics = []refreshMetric{
	{name: "rotations", unit: "1/s", of: (*refreshCase).ofGoal, goal: ">= 0.4",
		value: func(r *refreshRound) float64 { return r.broker.rate() }, base: func(r *refreshRound) float64 { return r.provider.rate() }},
	{name: "rotations", unit: "1/s", of: (*refreshCase).ofNoGoal,
		value: func(r *refreshRound) float64 { return r.broker.rate() }, base: func(r *refreshRound) float64 { return r.provider.rate() }},
	{name: "p50_ms", unit: "ms",
		value: func(r *refreshRound) float64 { return r.broker.quantileMS(0.5) }, base: func(r *refreshRound) float64 { return r.provider.quantileMS(0.5) }},
	{name: "p99_ms", unit: "ms",
		value: func(r *refreshRound) float64 { return r.broker.quantileMS(0.99) }, base: func(r *refreshRound) float64 { return r.provider.quantileMS(0.99) }},
	{name: "cpu_us", unit: "us/rotation",
		value: func(r *refreshRound) float64 { return cpuOf(&r.broker, r.broker.Rotations) },
		base:  func(r *refreshRound) float64 { return cpuOf(&r.provider, int64(r.provider.Calls)) }},
	{name: "syncs", unit: "per rotation", of: (*refreshCase).onBadger,
		value: func(r *refreshRound) float64 { return syncsPerCommit * r.commits() }, base: func(*refreshRound) float64 { return 2 * syncsPerCommit }},
	{name: "syncs", unit: "per rotation", of: (*refreshCase).onPostgres, // one for each commit at the most
		value: (*refreshRound).commits, base: func(*refreshRound) float64 { return 2 }},
	{name: "parts", unit: "1/s", of: (*refreshCase).besideParts,
		value: func(r *refreshRound) float64 { return r.parts.rate() }, base: func(r *refreshRound) float64 { return r.provider.rate() }},
	{name: "beside_parts", unit: "1/s", of: (*refreshCase).besideShared,
		value: func(r *refreshRound) float64 { return r.broker.rate() }, base: func(r *refreshRound) float64 { return r.parts.rate() }},
	{name: "beside_two_writes_ms", unit: "ms", of: (*refreshCase).besideSync, goal: "<= 1.3",
		value: func(r *refreshRound) float64 { return mean(&r.broker.tally) },
		base:  func(r *refreshRound) float64 { return mean(&r.parts.tally) }},
	{name: "beside_sum_ms", unit: "ms", of: (*refreshCase).besideSync, goal: "<= 1.3",
		value: func(r *refreshRound) float64 { return mean(&r.broker.tally) },
		base:  func(r *refreshRound) float64 { return mean(&r.provider.tally) + 2*mean(&r.sync.tally) }},
	{name: "beside_two_writes_ms", unit: "ms", of: (*refreshCase).besidePair, goal: "<= 1.3",
		value: func(r *refreshRound) float64 { return mean(&r.broker.tally) },
		base:  func(r *refreshRound) float64 { return mean(&r.provider.tally) + 1000/r.pgbench.rate() }},
	{name: "beside_pgbench", unit: "1/s", of: (*refreshCase).besidePgbench, goal: ">= 0.5",
		value: func(r *refreshRound) float64 { return r.broker.rate() }, base: func(r *refreshRound) float64 { return r.pgbench.rate() }},
}

func cpuOf(s *sliceReply, calls int64) float64 {
	return float64(s.CPU) / float64(time.Microsecond) / float64(max(calls, 1))
}

// refreshResults reduces the rounds of one case to a line for each metric.
func refreshResults(rc refreshCase, rounds []refreshRound) []result {
	var out []result
	for _, m := range refreshMetrics {
		if m.of != nil && !m.of(&rc) {
			continue
		}
		var values, bases, ratios []float64
		for i := range rounds {
			v, b := m.value(&rounds[i]), m.base(&rounds[i])
			values, bases, ratios = append(values, v), append(bases, b), append(ratios, v/b)
		}
		out = append(out, result{
			Suite: "refresh", Case: rc.title(), Metric: m.name, Unit: m.unit,
			Value: median(values), Base: median(bases), Ratio: median(ratios),
			lowest: slices.Min(ratios), highest: slices.Max(ratios), goal: m.goal,
		})
	}
	return out
}
