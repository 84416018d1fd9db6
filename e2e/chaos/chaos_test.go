package chaos_test

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
	runs = flag.Duration("for", time.Minute, "how long disasters happen")
	seed = flag.Uint64("seed", 0, "seed of the disasters; 0: a random one")
)

// healsWithin is how long after the last disaster everything must be well again.
const healsWithin = time.Minute

func TestMain(m *testing.M) { rig.Main(m) }

func TestDisastersLoseNothing(t *testing.T) {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("to let the same disasters happen again: go test ./e2e/chaos -run '^%s$' -count=1 -v -for %v -seed %d", t.Name(), *runs, s)
	pair := chaos.StartPair(t, "holdfast")
	o := pair.Options()
	o.Seed = s
	if s%2 == 0 {
		o.Provider = map[string]any{"reuse": "previous", "siblings": "newest", "late_reuse": "client"}
	}
	c := chaos.Start(t, o)
	pair.Join(c)
	load := c.Seed(chaos.Grants(12))
	c.Disturb()
	load.Start(s)

	x := c.StartChaos(s, chaos.ReplicaDisasters())
	pair.Disasters(x, s, *runs)
	counts, err := x.Stop()
	if err != nil {
		t.Error(err)
	}
	load.Stop()
	c.Sim.Heal(t)
	took, err := load.Recover(healsWithin)
	if err != nil {
		t.Errorf("not well within %v of the last disaster:\n%v", healsWithin, err)
	}
	if missed := load.ReadJournals(t.Context()); missed > 0 {
		t.Errorf("%d journals cannot be read", missed)
	}
	j := c.Judge(load)
	c.Stop()
	t.Logf("disasters: %v; well again after %v; %v", counts, took.Round(time.Millisecond), &j.Verdict)
	if len(j.Findings) > 0 || t.Failed() {
		j.Write()
		pair.Write()
		t.Errorf("%d findings:\n%s", len(j.Findings), strings.Join(j.Findings, "\n"))
	}
}
