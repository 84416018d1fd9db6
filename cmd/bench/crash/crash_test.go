package crash

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker/crashpoint"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// testLog writes to the log of a test.
type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// programs builds those of all tests once.
var programs = sync.OnceValues(func() (Binaries, error) { return Build(context.Background(), programDir) })

// programDir of programs; TestMain owns it.
var programDir string

func TestMain(m *testing.M) {
	var err error
	if programDir, err = os.MkdirTemp("", "holdfast-crash-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(programDir)
	os.Exit(code)
}

func build(t *testing.T) Binaries {
	t.Helper()
	b, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestFiftyKillsLoseNothing(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	results, err := run(t.Context(), build(t), Options{Kills: 50, Seed: seed, Grants: 6, Log: testLog{t}}, t.TempDir(), variants)
	if err != nil {
		t.Fatal(err)
	}
	kills, saved := 0, 0
	points := map[string]int{}
	for _, r := range results {
		if r.Failed() || r.LateSends > 0 {
			t.Errorf("%+v", r)
		}
		kills, saved = kills+r.Kills, saved+r.SavedInLeeway
		for p, n := range r.ByPoint {
			points[p] += n
		}
	}
	if kills < 50 || saved == 0 {
		t.Errorf("%d kills, of which %d left a token spent and its successor unknown: they came at the wrong moments", kills, saved)
	}
	for _, p := range crashpoint.Points() {
		if points[p.Name] == 0 {
			t.Errorf("nothing died at %s", p.Name)
		}
	}
}

// The same run against a provider that forgives nothing, of which the broker
// does not know: it must not pass.
func TestTheRunSeesALoss(t *testing.T) {
	t.Parallel()
	unforgiving := []variant{{"unforgiving", map[string]any{"leeway_seconds": 0}}}
	results, err := run(t.Context(), build(t), Options{Kills: LeastKills, Seed: 1, Grants: 2, Log: testLog{t}, recovery: time.Second}, t.TempDir(), unforgiving)
	if err != nil {
		t.Fatal(err)
	}
	if r := results[0]; !r.Failed() || r.Lost == 0 || r.LateSends == 0 || len(r.Findings) == 0 {
		t.Errorf("a provider without leeway ended no family: %+v", r)
	}
}

func TestAPlanIsDrawnFromItsSeedAndComesToEveryPoint(t *testing.T) {
	draw := func(n int, seed uint64) [][]death { return plan(n, 2, rand.New(rand.NewPCG(seed, 1))) }
	for _, n := range []int{LeastKills, 50, 1000} {
		deaths := slices.Concat(draw(n, 3)...)
		if len(deaths) != n {
			t.Errorf("%d deaths for %d kills", len(deaths), n)
		}
		points := map[string]int{}
		for i, d := range deaths {
			points[d.point]++
			if strings.HasPrefix(d.point, "takeover") && (i == 0 || deaths[i-1].point != crashpoint.SpendWritten) {
				t.Errorf("of %d, death %d finds nothing to take over", n, i)
			}
		}
		for _, p := range crashpoint.Points() {
			if points[p.Name] < n/3/LeastKills {
				t.Errorf("of %d, %d come to %s", n, points[p.Name], p.Name)
			}
		}
	}
	compare := cmp.AllowUnexported(death{})
	if d := cmp.Diff(draw(50, 3), draw(50, 3), compare); d != "" {
		t.Errorf("one seed, two plans:\n%s", d)
	}
	if cmp.Equal(draw(50, 3), draw(50, 4), compare) {
		t.Error("two seeds, one plan")
	}
}

func TestALegComesToItsOwnPairs(t *testing.T) {
	for seed := range uint64(20) {
		for _, share := range plan(LeastKills, 2, rand.New(rand.NewPCG(seed, 1))) {
			if strings.HasPrefix(share[0].point, "takeover") {
				t.Errorf("seed %d: a leg begins with %s", seed, share[0])
			}
		}
	}
}

func TestAnAnswerThatTakesBackAnEarlierOneIsSeen(t *testing.T) {
	for _, row := range []struct {
		name  string
		floor uint64
		last  *holdfastv1.GetAccessTokenResponse
		want  string
	}{
		{"the same again", 7, token(7, "seven"), ""},
		{"a newer one", 7, token(8, "eight"), ""},
		{"an older one, to a call that had begun before", 6, token(6, "six"), ""},
		{"an older one", 7, token(6, "six"), "after generation 7"},
		{"another token of the same generation", 7, token(7, "other"), "two different tokens"},
	} {
		g := newGrants(1)[0]
		for _, before := range []*holdfastv1.GetAccessTokenResponse{token(6, "six"), token(7, "seven")} {
			if err := g.note(0, before); err != nil {
				t.Fatal(err)
			}
		}
		err := g.note(row.floor, row.last)
		if (err == nil) != (row.want == "") || err != nil && !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

func token(generation uint64, text string) *holdfastv1.GetAccessTokenResponse {
	return &holdfastv1.GetAccessTokenResponse{Generation: generation, AccessToken: text}
}
