package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
)

// pgUser is the superuser of a test server, who needs no password.
const pgUser = "postgres"

// Pair is a primary and its synchronous standby. Its methods must be called from
// the goroutine of the test, one at a time.
type Pair struct {
	t        testing.TB
	c        *Cluster
	database string
	servers  [2]*pgtest.Server
	// primary is the index of the one that takes writes.
	primary int
	// alone: it has no standby.
	alone bool
}

// StartPair starts both, with an empty database.
func StartPair(t testing.TB, database string) *Pair {
	t.Helper()
	p := &Pair{t: t, database: database}
	p.servers[0] = pgtest.Start(t)
	p.servers[0].Exec(t, "postgres", "CREATE DATABASE "+database)
	p.servers[1] = pgtest.Standby(t, p.servers[0], true)
	return p
}

// Options of a cluster on the pair.
func (p *Pair) Options() Options {
	return Options{Servers: []string{p.servers[0].Addr(), p.servers[1].Addr()}, User: pgUser, Database: p.database}
}

// Restart kills all processes of the primary and starts it again: it recovers from its log.
func (p *Pair) Restart() {
	p.t.Helper()
	p.servers[p.primary].Kill(p.t)
	p.servers[p.primary].StartAgain(p.t)
}

// Terminate ends all connections to the database.
func (p *Pair) Terminate() {
	p.t.Helper()
	p.servers[p.primary].TerminateBackends(p.t, p.database)
}

// FailOver kills the primary for good and promotes its standby. Until Rejoin
// nothing replicates.
func (p *Pair) FailOver() {
	p.t.Helper()
	p.servers[p.primary].Kill(p.t)
	p.primary, p.alone = 1-p.primary, true
	p.servers[p.primary].Promote(p.t)
}

// Rejoin gives the primary a new synchronous standby, in the place of the one that died.
func (p *Pair) Rejoin() {
	p.t.Helper()
	p.servers[1-p.primary] = pgtest.Standby(p.t, p.servers[p.primary], true)
	p.alone = false
	p.c.Retarget(1-p.primary, p.servers[1-p.primary].Addr())
}

// Write leaves the logs of both servers with those of the cluster.
func (p *Pair) Write() {
	for i, s := range p.servers {
		_ = os.WriteFile(filepath.Join(p.c.Logs, fmt.Sprintf("postgres-%d.log", i)), []byte(s.Log()), 0o600) // it explains a failure that is told anyway
	}
}

// Disasters lets one after the other happen to the database for a while, and to
// replicas as x has it, as long as no error ends that.
func (p *Pair) Disasters(x *Chaos, seed uint64, runs time.Duration) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), runs)
	defer cancel()
	random := rand.New(rand.NewPCG(seed, 2))
	all := []struct {
		name string
		do   func()
	}{
		{"all connections terminated", p.Terminate},
		{"killed and started again", p.Restart},
		{"primary killed, standby promoted", p.FailOver},
	}
	for x.Err() == nil {
		for _, n := range random.Perm(len(all)) {
			if !pause(ctx, between(random, 3*time.Second, 9*time.Second)) {
				return
			}
			x.Count(all[n].name, nil)
			over := p.c.AllTroubled(all[n].name)
			all[n].do()
			over()
			if p.alone {
				p.Rejoin()
			}
		}
	}
}

// Join tells the pair who uses it.
func (p *Pair) Join(c *Cluster) { p.c = c }
