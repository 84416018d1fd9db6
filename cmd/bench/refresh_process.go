package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/cmd/holdfast/node"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/badgerstore"
)

// refreshCommand starts a broker over a store of expired grants.
type refreshCommand struct {
	Serve    serveCommand
	TokenURL string
	Grants   int
	// Limit is the configured concurrency of spends.
	Limit int
	// Warm has each grant refreshed once before anything is measured.
	Warm bool
	// Grace is the provider's access grace; empty: what it is for Atlassian.
	Grace string
}

// The things that a refresher measures.
const (
	ofBroker   = "broker"   // whole rotations
	ofProvider = "provider" // the broker's own client at the token endpoint, without a broker
	ofSync     = "sync"     // bare Badger, what one of a rotation's writes stores
	ofParts    = "parts"    // such a write, a POST, and another write, one after the other
	ofHot      = "hot"      // tokens of one grant from memory
	ofPgbench  = "pgbench"  // what a rotation writes, by pgbench; in a process of its own
)

// sliceCommand is one slice of a measurement.
type sliceCommand struct {
	Of                   string
	Callers              int
	Unmeasured, Measured time.Duration
	// Others callers have other grants refreshed meanwhile, each so often, whatever
	// becomes of that.
	Others int
	Every  time.Duration
}

// sliceReply is what it found.
type sliceReply struct {
	tally
	// CPU of this process in the whole slice, Commits of the store, and Rotations,
	// those that were not measured included.
	CPU                time.Duration
	Commits, Rotations int64
}

// refresher is the process of the broker, and of its provider's only client.
type refresher struct {
	node     *node.Node
	stop     func() error
	provider *atlassian.Provider
	grants   []storage.Address
	next     atomic.Int64
	// committed counts the transactions of bare.
	committed atomic.Int64
	dir       string
	// postgres: the store is a database, which is asked elsewhere how often it committed.
	postgres bool
	bare     *badgerstore.Bare
	groups   *bareGroups
	profile  *os.File
	// leave ends the disturbance that was asked for.
	leave func()
}

func (p *refresher) handle(q command) (r reply, err error) {
	switch {
	case q.Refresh != nil:
		return r, p.start(*q.Refresh)
	case q.Slice != nil:
		r.Slice, err = p.measure(*q.Slice)
		return r, err
	case q.Disturb != nil:
		p.leave = p.disturb(*q.Disturb)
		return reply{Addr: p.node.GRPCAddr().String()}, nil
	case q.Calm:
		p.calm()
		return r, nil
	case q.StartProfile != "":
		if p.profile, err = os.Create(q.StartProfile); err == nil {
			err = pprof.StartCPUProfile(p.profile)
		}
		return r, err
	case q.StopProfile:
		pprof.StopCPUProfile()
		return r, p.profile.Close()
	}
	return r, errors.New("a refresher does not know this command")
}

func (p *refresher) start(c refreshCommand) error {
	ctx := context.Background()
	log := quietLog()
	overrides := fmt.Sprintf("token_url: %q", c.TokenURL)
	if c.Grace != "" {
		overrides += ", access_grace: " + c.Grace
	}
	cfg, err := writeConfigWith(c.Serve, fmt.Sprintf("provider:\n  rate: %d\n  burst: %d\n  concurrency: %d\n  overrides: {%s}\n",
		broker.MostLoadRate, broker.MostLoadRate, c.Limit, overrides))
	if err != nil {
		return err
	}
	if p.provider, err = node.NewProvider(&cfg.Provider); err != nil {
		return err
	}
	o := node.Options{Config: cfg, Version: "bench", Log: log}
	if p.grants, err = seedExpired(ctx, o, c.Grants); err != nil {
		return fmt.Errorf("storing grants: %w", err)
	}
	if err := seedStore(o); err != nil {
		return fmt.Errorf("storing a grant: %w", err)
	}
	p.dir, p.postgres = c.Serve.Dir, c.Serve.Store != ""
	if p.postgres {
		return p.serve(ctx, o, c.Warm)
	}
	if p.bare, err = badgerstore.OpenBare(filepath.Join(p.dir, "bare"), make([]byte, 32)); err != nil {
		return err
	}
	p.groups = startBareGroups(p.bare)
	return p.serve(ctx, o, c.Warm)
}

// serve starts the broker, and draws a token from each grant if that is wanted.
func (p *refresher) serve(ctx context.Context, o node.Options, warm bool) (err error) {
	if p.node, p.stop, err = startNode(ctx, o); err != nil || !warm {
		return err
	}
	const callers = 64
	errs := make([]error, callers)
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			for n := i; n < len(p.grants) && errs[i] == nil; n += callers {
				errs[i] = p.rotate(ctx)
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func (p *refresher) measure(c sliceCommand) (*sliceReply, error) {
	ctx := context.Background()
	call := map[string]func(context.Context) error{ofBroker: p.rotate, ofProvider: p.post, ofSync: p.commit, ofParts: p.parts(c.Callers), ofHot: p.hot}[c.Of]
	if call == nil {
		return nil, fmt.Errorf("nobody measures %q", c.Of)
	}
	before, err := p.meters()
	if err != nil {
		return nil, err
	}
	leave := p.disturb(c)
	defer leave()
	var r sliceReply
	if r.tally, err = closedLoop(ctx, c.Callers, c.Unmeasured, c.Measured, call); err != nil {
		return nil, err
	}
	after, err := p.meters()
	r.CPU, r.Commits, r.Rotations = after.CPU-before.CPU, after.Commits-before.Commits, after.Rotations-before.Rotations
	return &r, err
}

func (p *refresher) meters() (m sliceReply, err error) {
	if m.CPU, err = cpuTime(os.Getpid()); err != nil {
		return m, err
	}
	if m.Rotations = p.next.Load(); p.postgres {
		return m, nil
	}
	// The store's own count of its commits; see storage/badgerstore.
	b, err := os.ReadFile(filepath.Join(p.dir, "store", "holdfast-commits"))
	if err == nil && len(b) >= 8 {
		m.Commits = int64(binary.BigEndian.Uint64(b))
	}
	return m, err
}

// rotate has the next grant refreshed. What comes back must be new: a grant
// whose token still lives when its turn comes again would be a hot answer.
func (p *refresher) rotate(ctx context.Context) error {
	n := p.next.Add(1) - 1
	address := p.grants[int(n)%len(p.grants)]
	answer, err := p.node.Broker().AccessToken(ctx, broker.Caller{Name: callerName, RequestID: "bench"}, broker.TokenRequest{Address: address, Purpose: "bench"})
	if err != nil {
		return err
	}
	if rounds := n / int64(len(p.grants)); int64(answer.Generation) != rounds+2 {
		return fmt.Errorf("grant %s is at generation %d after %d rotations: more grants are needed for a load this fast", address, answer.Generation, rounds+1)
	}
	return nil
}

// post asks the provider as a rotation does, by the same client.
func (p *refresher) post(ctx context.Context) error {
	o := p.provider.Refresh(ctx, atlassian.Credentials{ClientID: "bench", Secret: secret.New("bench")}, secret.New(refreshFiller), func() error { return nil })
	if o.Class != family.Settled {
		return fmt.Errorf("the token endpoint answered %v %s", o.Class, o.Code)
	}
	return nil
}

func (p *refresher) close() error {
	p.calm()
	var err error
	if p.stop != nil {
		err = p.stop()
	}
	if p.bare != nil {
		p.groups.close()
		err = errors.Join(err, p.bare.Close())
	}
	return err
}
