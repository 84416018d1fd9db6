package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/cmd/bench/hostile"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// hostileFlags are those of the suite hostile.
type hostileFlags struct {
	halfOpen int
	only     string
	duration time.Duration
	jsonFile string
	// profile, if set, receives a CPU profile of the server.
	profile string
}

// siegeResult is what one attack did.
type siegeResult struct {
	attack       hostile.Attack
	quiet, siege hostile.Seen
	// rss of the server at the end of the attack, in bytes, quietRSS before it; peak
	// since its start.
	rss, quietRSS, peak int64
}

// aftermath is what the attacks left behind.
type aftermath struct {
	seen hostile.Seen
	// rss of the server at last, in bytes, took how long after the last attack.
	rss  int64
	took time.Duration
}

func parseHostile(args []string, stderr io.Writer) (hostileFlags, error) {
	var o hostileFlags
	fs := flag.NewFlagSet("bench hostile", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&o.halfOpen, "connections", 10_000, "half-open connections at once; this process and the server each need as many files (ulimit -n)")
	fs.StringVar(&o.only, "attacks", "", "comma-separated `list` of attacks; default: all")
	fs.DurationVar(&o.duration, "duration", 5*time.Second, "time of each attack, and of the quiet before it")
	fs.StringVar(&o.jsonFile, "json", "", "also write one JSON object a line to this `file`")
	fs.StringVar(&o.profile, "profile", "", "write a CPU profile of the server into this `file`")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, usageError{err}
	}
	if fs.NArg() > 0 {
		return o, usageError{fmt.Errorf("unexpected argument %q; run with -h for help", fs.Arg(0))}
	}
	if o.halfOpen < 1 || o.duration <= 0 {
		return o, usageError{errors.New("-connections and -duration must be positive")}
	}
	known := map[string]bool{"": true}
	for _, a := range hostile.Attacks(o.halfOpen) {
		known[a.Name] = true
	}
	for name := range strings.SplitSeq(o.only, ",") {
		if !known[name] {
			return o, usageError{fmt.Errorf("unknown attack %q; `go doc ./cmd/bench/hostile` has their names", name)}
		}
	}
	return o, nil
}

// runHostile attacks the product, and fails if that made an honest call fail.
func runHostile(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseHostile(args, stderr)
	if err != nil {
		return err
	}
	results, after, err := besiege(ctx, o, &sharedWriter{w: stderr})
	if err != nil {
		return err
	}
	failed := after.seen.Failed
	var lines []figureLine
	for _, r := range results {
		failed += r.quiet.Failed + r.siege.Failed
		if err := errors.Join(r.quiet.First, r.siege.First); err != nil {
			fmt.Fprintf(stderr, "hostile: %s: %v\n", r.attack.Name, err)
		}
		lines = append(lines, siegeLines(r)...)
	}
	lines = append(lines, after.lines()...)
	if o.jsonFile != "" {
		if err := writeFigureFile(o.jsonFile, lines); err != nil {
			return err
		}
	}
	if err := writeFigures(stdout, lines); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d honest calls failed", failed)
	}
	return nil
}

func siegeLines(r siegeResult) []figureLine {
	line := func(metric string, n int, unit string) figureLine {
		return figureLine{"hostile", r.attack.Name, metric, n, unit}
	}
	percent := func(siege, quiet time.Duration) int { return int(100 * siege / max(quiet, 1)) }
	return []figureLine{
		line("attackers", r.attack.Attackers, "count"),
		line("honest_calls", r.siege.Calls+r.siege.Fresh, "count"), line("honest_failed", r.siege.Failed, "count"),
		line("p99", int(r.siege.P99.Microseconds()), "us"), line("p99_of_quiet", percent(r.siege.P99, r.quiet.P99), "percent"),
		line("connect_p99", int(r.siege.FreshP99.Microseconds()), "us"), line("connect_p99_of_quiet", percent(r.siege.FreshP99, r.quiet.FreshP99), "percent"),
		line("rss", int(r.rss>>20), "MiB"), line("rss_peak", int(r.peak>>20), "MiB"),
	}
}

func (a aftermath) lines() []figureLine {
	line := func(metric string, n int, unit string) figureLine {
		return figureLine{"hostile", "afterwards", metric, n, unit}
	}
	return []figureLine{
		line("honest_calls", a.seen.Calls+a.seen.Fresh, "count"), line("honest_failed", a.seen.Failed, "count"),
		line("rss", int(a.rss>>20), "MiB"), line("after", int(a.took.Milliseconds()), "ms"),
	}
}

// besiege starts the product, attacks it in one way after another, and sees what is
// left of that. Nothing is done between the attacks that a server in use does not do.
func besiege(ctx context.Context, o hostileFlags, log io.Writer) (_ []siegeResult, after aftermath, err error) {
	dir, err := os.MkdirTemp("", "holdfast-bench-")
	if err != nil {
		return nil, after, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	certs, err := writeTLSFiles(dir)
	if err != nil {
		return nil, after, err
	}
	cores, err := allowedCores()
	if err != nil {
		return nil, after, err
	}
	server, at, err := startServer(ctx, childProduct, cores[0], serveCommand{TLS: certs, Dir: filepath.Join(dir, "product")}, log)
	if server != nil {
		defer func() { err = errors.Join(err, server.stop()) }()
	}
	if err != nil {
		return nil, after, err
	}
	honest, end, err := honestCallers(ctx, at)
	if err != nil {
		return nil, after, err
	}
	defer func() { err = errors.Join(err, end()) }()
	attackers, err := startChild(ctx, childHostile, cores[len(cores)-1], log)
	if err != nil {
		return nil, after, err
	}
	defer func() { err = errors.Join(err, attackers.stop()) }()
	if o.profile != "" {
		if _, err := server.ask(command{StartProfile: o.profile}); err != nil {
			return nil, after, err
		}
		defer func() {
			_, perr := server.ask(command{StopProfile: true})
			err = errors.Join(err, perr)
		}()
	}
	var results []siegeResult
	for _, a := range hostile.Attacks(o.halfOpen) {
		if o.only != "" && !strings.Contains(","+o.only+",", ","+a.Name+",") {
			continue
		}
		r, err := siege(ctx, attackers, a, attackCommand{Name: a.Name, HalfOpen: o.halfOpen, Target: at}, honest, o.duration)
		if err != nil {
			return nil, after, err
		}
		fmt.Fprintf(log, "bench: %-14s %d honest calls, %d failed; p99 %v, quiet %v; connecting %v, quiet %v; rss %d MiB, peak %d MiB\n", a.Name,
			r.siege.Calls+r.siege.Fresh, r.siege.Failed, r.siege.P99, r.quiet.P99, r.siege.FreshP99, r.quiet.FreshP99, r.rss>>20, r.peak>>20)
		results = append(results, r)
	}
	if len(results) > 0 {
		after, err = recovered(ctx, honest, at.PID, results[0].quietRSS)
		fmt.Fprintf(log, "bench: %-14s %d honest calls, %d failed; rss %d MiB after %v\n", "afterwards", after.seen.Calls, after.seen.Failed, after.rss>>20, after.took)
	}
	return results, after, errors.Join(err, ctx.Err())
}

// mayKeep is what a server may keep in memory of the attacks for good, in bytes:
// pools, and what the collector knows of the pages that it gave back.
const mayKeep = 80 << 20

// recovered goes on with honest calls until the server has no more in memory than
// mayKeep above what it had, or for two minutes.
func recovered(ctx context.Context, h hostile.Honest, pid int, quiet int64) (aftermath, error) {
	const patience, look = 2 * time.Minute, 500 * time.Millisecond
	var a aftermath
	for began := time.Now(); ; {
		seen := hostile.Watch(ctx, h, honestCallersAtOnce, honestPause, look)
		a.seen.Calls, a.seen.Fresh, a.seen.Failed = a.seen.Calls+seen.Calls, a.seen.Fresh+seen.Fresh, a.seen.Failed+seen.Failed
		if a.seen.First == nil {
			a.seen.First = seen.First
		}
		var err error
		a.rss, _, err = hostile.Memory(pid)
		a.took = time.Since(began).Round(time.Millisecond)
		if err != nil || a.rss <= quiet+mayKeep || a.took > patience || ctx.Err() != nil {
			return a, err
		}
	}
}

// Callers share connections and pause between calls, so that the server is not busy
// with them alone.
const (
	honestCallersAtOnce = 8
	honestPause         = 5 * time.Millisecond
)

// siege watches the honest callers in quiet and under one attack.
func siege(ctx context.Context, attackers *child, a hostile.Attack, c attackCommand, h hostile.Honest, d time.Duration) (siegeResult, error) {
	r := siegeResult{attack: a, quiet: hostile.Watch(ctx, h, honestCallersAtOnce, honestPause, d)}
	var err error
	if r.quietRSS, _, err = hostile.Memory(c.Target.PID); err != nil {
		return r, err
	}
	if _, err := attackers.ask(command{Attack: &c}); err != nil {
		return r, err
	}
	r.siege = hostile.Watch(ctx, h, honestCallersAtOnce, honestPause, d)
	r.rss, r.peak, err = hostile.Memory(c.Target.PID)
	_, aerr := attackers.ask(command{EndAttack: true})
	return r, errors.Join(err, aerr)
}

// honestCallers share connections; newcomers each have their own.
func honestCallers(ctx context.Context, at loadTarget) (hostile.Honest, func() error, error) {
	const patience = 60 * time.Second
	conns, err := dial(ctx, at, 2)
	if err != nil {
		return hostile.Honest{}, nil, err
	}
	call := func(ctx context.Context, i int) error {
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		_, err := holdfastv1.NewTokenServiceClient(conns[i]).GetAccessToken(ctx, request())
		return err
	}
	return hostile.Honest{
		Call: func(ctx context.Context) error { return call(ctx, int(time.Now().UnixNano())%len(conns)) },
		Fresh: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			own, err := dial(ctx, at, 1)
			return errors.Join(err, closeAll(own))
		},
	}, func() error { return closeAll(conns) }, nil
}

func hostileTarget(at loadTarget) (hostile.Target, error) {
	config, err := at.TLS.clientConfig()
	if err != nil {
		return hostile.Target{}, err
	}
	gone, err := tls.LoadX509KeyPair(at.TLS.path("hostile.crt"), at.TLS.path("hostile.key"))
	if err != nil {
		return hostile.Target{}, fmt.Errorf("loading the hostile caller's certificate: %w", err)
	}
	config.Certificates = []tls.Certificate{gone}
	batch := &holdfastv1.BatchGetAccessTokensRequest{}
	for range 100 {
		batch.Requests = append(batch.Requests, request())
	}
	t := hostile.Target{
		Addr: at.Addr, TLS: config,
		Method: holdfastv1.TokenService_GetAccessToken_FullMethodName, Batch: holdfastv1.TokenService_BatchGetAccessTokens_FullMethodName,
	}
	one, err := proto.Marshal(request())
	if err != nil {
		return t, err
	}
	t.Request = one
	t.BatchRequest, err = proto.Marshal(batch)
	return t, err
}
