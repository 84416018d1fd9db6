package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/cmd/holdfast/node"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/badgerstore"
)

// scaleCommand is a question about a store of many grants: What says which.
type scaleCommand struct {
	What  string
	Serve serveCommand
	// Grants that the store has.
	Grants int
	// Callers, Hot and the times of a load: of as many grants, or of all if 0.
	Callers, Hot         int
	Unmeasured, Measured time.Duration
}

// What a scaler is asked.
const (
	scaleFill  = "fill"  // load the grants, in bulk
	scaleBare  = "bare"  // open bare Badger on the store's files
	scaleReady = "ready" // start the product
	scaleDraw  = "draw"  // draw tokens from it
	scaleDue   = "due"   // look for what is due
	scaleTrash = "trash" // change a fifth of all grants, and collect the value log
)

// scaleReply answers it.
type scaleReply struct {
	tally
	// Took of what was asked; for scaleDue, by how many grants were due.
	Took time.Duration
	Due  map[string]time.Duration
	// Before and After are what the store takes of the disk, in bytes.
	Before, After int64
}

// scaler is a process that does one of these to one store, so that its memory is
// that of this alone. One that was made ready may be drawn from.
type scaler struct {
	node   *node.Node
	stop   func() error
	grants int
	zipf   *rand.Zipf
}

func (p *scaler) handle(q command) (reply, error) {
	if q.Scale == nil {
		return reply{}, errors.New("a scaler does not know this command")
	}
	work := map[string]func(context.Context, *scaleCommand) (*scaleReply, error){
		scaleFill: p.fill, scaleBare: p.bare, scaleReady: p.ready, scaleDraw: p.draw, scaleDue: p.due, scaleTrash: p.trash,
	}[q.Scale.What]
	if work == nil {
		return reply{}, fmt.Errorf("a scaler can not %q", q.Scale.What)
	}
	r, err := work(context.Background(), q.Scale)
	return reply{Scale: r}, err
}

func (p *scaler) close() error {
	if p.stop == nil {
		return nil
	}
	return p.stop()
}

func quietLog() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}

// scaleAddress of the n-th grant.
func scaleAddress(n int) storage.Address {
	return storage.Address{Tenant: "acme", Subject: fmt.Sprintf("user-%d", n), Product: "jira", Name: storage.DefaultName}
}

// firstDue of the grants; each of the others is due a second after the one before it.
func firstDue(now time.Time) time.Time { return now.Truncate(24*time.Hour).AddDate(0, 1, 0) }

// keyFile holds the key of Badger's files, for who opens them bare.
const keyFile = "badger-key"

func (p *scaler) fill(ctx context.Context, c *scaleCommand) (*scaleReply, error) {
	cfg, err := writeConfig(c.Serve)
	if err != nil {
		return nil, err
	}
	place, err := node.StoreConfig(cfg, quietLog())
	if err != nil {
		return nil, err
	}
	open := place.Backend
	place.Backend = func(dir string, key []byte) (storage.Backend, error) {
		if err := os.WriteFile(filepath.Join(c.Serve.Dir, keyFile), []byte(hex.EncodeToString(key)), 0o600); err != nil {
			return nil, err
		}
		return open(dir, key)
	}
	store, err := storage.Open(ctx, place)
	if err != nil {
		return nil, err
	}
	node.BoundMemory()
	started := time.Now()
	err = fillStore(ctx, store, c.Grants)
	took := time.Since(started)
	return &scaleReply{Took: took}, errors.Join(err, store.Close())
}

func fillStore(ctx context.Context, store *storage.Store, n int) error {
	const batch = 256
	now := time.Now()
	due := firstDue(now)
	for from := 0; from < n; from += batch {
		var list []storage.Update
		for i := from; i < min(n, from+batch); i++ {
			u := consent(scaleAddress(i), now.Add(-time.Minute), 90*24*time.Hour, refreshSize)
			u.Grant.Due = due.Add(time.Duration(i) * time.Second)
			list = append(list, u)
		}
		if err := store.LoadNew(ctx, list); err != nil {
			return err
		}
	}
	return nil
}

func (p *scaler) bare(_ context.Context, c *scaleCommand) (*scaleReply, error) {
	text, err := os.ReadFile(filepath.Join(c.Serve.Dir, keyFile))
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(string(text))
	if err != nil {
		return nil, err
	}
	started := time.Now()
	b, err := badgerstore.OpenBare(filepath.Join(c.Serve.Dir, "store"), key)
	if err != nil {
		return nil, err
	}
	p.stop = b.Close
	return &scaleReply{Took: time.Since(started)}, nil
}

func (p *scaler) ready(ctx context.Context, c *scaleCommand) (*scaleReply, error) {
	cfg, err := loadConfig(c.Serve)
	if err != nil {
		return nil, err
	}
	started := time.Now()
	if p.node, p.stop, err = startNode(ctx, node.Options{Config: cfg, Version: "bench", Log: quietLog()}); err != nil {
		return nil, err
	}
	took := time.Since(started)
	p.grants = c.Grants
	// The exponent of calls to many services is near 1; this is a common choice.
	p.zipf = rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.1, 1, uint64(c.Grants-1))
	return &scaleReply{Took: took}, nil
}

func (p *scaler) draw(ctx context.Context, c *scaleCommand) (*scaleReply, error) {
	// The generator is not for several callers at once.
	picks := make(chan int, 1024)
	drawing, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for n := 0; ; n++ {
			pick := n % max(c.Hot, 1)
			if c.Hot == 0 {
				pick = int(p.zipf.Uint64())
			}
			select {
			case picks <- pick:
			case <-drawing.Done():
				return
			}
		}
	}()
	t, err := closedLoop(ctx, c.Callers, c.Unmeasured, c.Measured, func(ctx context.Context) error {
		_, err := p.node.Broker().AccessToken(ctx, broker.Caller{Name: callerName, RequestID: "bench"},
			broker.TokenRequest{Address: scaleAddress(<-picks), Purpose: "bench"})
		return err
	})
	return &scaleReply{tally: t}, err
}

// due looks for what is due, of some, by what the broker's sweep asks the store.
func (p *scaler) due(ctx context.Context, c *scaleCommand) (*scaleReply, error) {
	cfg, err := loadConfig(c.Serve)
	if err != nil {
		return nil, err
	}
	store, err := node.OpenStore(ctx, cfg, node.Options{Config: cfg, Log: quietLog()})
	if err != nil {
		return nil, err
	}
	r := &scaleReply{Due: map[string]time.Duration{}}
	for _, n := range dueCounts {
		if n > c.Grants {
			continue
		}
		took, err := scanDue(ctx, store, n)
		if err != nil {
			return nil, errors.Join(err, store.Close())
		}
		r.Due[fmt.Sprint(n)] = took
	}
	return r, store.Close()
}

// dueCounts are how many grants are due in one scan.
var dueCounts = []int{0, 100, 1000, 10_000}

// scanDue is the fastest of a few scans.
func scanDue(ctx context.Context, store *storage.Store, n int) (best time.Duration, err error) {
	const scans = 5
	for range scans {
		started, found := time.Now(), 0
		f := storage.Filter{DueBefore: firstDue(started).Add(time.Duration(n) * time.Second), Limit: 1000}
		for {
			page, err := store.Grants(ctx, f)
			if err != nil {
				return 0, err
			}
			found += len(page)
			if len(page) < f.Limit {
				break
			}
			f.After = page[len(page)-1].ID
		}
		if found != n {
			return 0, fmt.Errorf("%d grants are due, want %d", found, n)
		}
		if took := time.Since(started); best == 0 || took < best {
			best = took
		}
	}
	return best, nil
}

// trash changes the first fifth of the grants, which lie together in the value
// log, and lets that be collected.
func (p *scaler) trash(ctx context.Context, c *scaleCommand) (*scaleReply, error) {
	cfg, err := loadConfig(c.Serve)
	if err != nil {
		return nil, err
	}
	if c.Serve.Store != "" {
		return changeDatabase(ctx, cfg, c.Grants/5)
	}
	place, err := node.StoreConfig(cfg, quietLog())
	if err != nil {
		return nil, err
	}
	var backend storage.Backend
	open := badgerstore.Opener(badgerstore.Options{Log: quietLog()})
	place.Backend = func(dir string, key []byte) (storage.Backend, error) {
		backend, err = open(dir, key)
		return backend, err
	}
	store, err := storage.Open(ctx, place)
	if err != nil {
		return nil, err
	}
	started := time.Now()
	err = changeEach(ctx, store, c.Grants/5)
	r := &scaleReply{Took: time.Since(started)}
	dir := filepath.Join(c.Serve.Dir, "store")
	if r.Before, err = diskSize(dir); err == nil {
		if collector, ok := backend.(storage.Collector); ok {
			_, err = collector.Collect(ctx, nil)
		}
	}
	if err = errors.Join(err, store.Close()); err != nil {
		return nil, err
	}
	r.After, err = diskSize(dir)
	return r, err
}

// warmCache reads all files once.
func warmCache(dir string) error {
	return eachFile(dir, func(path string, _ fs.FileInfo) error {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, f)
		return errors.Join(err, f.Close())
	})
}
