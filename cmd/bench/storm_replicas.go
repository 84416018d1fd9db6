package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/cmd/bench/crash"
	"github.com/holdfast-io/holdfast/cmd/holdfast/node"
	"github.com/holdfast-io/holdfast/internal/freeport"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// replica is one process of the product's binary.
type replica struct {
	cmd    *exec.Cmd
	target loadTarget
	conns  []*grpc.ClientConn
}

// stormPatience bounds every call, and the start of a replica.
const stormPatience = 2 * time.Minute

// storm lets all callers of all grants come at once to all replicas.
func storm(ctx context.Context, o stormFlags, log io.Writer) (_ *stormResult, err error) {
	dir, err := os.MkdirTemp(o.dir, "holdfast-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p, err := startChild(ctx, childToken, anyCore, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	at, err := p.ask(command{Endpoint: &endpointCommand{Life: 3600, Count: true}})
	if err != nil {
		return nil, err
	}
	store := ""
	if o.store == "postgres" {
		server, err := startPostgres(logTo(log))
		if err != nil {
			return nil, err
		}
		defer server.end()
		if store, err = server.database(dir, "storm"); err != nil {
			return nil, err
		}
	}
	replicas, err := startReplicas(ctx, o, dir, store, at.Addr, log)
	defer func() {
		for _, r := range replicas {
			err = errors.Join(err, r.stop())
		}
	}()
	if err != nil {
		return nil, err
	}
	r := strike(ctx, o, replicas)
	counted, err := p.ask(command{Delay: new(time.Duration)})
	r.posts, r.twice = counted.Posts, counted.Twice
	return r, errors.Join(err, ctx.Err())
}

// startReplicas builds the product, stores the grants and starts all processes.
func startReplicas(ctx context.Context, o stormFlags, dir, store, provider string, log io.Writer) (all []*replica, err error) {
	certs, err := writeTLSFiles(dir)
	if err != nil {
		return nil, err
	}
	binary := filepath.Join(dir, "holdfast")
	if err := crash.BuildReleased(ctx, binary); err != nil {
		return nil, err
	}
	kek := ""
	for i := range o.replicas {
		c := serveCommand{TLS: certs, Dir: filepath.Join(dir, fmt.Sprintf("replica-%d", i+1)), Store: store, KEK: kek}
		if c.Listen, err = freeport.Address(); err != nil {
			return all, err
		}
		cfg, err := writeConfigWith(c, fmt.Sprintf("provider:\n  rate: %d\n  burst: %d\n  concurrency: 64\n  overrides: {token_url: \"http://%s/token\"}\n",
			broker.MostLoadRate, broker.MostLoadRate, provider))
		if err != nil {
			return all, err
		}
		if i == 0 {
			kek = filepath.Join(c.Dir, "kek")
			if _, err := seedExpired(ctx, node.Options{Config: cfg, Log: quietLog()}, o.grants); err != nil {
				return all, fmt.Errorf("storing grants: %w", err)
			}
		}
		r := &replica{target: loadTarget{Addr: c.Listen, TLS: certs}}
		r.cmd = exec.Command(binary, "serve", "--config", configFile) //nolint:noctx // it is asked to stop in good order
		r.cmd.Dir, r.cmd.Stdout, r.cmd.Stderr = c.Dir, log, log
		if err := r.cmd.Start(); err != nil {
			return all, fmt.Errorf("starting a replica: %w", err)
		}
		all = append(all, r)
	}
	for _, r := range all {
		if err := r.connect(ctx); err != nil {
			return all, err
		}
	}
	return all, nil
}

// connect opens the connections of a replica's callers, and waits until it serves.
func (r *replica) connect(ctx context.Context) error {
	const conns = 4
	ctx, cancel := context.WithTimeout(ctx, stormPatience)
	defer cancel()
	var err error
	for range conns {
		conn, derr := dialTo(r.target)
		if derr != nil {
			return derr
		}
		r.conns = append(r.conns, conn)
		_, err = holdfastv1.NewTokenServiceClient(conn).ListMyGrants(ctx, &holdfastv1.ListMyGrantsRequest{PageSize: 1}, grpc.WaitForReady(true))
	}
	if err != nil {
		return fmt.Errorf("waiting for a replica to serve: %w", err)
	}
	return nil
}

func (r *replica) stop() error {
	err := errors.Join(closeAll(r.conns), r.cmd.Process.Signal(syscall.SIGTERM))
	if werr := r.cmd.Wait(); werr != nil {
		return fmt.Errorf("a replica: %w", werr)
	}
	return err
}

// grantsAtOnce are asked for at a time: by all their callers at all replicas.
const grantsAtOnce = 16

// strike has each grant asked for by all callers at all replicas at once, and goes
// on with the next grants as soon as all callers of one were answered.
func strike(ctx context.Context, o stormFlags, replicas []*replica) *stormResult {
	var r stormResult
	var mu sync.Mutex // guards r and latencies
	var latencies []time.Duration
	started := time.Now()
	room := make(chan struct{}, grantsAtOnce)
	var group sync.WaitGroup
	for n := range o.grants {
		room <- struct{}{}
		group.Go(func() {
			defer func() { <-room }()
			got := strikeOne(ctx, o, replicas, n)
			mu.Lock()
			defer mu.Unlock()
			r.answered, r.failed, r.wrong = r.answered+got.answered, r.failed+got.failed, r.wrong+got.wrong
			if r.first == nil {
				r.first = got.first
			}
			latencies = append(latencies, got.latencies...)
		})
	}
	group.Wait()
	r.took = time.Since(started)
	slices.Sort(latencies)
	r.p50, r.p99 = quantile(latencies, 0.5), quantile(latencies, 0.99)
	return &r
}

// struck is what became of one grant's calls.
type struck struct {
	stormResult
	latencies []time.Duration
}

func strikeOne(ctx context.Context, o stormFlags, replicas []*replica, n int) (s struck) {
	a := scaleAddress(n)
	req := request()
	req.Grant = &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Address{
		Address: &holdfastv1.GrantAddress{Tenant: a.Tenant, Subject: a.Subject, Product: a.Product},
	}}
	ctx, cancel := context.WithTimeout(ctx, stormPatience)
	defer cancel()
	var mu sync.Mutex // guards s and tokens
	tokens := map[string]bool{}
	var group sync.WaitGroup
	for i := range o.callers * len(replicas) {
		r := replicas[i%len(replicas)]
		group.Go(func() {
			started := time.Now()
			answer, err := holdfastv1.NewTokenServiceClient(r.conns[i/len(replicas)%len(r.conns)]).GetAccessToken(ctx, req)
			took := time.Since(started)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				s.failed, s.first = s.failed+1, err
				return
			}
			s.answered++
			tokens[answer.GetAccessToken()] = true
			s.latencies = append(s.latencies, took)
		})
	}
	group.Wait()
	s.wrong = max(0, len(tokens)-1)
	return s
}
