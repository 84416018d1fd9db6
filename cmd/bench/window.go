package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// The servers take turns in slices this long, so that whatever else the machine
// does meanwhile falls on all of them alike. The first part of each slice is
// not measured: caches and queues fill.
const (
	slice  = 250 * time.Millisecond
	settle = 25 * time.Millisecond
)

// side is one server within a measurement.
type side struct {
	target    loadTarget
	conns     []*grpc.ClientConn
	latencies []time.Duration
	elapsed   time.Duration
	cpu       time.Duration
}

// run measures the targets in alternation: A B, B A, A B, ...
func (c *loadCommand) run() (_ []loadResult, err error) {
	total := time.Duration(len(c.Targets)) * (c.WarmUp + 2*c.Duration)
	ctx, cancel := context.WithTimeout(context.Background(), total+30*time.Second)
	defer cancel()
	var sides []*side
	defer func() {
		for _, s := range sides {
			err = errors.Join(err, closeAll(s.conns))
		}
	}()
	for _, t := range c.Targets {
		conns, err := dial(ctx, t, c.Conns)
		if err != nil {
			return nil, err
		}
		s := &side{target: t, conns: conns}
		sides = append(sides, s)
		if err := s.slice(ctx, c.Callers, c.WarmUp, 0); err != nil {
			return nil, err
		}
	}
	order := slices.Clone(sides)
	for measured := time.Duration(0); measured < c.Duration; measured += slice {
		for _, s := range order {
			if err := s.slice(ctx, c.Callers, settle, min(slice, c.Duration-measured)); err != nil {
				return nil, err
			}
		}
		slices.Reverse(order)
	}
	var results []loadResult
	for _, s := range sides {
		r, err := s.result()
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	return results, nil
}

func (s *side) result() (loadResult, error) {
	if len(s.latencies) == 0 {
		return loadResult{}, errors.New("no call was answered in the measured time; make -duration longer")
	}
	slices.Sort(s.latencies)
	return loadResult{
		Calls: len(s.latencies), Elapsed: s.elapsed, ServerCPU: s.cpu,
		P50: quantile(s.latencies, 0.50), P99: quantile(s.latencies, 0.99),
	}, nil
}

// The phases of a slice.
const (
	settling  = 0
	measuring = 1
	ending    = 2
)

// slice puts the server under load for a while and measures the later part of it.
func (s *side) slice(ctx context.Context, callers int, unmeasured, measured time.Duration) error {
	var phase atomic.Int32
	loops := make([]caller, callers)
	var group sync.WaitGroup
	for i := range loops {
		group.Go(func() { loops[i].run(ctx, s.conns, i, &phase) })
	}
	err := s.window(&phase, unmeasured, measured)
	group.Wait()
	for i := range loops {
		s.latencies = append(s.latencies, loops[i].latencies...)
		err = errors.Join(err, loops[i].err)
	}
	return err
}

// window moves through the phases, and adds the time and the server's processor
// time of the measured one to the sums. Calls that are under way when it begins
// count, those under way when it ends do not: as many on both ends.
func (s *side) window(phase *atomic.Int32, unmeasured, measured time.Duration) error {
	defer phase.Store(ending)
	time.Sleep(unmeasured)
	if measured == 0 {
		return nil
	}
	before, err := cpuTime(s.target.PID)
	if err != nil {
		return err
	}
	started := time.Now()
	phase.Store(measuring)
	time.Sleep(measured)
	phase.Store(ending)
	s.elapsed += time.Since(started)
	after, err := cpuTime(s.target.PID)
	s.cpu += after - before
	return err
}

// caller is one closed loop.
type caller struct {
	latencies []time.Duration
	err       error
}

// run calls until the last phase. Callers are spread over the connections; one
// caller alone takes them in turn.
func (c *caller) run(ctx context.Context, conns []*grpc.ClientConn, index int, phase *atomic.Int32) {
	clients := make([]holdfastv1.TokenServiceClient, len(conns))
	for i, conn := range conns {
		clients[i] = holdfastv1.NewTokenServiceClient(conn)
	}
	req := request()
	for n := index; phase.Load() != ending; n++ {
		started := time.Now()
		answer, err := clients[n%len(clients)].GetAccessToken(ctx, req)
		took := time.Since(started)
		if err == nil && len(answer.GetAccessToken()) != tokenSize {
			err = fmt.Errorf("the answer's token has %d bytes, not %d", len(answer.GetAccessToken()), tokenSize)
		}
		if err != nil {
			c.err = err
			return
		}
		if phase.Load() == measuring {
			c.latencies = append(c.latencies, took)
		}
	}
}
