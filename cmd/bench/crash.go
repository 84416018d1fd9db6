package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"text/tabwriter"

	"github.com/holdfast-io/holdfast/cmd/bench/crash"
)

// crashFlags are those of the suite crash, which measures no ratios.
type crashFlags struct {
	crash.Options
	jsonFile string
}

func parseCrash(args []string, stderr io.Writer) (crashFlags, error) {
	var o crashFlags
	fs := flag.NewFlagSet("bench crash", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&o.Kills, "kills", 50, "how often the broker is killed; about a second each")
	fs.Uint64Var(&o.Seed, "seed", 0, "seed of the plan of deaths; 0: a new one, which is printed")
	fs.IntVar(&o.Grants, "grants", 6, "grants under load, of each of the two providers")
	fs.StringVar(&o.Dir, "dir", "", "`directory` on a real disk for stores and logs; default: the system's for temporary files")
	fs.StringVar(&o.jsonFile, "json", "", "also write one JSON object a line to this `file`")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, usageError{err}
	}
	switch {
	case fs.NArg() > 0:
		return o, usageError{fmt.Errorf("unexpected argument %q; run with -h for help", fs.Arg(0))}
	case o.Kills < crash.LeastKills:
		return o, usageError{fmt.Errorf("-kills %d: want at least %d, so that every crash point has its turn", o.Kills, crash.LeastKills)}
	case o.Grants < 1:
		return o, usageError{fmt.Errorf("-grants %d: want at least 1", o.Grants)}
	}
	for o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	return o, nil
}

// runCrash kills the broker, and fails if that lost anything.
func runCrash(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseCrash(args, stderr)
	if err != nil {
		return err
	}
	o.Log = stderr
	fmt.Fprintf(stderr, "crash: seed %d; the same plan again: -kills %d -seed %d\n", o.Seed, o.Kills, o.Seed)
	results, err := crash.Run(ctx, o.Options)
	if err != nil {
		return err
	}
	var lines []figureLine
	failed := false
	for _, r := range results {
		lines = append(lines, figuresOf(&r)...)
		failed = failed || r.Failed()
		for _, finding := range r.Findings {
			fmt.Fprintf(stderr, "crash: %s: %s\n", r.Leg, finding)
		}
	}
	if o.jsonFile != "" {
		if err := writeFigureFile(o.jsonFile, lines); err != nil {
			return err
		}
	}
	if err := writeFigures(stdout, lines); err != nil {
		return err
	}
	if failed {
		return fmt.Errorf("the crash run with seed %d found what must not be; see above", o.Seed)
	}
	return nil
}

// figureLine is one line of a report that has nothing to be compared with.
type figureLine struct {
	Suite  string `json:"suite"`
	Case   string `json:"case"`
	Metric string `json:"metric"`
	Value  int    `json:"value"`
	Unit   string `json:"unit"`
}

func figuresOf(r *crash.Result) []figureLine {
	line := func(metric string, n int) figureLine { return figureLine{"crash", r.Leg, metric, n, "count"} }
	lines := []figureLine{
		line("kills", r.Kills), line("lost", r.Lost), line("late_sends", r.LateSends), line("last_tries", r.LastTries),
		line("saved_in_leeway", r.SavedInLeeway), line("regressions", r.Regressions), line("unread", r.Unread),
		line("rotations", r.Rotations), line("answers", int(r.Answers)),
	}
	for _, point := range slices.Sorted(maps.Keys(r.ByPoint)) {
		lines = append(lines, line("kills:"+point, r.ByPoint[point]))
	}
	return lines
}

func writeFigureFile(path string, lines []figureLine) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing results: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	enc := json.NewEncoder(f)
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			return fmt.Errorf("writing results: %w", err)
		}
	}
	return nil
}

func writeFigures(w io.Writer, lines []figureLine) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "suite\tcase\tmetric\tvalue\tunit\t\n")
	for _, l := range lines {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t\n", l.Suite, l.Case, l.Metric, l.Value, l.Unit)
	}
	return t.Flush()
}
