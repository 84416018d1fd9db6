package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/holdfast-io/holdfast/internal/freeport"
)

// brownoutCase is what goes wrong, or on, beside hot answers.
type brownoutCase struct {
	name string
	// dead: nobody listens where the provider should be.
	dead bool
	// delay of the provider's answers.
	delay time.Duration
	// others callers of other grants, whose tokens have ended, each so often.
	others int
	every  time.Duration
}

// brownoutCases are the rows of the suite hot's case "brownout".
var brownoutCases = []brownoutCase{
	{name: "brownout-refresh", delay: 20 * time.Millisecond, others: 4, every: 40 * time.Millisecond},
	{name: "brownout-slow", delay: 2 * time.Second, others: 64, every: 100 * time.Millisecond},
	{name: "brownout-dead", dead: true, others: 64, every: 500 * time.Millisecond},
}

// hotCallers draw the hot grant's token: over connections of their own, as callers
// do, and in the broker's own process, where nothing hides what its locks and waits do.
const hotCallers = 4

// measureBrownout compares the latency of hot answers with and without a
// disturbance, slice by slice in alternation.
func measureBrownout(ctx context.Context, o options, log io.Writer) (_ []result, err error) {
	dir, err := os.MkdirTemp("", "holdfast-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	certs, err := writeTLSFiles(dir)
	if err != nil {
		return nil, err
	}
	c := &refreshContest{brokers: map[int]*child{}, log: log}
	defer func() { err = errors.Join(err, c.stop()) }()
	if c.endpoint, err = startChild(ctx, childToken, anyCore, log); err != nil {
		return nil, err
	}
	if c.load, err = startChild(ctx, childLoad, anyCore, log); err != nil {
		return nil, err
	}
	alive, err := c.endpoint.ask(command{Endpoint: &endpointCommand{Life: 3600}})
	if err != nil {
		return nil, err
	}
	nobody, err := freeport.Address()
	if err != nil {
		return nil, err
	}
	var results []result
	for i, bc := range brownoutCases {
		at := alive.Addr
		if bc.dead {
			at = nobody
		}
		p, err := startChild(ctx, childRefresh, anyCore, log)
		if err != nil {
			return nil, err
		}
		c.brokers[i] = p
		if _, err := p.ask(command{Refresh: &refreshCommand{
			Serve:    serveCommand{TLS: certs, Dir: filepath.Join(dir, bc.name)},
			TokenURL: "http://" + at + "/token", Grants: o.others(), Limit: refreshLimit,
		}}); err != nil {
			return nil, err
		}
		called, inside, err := c.brownout(ctx, o, bc, p, certs)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", bc.name, err)
		}
		results = append(append(results, summarizeHot(bc.name, called)...), summarizeHot(bc.name+insideName, inside)...)
		delete(c.brokers, i)
		if err := p.stop(); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// insideName ends the name of a case whose callers are in the broker's own process.
const insideName = "-inside"

// brownout measures one case: over connections, and in the broker's process.
func (c *refreshContest) brownout(ctx context.Context, o options, bc brownoutCase, p *child, certs tlsFiles) (called, inside []round, err error) {
	if _, err := c.endpoint.ask(command{Delay: &bc.delay}); err != nil {
		return nil, nil, err
	}
	for n := range o.rounds {
		var disturbed, calm brownoutSide
		order := []int{0, bc.others}
		for measured := time.Duration(0); measured < o.duration; measured += refreshSlice {
			for _, others := range order {
				if err := ctx.Err(); err != nil {
					return nil, nil, err
				}
				side := &calm
				if others > 0 {
					side = &disturbed
				}
				if err := side.measure(c.load, p, certs, sliceCommand{
					Of: ofHot, Callers: hotCallers, Others: others, Every: bc.every,
					Unmeasured: settle + min(bc.delay, 100*time.Millisecond), Measured: min(refreshSlice, o.duration-measured),
				}); err != nil {
					return nil, nil, err
				}
			}
			slices.Reverse(order)
		}
		r := round{product: disturbed.called(), bare: calm.called()}
		called = append(called, r)
		inside = append(inside, round{product: hotSample(&disturbed.inside), bare: hotSample(&calm.inside)})
		fmt.Fprintf(c.log, "bench: round %d/%d %-16s hot p99 %.3f ms, undisturbed %.3f\n", n+1, o.rounds, bc.name, r.product.p99ms, r.bare.p99ms)
	}
	return called, inside, nil
}

// brownoutSide is what was measured with the disturbance, or without it.
type brownoutSide struct {
	inside tally
	slices []sample
}

// measure is one slice of each kind.
func (s *brownoutSide) measure(load, p *child, certs tlsFiles, q sliceCommand) error {
	got, err := p.ask(command{Slice: &q})
	if err != nil {
		return err
	}
	s.inside.add(got.Slice.tally)
	at, err := p.ask(command{Disturb: &q})
	if err != nil {
		return err
	}
	r, err := load.ask(command{Load: &loadCommand{
		Targets: []loadTarget{{Addr: at.Addr, TLS: certs, PID: p.cmd.Process.Pid}},
		Callers: q.Callers, Conns: q.Callers, WarmUp: q.Unmeasured, Duration: q.Measured,
	}})
	if _, calmed := p.ask(command{Calm: true}); err == nil {
		err = calmed
	}
	if err != nil {
		return err
	}
	s.slices = append(s.slices, r.Load[0].sample())
	return nil
}

// called is the mean of the slices.
func (s *brownoutSide) called() (mean sample) {
	n := float64(len(s.slices))
	for _, x := range s.slices {
		mean.rps, mean.p50ms, mean.p99ms = mean.rps+x.rps/n, mean.p50ms+x.p50ms/n, mean.p99ms+x.p99ms/n
	}
	return mean
}

// others is how many grants there are beside the hot one: a hundred a second are
// refreshed, and each should have its turn once.
func (o options) others() int {
	return max(500, int(time.Duration(o.rounds)*(o.duration+refreshSlice)/(5*time.Millisecond)))
}

func hotSample(t *tally) sample {
	return sample{rps: t.rate(), p50ms: t.quantileMS(0.5), p99ms: t.quantileMS(0.99)}
}

// summarizeHot leaves out the processor time, which is the disturbance's as well.
func summarizeHot(name string, rounds []round) []result {
	lines := slices.DeleteFunc(summarize("hot", name, rounds), func(r result) bool { return r.Metric == "cpu_us" })
	for i := range lines {
		if lines[i].Metric == "p99_ms" {
			lines[i].goal = "<= 1.2"
		}
	}
	return lines
}
