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

// hotCallers draw the hot grant's token, in the broker's own process: what a
// connection adds would hide what the broker's locks and waits do.
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
		rounds, err := c.brownout(ctx, o, bc, p)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", bc.name, err)
		}
		results = append(results, summarizeHot(bc.name, rounds)...)
		delete(c.brokers, i)
		if err := p.stop(); err != nil {
			return nil, err
		}
	}
	return results, nil
}

func (c *refreshContest) brownout(ctx context.Context, o options, bc brownoutCase, p *child) (rounds []round, err error) {
	if _, err := c.endpoint.ask(command{Delay: &bc.delay}); err != nil {
		return nil, err
	}
	for n := range o.rounds {
		var disturbed, calm tally
		order := []int{0, bc.others}
		for measured := time.Duration(0); measured < o.duration; measured += refreshSlice {
			for _, others := range order {
				if err := ctx.Err(); err != nil {
					return nil, err
				}
				got, err := p.ask(command{Slice: &sliceCommand{
					Of: ofHot, Callers: hotCallers, Others: others, Every: bc.every,
					Unmeasured: settle + min(bc.delay, 100*time.Millisecond), Measured: min(refreshSlice, o.duration-measured),
				}})
				if err != nil {
					return nil, err
				}
				if others > 0 {
					disturbed.add(got.Slice.tally)
				} else {
					calm.add(got.Slice.tally)
				}
			}
			slices.Reverse(order)
		}
		r := round{product: hotSample(&disturbed), bare: hotSample(&calm)}
		fmt.Fprintf(c.log, "bench: round %d/%d %-16s hot p99 %.4f ms, undisturbed %.4f\n", n+1, o.rounds, bc.name, r.product.p99ms, r.bare.p99ms)
		rounds = append(rounds, r)
	}
	return rounds, nil
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
	return slices.DeleteFunc(summarize("hot", name, rounds), func(r result) bool { return r.Metric == "cpu_us" })
}
