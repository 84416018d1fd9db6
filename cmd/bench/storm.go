package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"
)

// stormFlags are those of the suite storm.
type stormFlags struct {
	grants, callers, replicas int
	store                     string
	dir                       string
	jsonFile                  string
}

func parseStorm(args []string, stderr io.Writer) (stormFlags, error) {
	var o stormFlags
	fs := flag.NewFlagSet("bench storm", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.IntVar(&o.grants, "grants", 1000, "grants whose access tokens have ended")
	fs.IntVar(&o.callers, "callers", 50, "callers of each grant at each replica")
	fs.IntVar(&o.replicas, "replicas", 3, "processes of the product over one store")
	fs.StringVar(&o.store, "store", "postgres", "where the grants are: postgres, or badger for one replica")
	fs.StringVar(&o.dir, "dir", "", "`directory` for stores and logs; default: the system's for temporary files")
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
	case o.grants < 1 || o.callers < 1 || o.replicas < 1:
		return o, usageError{errors.New("-grants, -callers and -replicas must be positive")}
	case o.store != "postgres" && o.store != "badger":
		return o, usageError{fmt.Errorf("-store %q: want postgres or badger", o.store)}
	case o.store == "badger" && o.replicas > 1:
		return o, usageError{errors.New("-store badger serves one replica: add -replicas 1")}
	}
	return o, nil
}

// stormResult is what became of all calls.
type stormResult struct {
	posts, twice     int64
	answered, failed int
	// wrong answers are those with another token than other callers of the grant got.
	wrong    int
	took     time.Duration
	p50, p99 time.Duration
	first    error // of those that failed
}

// runStorm fails unless every grant was refreshed by exactly one POST and every
// caller was answered.
func runStorm(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseStorm(args, stderr)
	if err != nil {
		return err
	}
	r, err := storm(ctx, o, &sharedWriter{w: stderr})
	if err != nil {
		return err
	}
	lines := r.lines(o)
	if o.jsonFile != "" {
		if err := writeFigureFile(o.jsonFile, lines); err != nil {
			return err
		}
	}
	if err := writeFigures(stdout, lines); err != nil {
		return err
	}
	return r.verdict(o)
}

func (r *stormResult) verdict(o stormFlags) error {
	var errs []error
	if r.posts != int64(o.grants) || r.twice > 0 {
		errs = append(errs, fmt.Errorf("%d POSTs for %d expired grants, %d of them with a token that had been sent before", r.posts, o.grants, r.twice))
	}
	if r.failed > 0 {
		errs = append(errs, fmt.Errorf("%d calls were not answered with a token; the first: %w", r.failed, r.first))
	}
	if r.wrong > 0 {
		errs = append(errs, fmt.Errorf("%d calls were answered with another token than others of the same grant", r.wrong))
	}
	return errors.Join(errs...)
}

func (r *stormResult) lines(o stormFlags) []figureLine {
	name := fmt.Sprintf("%s-g%d-c%d-r%d", o.store, o.grants, o.callers, o.replicas)
	line := func(metric string, n int, unit string) figureLine { return figureLine{"storm", name, metric, n, unit} }
	return []figureLine{
		line("posts", int(r.posts), "count"), line("posts_twice", int(r.twice), "count"),
		line("answered", r.answered, "count"), line("failed", r.failed, "count"), line("wrong", r.wrong, "count"),
		line("took", int(r.took.Milliseconds()), "ms"), line("p50", int(r.p50.Milliseconds()), "ms"), line("p99", int(r.p99.Milliseconds()), "ms"),
	}
}
