package main

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/holdfast-io/holdfast/storage/badgerstore"
)

const (
	// mostShared, sharedFrom and longestWait are what the broker's store groups its commits by.
	mostShared  = 256
	sharedFrom  = 4
	longestWait = 5 * time.Millisecond
)

// bareGroups is bare Badger for many callers: what they store at the same time is
// one synced transaction. It is what a rotation's writes cost at the least.
type bareGroups struct {
	bare  *badgerstore.Bare
	queue chan bareWrite
	done  chan struct{}
}

type bareWrite struct {
	values map[string][]byte
	done   chan error
}

func startBareGroups(b *badgerstore.Bare) *bareGroups {
	g := &bareGroups{bare: b, queue: make(chan bareWrite, mostShared), done: make(chan struct{})}
	go g.run()
	return g
}

// commit returns once values are durable.
func (g *bareGroups) commit(values map[string][]byte) error {
	w := bareWrite{values, make(chan error, 1)}
	g.queue <- w
	return <-w.done
}

func (g *bareGroups) run() {
	defer close(g.done)
	var crowded bool
	var took time.Duration
	for first := range g.queue {
		if crowded {
			<-time.After(min(took, longestWait))
		}
		group, values := []bareWrite{first}, first.values
		for range min(len(g.queue), mostShared-1) {
			w := <-g.queue
			group = append(group, w)
			maps.Copy(values, w.values)
		}
		began := time.Now()
		err := g.bare.Commit(values)
		crowded, took = len(group) >= sharedFrom, time.Since(began)
		for _, w := range group {
			w.done <- err
		}
	}
}

// close ends it; nobody may commit any more.
func (g *bareGroups) close() {
	close(g.queue)
	<-g.done
}

// written are as many bytes as one of a rotation's two writes stores.
func (p *refresher) written() map[string][]byte {
	id := fmt.Sprintf("%026d", p.committed.Add(1)%1000)
	return map[string][]byte{"r" + id: make([]byte, tokenSize+refreshSize+600), "j" + id: make([]byte, 200), "h" + id: make([]byte, 12)}
}

// commit stores them in bare Badger.
func (p *refresher) commit(context.Context) error { return p.bare.Commit(p.written()) }

// parts returns what does all that a rotation waits for, in its order, and nothing
// else: one of many callers shares its commits with the others.
func (p *refresher) parts(callers int) func(context.Context) error {
	commit := p.bare.Commit
	if callers > 1 {
		commit = p.groups.commit
	}
	return func(ctx context.Context) error {
		if err := commit(p.written()); err != nil {
			return err
		}
		if err := p.post(ctx); err != nil {
			return err
		}
		return commit(p.written())
	}
}
