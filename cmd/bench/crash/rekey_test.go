package crash

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker/crashpoint"
)

// Every life rotates the data keys, and dies of it: at each point of that, at any
// commit, and at any moment.
func TestKillsWhileTheDataKeysAreRotatedLoseNothing(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	var deaths []death
	for _, p := range []string{crashpoint.RekeyBegun, crashpoint.RekeyResealed, crashpoint.RekeyClean, crashpoint.RekeyEnded,
		crashpoint.CommitUnsynced, crashpoint.CommitSynced} {
		for n := range 2 {
			deaths = append(deaths, toPoint(p, n > 0, random)...)
		}
	}
	for range 10 {
		deaths = append(deaths, death{after: time.Duration(random.IntN(600)) * time.Millisecond})
	}
	for i := range deaths {
		deaths[i].rekeying = true
	}
	random.Shuffle(len(deaths), func(i, j int) { deaths[i], deaths[j] = deaths[j], deaths[i] })

	l := &leg{name: "rekeyed", binaries: build(t), seed: seed, log: testLog{t}, recovery: defaultRecovery, grants: newGrants(12), kills: map[string]int{}}
	r, err := l.run(t.Context(), filepath.Join(t.TempDir(), "broker"), nil, deaths)
	if err != nil {
		t.Fatal(err)
	}
	if r.Failed() || r.LateSends > 0 || r.TakenUp < 3 {
		t.Errorf("%+v", r)
	}
	t.Logf("%d kills, %d rotations of the data keys taken up, %d rotations of families", r.Kills, r.TakenUp, r.Rotations)
}
