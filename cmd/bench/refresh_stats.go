package main

import (
	"slices"
	"time"
)

// refreshRound is one case measured once on all sides, slices apart.
type refreshRound struct{ broker, provider, sync sliceReply }

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
	// only with one caller, whose waiting adds up.
	alone bool
}

func mean(t *tally) float64 {
	return t.Elapsed.Seconds() * 1000 / float64(max(t.Calls, 1))
}

var refreshMetrics = []refreshMetric{
	{name: "rotations", unit: "1/s",
		value: func(r *refreshRound) float64 { return r.broker.rate() }, base: func(r *refreshRound) float64 { return r.provider.rate() }},
	{name: "p50_ms", unit: "ms",
		value: func(r *refreshRound) float64 { return r.broker.quantileMS(0.5) }, base: func(r *refreshRound) float64 { return r.provider.quantileMS(0.5) }},
	{name: "p99_ms", unit: "ms",
		value: func(r *refreshRound) float64 { return r.broker.quantileMS(0.99) }, base: func(r *refreshRound) float64 { return r.provider.quantileMS(0.99) }},
	{name: "cpu_us", unit: "us/rotation",
		value: func(r *refreshRound) float64 { return cpuOf(&r.broker, r.broker.Rotations) },
		base:  func(r *refreshRound) float64 { return cpuOf(&r.provider, int64(r.provider.Calls)) }},
	{name: "syncs", unit: "per rotation",
		value: func(r *refreshRound) float64 { return syncsPerCommit * r.commits() }, base: func(*refreshRound) float64 { return 2 * syncsPerCommit }},
	{name: "beside_two_writes_ms", unit: "ms", alone: true,
		value: func(r *refreshRound) float64 { return mean(&r.broker.tally) },
		base:  func(r *refreshRound) float64 { return mean(&r.provider.tally) + 2*mean(&r.sync.tally) }},
}

func cpuOf(s *sliceReply, calls int64) float64 {
	return float64(s.CPU) / float64(time.Microsecond) / float64(max(calls, 1))
}

// refreshResults reduces the rounds of one case to a line for each metric.
func refreshResults(rc refreshCase, rounds []refreshRound) []result {
	var out []result
	for _, m := range refreshMetrics {
		if m.alone && rc.callers > 1 {
			continue
		}
		var values, bases, ratios []float64
		for i := range rounds {
			v, b := m.value(&rounds[i]), m.base(&rounds[i])
			values, bases, ratios = append(values, v), append(bases, b), append(ratios, v/b)
		}
		out = append(out, result{
			Suite: "refresh", Case: rc.name, Metric: m.name, Unit: m.unit,
			Value: median(values), Base: median(bases), Ratio: median(ratios),
			lowest: slices.Min(ratios), highest: slices.Max(ratios),
		})
	}
	return out
}
