package patroni

import (
	"flag"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/e2e/chaos"
	"github.com/holdfast-io/holdfast/e2e/rig"
)

var (
	seed = flag.Uint64("seed", 0, "seed of the load and the faults; 0: a random one")
	runs = flag.Duration("for", 0, "how long leaders fail in any way, and replicas are killed and stopped meanwhile; 0: each way of two once, and replicas are left alone")
)

// healsWithin is how long after the last fault everything must be well again.
const healsWithin = time.Minute

// Three replicas under load follow the database to whichever member leads, by
// their connection strings alone, and no family is lost.
func TestReplicasFollowTheLeaderAndLoseNothing(t *testing.T) {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("-seed %d", s)
	explain(t)
	able(t)
	c := chaos.Start(t, chaos.Options{
		Seed: s, Servers: addresses(), Direct: true, User: role, Password: password, Database: database(t), Parameters: "connect_timeout=2",
	})
	load := c.Seed(chaos.Grants(6))
	c.Disturb()
	load.Start(s)
	w := startWriting(t)
	for _, f := range []fault{killed, cutOff} {
		failOver(t, c, load, f)
	}
	if *runs > 0 {
		failAgainAndAgain(t, c, load, s)
	}
	w.judge(t)
	judge(t, c, load)
}

// failOver lets a fault happen to the leader of a whole cluster and waits until
// the replicas are well again.
func failOver(t testing.TB, c *chaos.Cluster, load *chaos.Load, f fault) {
	t.Helper()
	leader := whole(t)
	over := c.AllTroubled("leader " + f.name)
	f.happen(t, leader)
	over()
	follow(t, c, load)
}

// failAgainAndAgain lets any fault happen for as long as the flag says, and
// replicas die or stand still at any time.
func failAgainAndAgain(t testing.TB, c *chaos.Cluster, load *chaos.Load, seed uint64) {
	t.Helper()
	x := c.StartChaos(seed, chaos.ProcessDisasters())
	random := rand.New(rand.NewPCG(seed, 3))
	for end := time.Now().Add(*runs); time.Now().Before(end) && x.Err() == nil; {
		failOver(t, c, load, []fault{killed, cutOff, isolated}[random.IntN(3)])
	}
	counts, err := x.Stop()
	if err != nil {
		t.Error(err)
	}
	t.Logf("disasters of replicas: %v", counts)
}

// follow waits until a rotation succeeds through every replica.
func follow(t testing.TB, c *chaos.Cluster, load *chaos.Load) {
	t.Helper()
	began := time.Now()
	for n, r := range c.Replicas {
		rig.Until(t, r.String()+" rotates again", func() bool { return load.Force(r, n).Code == "" })
	}
	t.Logf("a rotation succeeded through each replica %v later", time.Since(began).Round(100*time.Millisecond))
}

// judge ends the load and compares what callers got with the provider's ledger.
func judge(t testing.TB, c *chaos.Cluster, load *chaos.Load) {
	t.Helper()
	load.Stop()
	c.Sim.Heal(t)
	took, err := load.Recover(healsWithin)
	if err != nil {
		t.Errorf("not well within %v of the last fault:\n%v", healsWithin, err)
	}
	if missed := load.ReadJournals(t.Context()); missed > 0 {
		t.Errorf("%d journals cannot be read", missed)
	}
	j := c.Judge(load)
	c.Stop()
	t.Logf("well again after %v; %v", took.Round(time.Millisecond), &j.Verdict)
	if len(j.Findings) > 0 || t.Failed() {
		j.Write()
		t.Errorf("%d findings:\n%s", len(j.Findings), strings.Join(j.Findings, "\n"))
	}
}

// The role of the replicas, who owns their database.
const role, password = "holdfast", "of-the-replicas"

// database makes an empty database and returns its name.
func database(t testing.TB) string {
	t.Helper()
	for _, statement := range []string{
		"CREATE ROLE " + role + " LOGIN PASSWORD '" + password + "'", "CREATE DATABASE " + role + " OWNER " + role,
	} {
		if _, err := sql(t, statement); err != nil {
			t.Fatal(err)
		}
	}
	return role
}

// addresses of all members, in the order of the connection string.
func addresses() []string {
	var all []string
	for _, m := range members {
		all = append(all, m.address(callers)+":5432")
	}
	return all
}
