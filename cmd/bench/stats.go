package main

import (
	"math"
	"slices"
	"time"
)

// sample is what one server did in one round of one case.
type sample struct {
	rps, p50ms, p99ms, cpuUS float64
}

// metric is one column of a sample.
type metric struct {
	name, unit string
	of         func(sample) float64
}

var metrics = []metric{
	{"rps", "calls/s", func(s sample) float64 { return s.rps }},
	{"p50_ms", "ms", func(s sample) float64 { return s.p50ms }},
	{"p99_ms", "ms", func(s sample) float64 { return s.p99ms }},
	{"cpu_us", "us/call", func(s sample) float64 { return s.cpuUS }},
}

// round is one case measured once on each server, moments apart.
type round struct{ product, bare sample }

// result is one line of the report.
type result struct {
	Suite  string  `json:"suite"`
	Case   string  `json:"case"`
	Metric string  `json:"metric"`
	Value  float64 `json:"value"`
	Unit   string  `json:"unit"`
	// Base is the bare server's figure.
	Base float64 `json:"base"`
	// Ratio is the median of the rounds' ratios of value to base.
	Ratio float64 `json:"ratio"`

	// lowest and highest ratio of a round, and what the ratio is to be where that is
	// set; for the table only.
	lowest, highest float64
	goal            string
}

// summarize reduces the rounds of one case to a line for each metric.
func summarize(suite, name string, rounds []round) []result {
	out := make([]result, 0, len(metrics))
	for _, m := range metrics {
		var values, bases, ratios []float64
		for _, r := range rounds {
			v, b := m.of(r.product), m.of(r.bare)
			values, bases, ratios = append(values, v), append(bases, b), append(ratios, v/b)
		}
		out = append(out, result{
			Suite: suite, Case: name, Metric: m.name, Unit: m.unit,
			Value: median(values), Base: median(bases), Ratio: median(ratios),
			lowest: slices.Min(ratios), highest: slices.Max(ratios),
		})
	}
	return out
}

// median of at least one value; xs is sorted afterwards.
func median(xs []float64) float64 {
	slices.Sort(xs)
	mid := len(xs) / 2
	if len(xs)%2 == 1 {
		return xs[mid]
	}
	return (xs[mid-1] + xs[mid]) / 2
}

// quantile returns the smallest value that at least the share q of the sorted
// values does not exceed; 0 without values.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}
