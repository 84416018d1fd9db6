package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Loads of the suite scale.
const (
	drawCallers = 4
	// hotGrants of each store are drawn over and over for the latency of hot answers.
	hotGrants = 1000
	// drawSlices of each load are made, size by size in alternation.
	drawSlices = 8
)

// drawAll starts the product over every store at once, watches it idle, and draws
// tokens: of the same few grants of each store in alternation, then of all of them,
// by Zipf's law.
func drawAll(ctx context.Context, o scaleFlags, all []*scaled, log io.Writer) (err error) {
	products := make([]*child, len(all))
	defer func() {
		for _, p := range products {
			if p != nil {
				err = errors.Join(err, p.stop())
			}
		}
	}()
	watches := make([]func() (most, last memory), len(all))
	for i, s := range all {
		if products[i], err = startChild(ctx, childScale, anyCore, log); err != nil {
			return err
		}
		watches[i] = peak(products[i].cmd.Process.Pid, 100*time.Millisecond)
		if _, err := products[i].ask(command{Scale: &scaleCommand{What: scaleReady, Serve: s.serve, Grants: s.grants}}); err != nil {
			return err
		}
	}
	select {
	case <-time.After(o.idle):
	case <-ctx.Done():
		return ctx.Err()
	}
	for i, s := range all {
		most, last := watches[i]()
		s.note("idle_anonymous", float64(last.anonymous)/mib)
		s.note("idle_anonymous_peak", float64(most.anonymous)/mib)
		s.note("idle_resident", float64(last.resident)/mib)
	}
	if err := drawHot(o, all, products); err != nil {
		return err
	}
	for i, s := range all {
		stop := peak(products[i].cmd.Process.Pid, 50*time.Millisecond)
		r, err := products[i].ask(command{Scale: &scaleCommand{What: scaleDraw, Callers: drawCallers, Measured: o.duration}})
		most, _ := stop()
		if err != nil {
			return fmt.Errorf("drawing from %d grants: %w", s.grants, err)
		}
		s.note("zipf_anonymous_peak", float64(most.anonymous)/mib)
		s.note("zipf_resident_peak", float64(most.resident)/mib)
		s.note("zipf_p99", r.Scale.quantileMS(0.99))
		s.note("zipf_rate", r.Scale.rate())
	}
	return ctx.Err()
}

func drawHot(o scaleFlags, all []*scaled, products []*child) error {
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	for n := range drawSlices + 1 {
		slices.Reverse(order)
		p99 := make([]float64, len(all))
		for _, i := range order {
			q := &scaleCommand{What: scaleDraw, Callers: drawCallers, Hot: min(hotGrants, all[i].grants), Unmeasured: settle, Measured: o.duration / drawSlices}
			if n == 0 {
				q.Measured = o.duration // all are read once
			}
			r, err := products[i].ask(command{Scale: q})
			if err != nil {
				return fmt.Errorf("drawing from %d grants: %w", all[i].grants, err)
			}
			p99[i] = r.Scale.quantileMS(0.99)
		}
		for i, s := range all {
			if n > 0 {
				s.noteBeside("hot_p99", p99[i], p99[0])
			}
		}
	}
	return nil
}

// scanAndTrash looks for what is due, changes a fifth of all, and collects Badger's value log.
func (s *scaled) scanAndTrash(ctx context.Context, trash bool, log io.Writer) error {
	r, _, err := s.ask(ctx, scaleDue, log)
	if err != nil {
		return err
	}
	for n, took := range r.Due {
		s.note("due_scan_"+n, milliseconds(took))
	}
	if !trash {
		return nil
	}
	if r, _, err = s.ask(ctx, scaleTrash, log); err != nil {
		return err
	}
	s.note("change_rate", float64(s.grants/5)/r.Took.Seconds())
	if s.server != nil {
		return s.noteGrowth()
	}
	s.note("disk_changed", float64(r.Before)/mib)
	s.noteBeside("disk_collected", float64(r.After)/mib, float64(r.Before)/mib)
	return nil
}

// scaleMetrics are the lines of each size. The base of those that have none of
// their own is the smallest size's figure.
var scaleMetrics = []struct{ name, unit string }{
	{"load_rate", "grants/s"}, {"load_anonymous_peak", "MiB"}, {"disk_loaded", "MiB"},
	{"ready_cold", "ms"}, {"ready_warm", "ms"}, {"bare_anonymous_cold", "MiB"}, {"bare_anonymous_warm", "MiB"},
	{"idle_anonymous", "MiB"}, {"idle_anonymous_peak", "MiB"}, {"idle_resident", "MiB"},
	{"hot_p99", "ms"}, {"zipf_rate", "calls/s"}, {"zipf_p99", "ms"}, {"zipf_anonymous_peak", "MiB"}, {"zipf_resident_peak", "MiB"},
	{"due_scan_0", "ms"}, {"due_scan_100", "ms"}, {"due_scan_1000", "ms"}, {"due_scan_10000", "ms"},
	{"change_rate", "grants/s"}, {"disk_changed", "MiB"}, {"disk_collected", "MiB"},
}

func scaleResults(all []*scaled) []result {
	var out []result
	for _, s := range all {
		for _, m := range scaleMetrics {
			values := slices.Clone(s.values[m.name])
			if len(values) == 0 {
				continue
			}
			bases := slices.Clone(s.bases[m.name])
			if smallest := all[0].values[m.name]; len(bases) == 0 {
				if len(smallest) == 0 {
					smallest = values // too few for that there
				}
				bases = slices.Repeat([]float64{median(slices.Clone(smallest))}, len(values))
			}
			var ratios []float64
			for i, v := range values {
				ratios = append(ratios, v/bases[i])
			}
			out = append(out, result{
				Suite: "scale", Case: s.name(), Metric: m.name, Unit: m.unit,
				Value: median(values), Base: median(bases), Ratio: median(ratios), lowest: slices.Min(ratios), highest: slices.Max(ratios),
			})
		}
	}
	return out
}
