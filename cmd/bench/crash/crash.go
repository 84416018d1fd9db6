package crash

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Options of a run.
type Options struct {
	// Kills over both legs, at least LeastKills.
	Kills int
	// Seed of the plan.
	Seed uint64
	// Grants of each leg, at least 1.
	Grants int
	// Dir to make the run's own directory in, on a real disk; empty: the
	// system's directory for temporary files.
	Dir string
	// Log gets progress, for people.
	Log io.Writer
	// recovery is for tests; 0 means defaultRecovery.
	recovery time.Duration
}

// variant is a provider: what it forgives.
type variant struct {
	name     string
	switches map[string]any
}

var variants = []variant{
	{"lenient", map[string]any{"reuse": "any", "siblings": "both", "late_reuse": "family"}},
	{"strict", map[string]any{"reuse": "previous", "siblings": "newest", "late_reuse": "client"}},
}

// Run builds the programs and runs all legs, a share of the kills each. It returns
// an error only if the run could not be made; a loss is in the results. After
// either, the run's directory is kept and named in Log.
func Run(ctx context.Context, o Options) (results []Result, err error) {
	dir, err := os.MkdirTemp(o.Dir, "holdfast-crash-")
	if err != nil {
		return nil, fmt.Errorf("making the run's directory: %w", err)
	}
	defer func() {
		failed := err != nil || slices.ContainsFunc(results, func(r Result) bool { return r.Failed() })
		if failed && ctx.Err() == nil {
			fmt.Fprintf(o.Log, "crash: logs and stores are left in %s\n", dir)
			return
		}
		err = errors.Join(err, os.RemoveAll(dir))
	}()
	if memory, err := inMemory(dir); err != nil {
		return nil, err
	} else if memory {
		fmt.Fprintf(o.Log, "crash: warning: %s is in memory; -dir DIR on a disk would say more\n", dir)
	}
	fmt.Fprintln(o.Log, "crash: building the released binary and the one with crash points")
	binaries, err := Build(ctx, dir)
	if err != nil {
		return nil, err
	}
	return run(ctx, binaries, o, dir, variants)
}

func run(ctx context.Context, binaries Binaries, o Options, dir string, variants []variant) ([]Result, error) {
	shares := plan(o.Kills, len(variants), rand.New(rand.NewPCG(o.Seed, 1)))
	var results []Result
	for i, v := range variants {
		l := &leg{
			name: v.name, binaries: binaries, seed: o.Seed, log: o.Log, recovery: cmp.Or(o.recovery, defaultRecovery),
			grants: newGrants(o.Grants), kills: map[string]int{},
		}
		r, err := l.run(ctx, filepath.Join(dir, v.name), v.switches, shares[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.name, err)
		}
		results = append(results, r)
	}
	return results, nil
}

// run is one leg from the first consent to the verdict.
func (l *leg) run(ctx context.Context, dir string, switches map[string]any, deaths []death) (_ Result, err error) {
	r := Result{Leg: l.name}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.open(ctx, dir, switches); err != nil {
		return r, err
	}
	if err := l.seedGrants(ctx); err != nil {
		return r, err
	}
	if err := l.sim.disturb(ctx); err != nil {
		return r, err
	}
	under := l.startLoad(ctx)
	err = l.dieAll(ctx, deaths, under)
	under.stop()
	if err != nil {
		return r, fmt.Errorf("%w\n%s", err, tail(l.path("serve.log")))
	}
	r.Kills, r.ByPoint = len(deaths), maps.Clone(l.kills)
	if err := l.judge(ctx, &r); err != nil {
		return r, fmt.Errorf("%w\n%s", err, tail(l.path("serve.log")))
	}
	under.report(&r)
	l.say("%d kills, %d rotations, %d saved inside the leeway, %d lost", r.Kills, r.Rotations, r.SavedInLeeway, r.Lost)
	return r, nil
}

// report adds what the callers saw.
func (d *load) report(r *Result) {
	r.Answers, r.LastTries, r.Regressions = d.answers.Load(), len(d.lastTries), d.brokenAll
	r.Findings = append(r.Findings, d.broken...)
}

// progressEvery is the time between two lines of progress.
const progressEvery = 10 * time.Second

func (l *leg) dieAll(ctx context.Context, deaths []death, under *load) error {
	began, told := time.Now(), time.Now()
	for i, d := range deaths {
		if err := l.die(ctx, d, under); err != nil {
			return fmt.Errorf("kill %d, %s: %w", i+1, d, err)
		}
		if time.Since(told) < progressEvery {
			continue
		}
		told = time.Now()
		left := time.Since(began) / time.Duration(i+1) * time.Duration(len(deaths)-i-1)
		l.say("%d of %d kills, %d answers, %d breaches, about %v to go", i+1, len(deaths), under.answers.Load(), under.breaches(), left.Round(time.Second))
	}
	return nil
}

func (d *load) breaches() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.brokenAll
}

func (l *leg) say(format string, args ...any) {
	fmt.Fprintf(l.log, "crash: %s: %s\n", l.name, fmt.Sprintf(format, args...))
}
