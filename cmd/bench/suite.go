package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/storage"
)

// What every call of a run is about.
const tokenSize = 2048 // bytes

var benchAddress = storage.Address{Tenant: "acme", Subject: "automation", Product: "jira", Name: storage.DefaultName}

// contest is the three processes of a run.
type contest struct {
	product, bare, load *child
	productAt, bareAt   loadTarget
	// durable is a product that syncs its audit record; nil: no case needs one.
	durable   *child
	durableAt loadTarget
	log       io.Writer
}

// measureSuite runs all cases of a suite, round by round.
func measureSuite(ctx context.Context, o options, product string, log io.Writer) (_ []result, err error) {
	dir, err := os.MkdirTemp("", "holdfast-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c, err := startContest(ctx, product, dir, slices.ContainsFunc(o.cases, func(c benchCase) bool { return c.durable }), log)
	if err != nil {
		return nil, errors.Join(err, c.stop())
	}
	if err := c.profile(o.profileDir, true); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	rounds, err := c.measure(ctx, o)
	if err == nil {
		err = c.profile(o.profileDir, false)
	}
	if err = errors.Join(err, c.stop()); err != nil {
		return nil, err
	}
	var results []result
	for _, bc := range o.cases {
		results = append(results, summarize(o.suite, bc.name, rounds[bc.name])...)
	}
	return results, nil
}

// startContest starts both servers on one core and the load on another. The
// servers are never under load at the same time.
func startContest(ctx context.Context, product, dir string, durable bool, log io.Writer) (*contest, error) {
	c := &contest{log: log}
	cores, err := allowedCores()
	if err != nil {
		return c, err
	}
	serverCore, loadCore := cores[0], cores[len(cores)-1]
	if serverCore == loadCore {
		fmt.Fprintln(log, "bench: warning: one core only: server and load share it, and rps and latency say little")
	}
	certs, err := writeTLSFiles(dir)
	if err != nil {
		return c, err
	}
	if c.load, err = startChild(ctx, childLoad, loadCore, log); err != nil {
		return c, err
	}
	fallback, err := proto.Marshal(defaultAnswer())
	if err != nil {
		return c, err
	}
	serve := serveCommand{TLS: certs, Dir: filepath.Join(dir, "product"), Answer: fallback}
	if c.product, c.productAt, err = startServer(ctx, product, serverCore, serve, log); err != nil {
		return c, err
	}
	// The bare server sends the very bytes that the product sent.
	answer, err := c.load.ask(command{Fetch: &c.productAt})
	if err != nil {
		return c, err
	}
	serve.Answer = answer.Answer
	if c.bare, c.bareAt, err = startServer(ctx, childBare, serverCore, serve, log); err != nil || !durable {
		return c, err
	}
	serve.Durable, serve.Dir = true, filepath.Join(dir, "durable")
	c.durable, c.durableAt, err = startServer(ctx, product, serverCore, serve, log)
	return c, err
}

func startServer(ctx context.Context, name string, core int, serve serveCommand, log io.Writer) (*child, loadTarget, error) {
	server, err := startChild(ctx, name, core, log)
	if err != nil {
		return nil, loadTarget{}, err
	}
	r, err := server.ask(command{Serve: &serve})
	return server, loadTarget{Addr: r.Addr, TLS: serve.TLS, PID: server.cmd.Process.Pid}, err
}

// defaultAnswer is what a bare server answers when there is no product to copy.
func defaultAnswer() *holdfastv1.GetAccessTokenResponse {
	now := time.Now()
	return &holdfastv1.GetAccessTokenResponse{
		AccessToken: strings.Repeat("t", tokenSize), Generation: 1, GrantId: benchAddress.GrantID(),
		ExpiresAt:       timestamppb.New(now.Add(time.Hour)),
		GuaranteedUntil: timestamppb.New(now.Add(10 * time.Minute)),
		RefreshAfter:    timestamppb.New(now.Add(50 * time.Minute)),
		ServerTime:      timestamppb.New(now),
		Scopes:          []string{"read:jira-work", "offline_access"},
	}
}

// measure runs the rounds. In every other round the product goes first.
func (c *contest) measure(ctx context.Context, o options) (map[string][]round, error) {
	rounds := make(map[string][]round, len(o.cases))
	each := o.duration + o.warmUp
	fmt.Fprintf(c.log, "bench: %d cases, %d rounds, about %v\n", len(o.cases), o.rounds,
		(2 * each * time.Duration(len(o.cases)*o.rounds)).Round(time.Second))
	for n := range o.rounds {
		for _, bc := range o.cases {
			r, err := c.round(ctx, o, bc, n%2 == 1)
			if err != nil {
				return nil, fmt.Errorf("%s, round %d: %w", bc.name, n+1, err)
			}
			rounds[bc.name] = append(rounds[bc.name], r)
			fmt.Fprintf(c.log, "bench: round %d/%d %-14s rps %6.0f / %6.0f  cpu_us %6.1f / %6.1f (%.3f)\n", n+1, o.rounds, bc.name,
				r.product.rps, r.bare.rps, r.product.cpuUS, r.bare.cpuUS, r.product.cpuUS/r.bare.cpuUS)
		}
	}
	return rounds, nil
}

// round measures one case on both servers. The load generator lets them take
// turns within the round as well.
func (c *contest) round(ctx context.Context, o options, bc benchCase, productFirst bool) (round, error) {
	if err := ctx.Err(); err != nil {
		return round{}, err
	}
	targets := []loadTarget{c.bareAt, c.productAt}
	if bc.durable {
		targets[1] = c.durableAt
	}
	if productFirst {
		slices.Reverse(targets)
	}
	got, err := c.load.ask(command{Load: &loadCommand{
		Targets: targets, Callers: bc.callers, Conns: bc.conns, WarmUp: o.warmUp, Duration: o.duration,
	}})
	if err != nil {
		return round{}, err
	}
	if len(got.Load) != len(targets) {
		return round{}, fmt.Errorf("%d results for %d servers", len(got.Load), len(targets))
	}
	if productFirst {
		slices.Reverse(got.Load)
	}
	return round{bare: got.Load[0].sample(), product: got.Load[1].sample()}, nil
}

// profile starts or stops the CPU profiles of both servers.
func (c *contest) profile(dir string, start bool) error {
	if dir == "" {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("profiling: %w", err)
	}
	for name, server := range map[string]*child{"product": c.product, "bare": c.bare} {
		q := command{StopProfile: true}
		if start {
			q = command{StartProfile: filepath.Join(dir, name+".pprof")}
		}
		if _, err := server.ask(q); err != nil {
			return err
		}
	}
	return nil
}

// stop ends all processes that were started.
func (c *contest) stop() error {
	var err error
	for _, p := range []*child{c.load, c.product, c.bare, c.durable} {
		if p != nil {
			err = errors.Join(err, p.stop())
		}
	}
	return err
}
