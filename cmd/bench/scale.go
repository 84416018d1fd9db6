package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// scaleFlags are those of the suite scale.
type scaleFlags struct {
	sizes []int
	// postgres: the stores are databases of one server.
	postgres bool
	rounds   int
	idle     time.Duration
	duration time.Duration
	trash    bool
	dir      string
	jsonFile string
}

func parseScale(args []string, stderr io.Writer) (scaleFlags, error) {
	var o scaleFlags
	fs := flag.NewFlagSet("bench scale", flag.ContinueOnError)
	fs.SetOutput(stderr)
	store := fs.String("store", "badger", "where the grants are: badger, or postgres, of which a replica is measured")
	sizes := fs.String("sizes", "10000,100000,1000000", "comma-separated `list` of how many grants; a million take 5 GB of disk, and 2 GB more while a fifth of them is changed")
	fs.IntVar(&o.rounds, "rounds", 3, "openings of each store, bare and by the product, from a cold and from a warm cache; the median is reported")
	fs.DurationVar(&o.idle, "idle", 30*time.Second, "time for which the product's memory is watched before it is asked anything")
	fs.DurationVar(&o.duration, "duration", 5*time.Second, "time of each load")
	fs.BoolVar(&o.trash, "trash", true, "change a fifth of the grants, and collect Badger's value log")
	fs.StringVar(&o.dir, "dir", "", "`directory` on a real disk for the stores; default: the system's for temporary files, where a PostgreSQL server always is")
	fs.StringVar(&o.jsonFile, "json", "", "also write one JSON object a line to this `file`")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, usageError{err}
	}
	if fs.NArg() > 0 {
		return o, usageError{fmt.Errorf("unexpected argument %q; run with -h for help", fs.Arg(0))}
	}
	var err error
	if o.postgres, err = onPostgres(*store); err != nil {
		return o, err
	}
	for text := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 100 || n > 10_000_000 {
			return o, usageError{fmt.Errorf("-sizes %q: want numbers of grants from 100 to 10000000", text)}
		}
		o.sizes = append(o.sizes, n)
	}
	if o.rounds < 1 || o.duration <= 0 || o.idle < 0 {
		return o, usageError{errors.New("-rounds and -duration must be positive, -idle not negative")}
	}
	return o, nil
}

// runScale measures how costs grow with the number of grants.
func runScale(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseScale(args, stderr)
	if err != nil {
		return err
	}
	results, err := measureScale(ctx, o, &sharedWriter{w: stderr})
	if err != nil {
		return err
	}
	return report(stdout, o.jsonFile, results)
}

// scaled is what was measured of one size.
type scaled struct {
	grants int
	serve  serveCommand
	// server has the store in a database; nil: it is Badger's.
	server *postgresServer
	figures
}

func (s *scaled) name() string {
	if s.server != nil {
		return "postgres-" + sizeName(s.grants)
	}
	return "badger-" + sizeName(s.grants)
}

// figures by metric: the rounds' values, and their bases where a metric has its own.
type figures struct{ values, bases map[string][]float64 }

func (f *figures) note(metric string, value float64) {
	f.values[metric] = append(f.values[metric], value)
}

func (f *figures) noteBeside(metric string, value, base float64) {
	f.note(metric, value)
	f.bases[metric] = append(f.bases[metric], base)
}

const mib = 1 << 20

func measureScale(ctx context.Context, o scaleFlags, log io.Writer) (_ []result, err error) {
	dir, err := os.MkdirTemp(o.dir, "holdfast-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	certs, err := writeTLSFiles(dir)
	if err != nil {
		return nil, err
	}
	var server *postgresServer
	if o.postgres {
		if server, err = startPostgres(logTo(log), measuredSettings()...); err != nil {
			return nil, err
		}
		defer server.end()
	}
	var all []*scaled
	for _, n := range o.sizes {
		s := &scaled{grants: n, server: server, figures: figures{map[string][]float64{}, map[string][]float64{}}}
		s.serve = serveCommand{TLS: certs, Dir: filepath.Join(dir, s.name())}
		all = append(all, s)
		if err := s.fill(ctx, log); err != nil {
			return nil, fmt.Errorf("filling a store with %d grants: %w", n, err)
		}
	}
	for range o.rounds {
		for _, s := range all {
			if err := s.open(ctx, log); err != nil {
				return nil, fmt.Errorf("opening the store of %d grants: %w", s.grants, err)
			}
		}
	}
	if err := drawAll(ctx, o, all, log); err != nil {
		return nil, err
	}
	for _, s := range all {
		if err := s.scanAndTrash(ctx, o.trash, log); err != nil {
			return nil, fmt.Errorf("the store of %d grants: %w", s.grants, err)
		}
	}
	return scaleResults(all), nil
}

// sizeName of 10000 is 10k.
func sizeName(n int) string {
	switch {
	case n%1_000_000 == 0:
		return fmt.Sprintf("%dM", n/1_000_000)
	case n%1000 == 0:
		return fmt.Sprintf("%dk", n/1000)
	}
	return strconv.Itoa(n)
}

// ask has one process do one thing, watches its memory, and ends it.
func (s *scaled) ask(ctx context.Context, what string, log io.Writer) (r *scaleReply, most memory, err error) {
	p, err := startChild(ctx, childScale, anyCore, log)
	if err != nil {
		return nil, most, err
	}
	stop := peak(p.cmd.Process.Pid, 20*time.Millisecond)
	got, err := p.ask(command{Scale: &scaleCommand{What: what, Serve: s.serve, Grants: s.grants}})
	most, _ = stop()
	return got.Scale, most, errors.Join(err, p.stop())
}

func (s *scaled) fill(ctx context.Context, log io.Writer) error {
	if err := s.makeDatabase(); err != nil {
		return err
	}
	r, most, err := s.ask(ctx, scaleFill, log)
	if err != nil {
		return err
	}
	if err := s.settleDatabase(ctx); err != nil {
		return err
	}
	size, err := s.diskSize()
	s.note("load_rate", float64(s.grants)/r.Took.Seconds())
	s.note("load_anonymous_peak", float64(most.anonymous)/mib)
	s.note("disk_loaded", float64(size)/mib)
	fmt.Fprintf(log, "bench: %s grants loaded in %v, at most %d MiB anonymous, %d MiB on disk\n",
		sizeName(s.grants), r.Took.Round(time.Millisecond), most.anonymous/mib, size/mib)
	return err
}

func (s *scaled) storeDir() string { return filepath.Join(s.serve.Dir, "store") }

// open times bare Badger and the product, each from a cold and a warm cache.
func (s *scaled) open(ctx context.Context, log io.Writer) error {
	if s.server != nil {
		return s.openDatabase(ctx, log)
	}
	for _, cache := range []struct {
		name    string
		prepare func(string) error
	}{{"cold", dropCache}, {"warm", warmCache}} {
		took := map[string]time.Duration{}
		for _, what := range []string{scaleBare, scaleReady} {
			if err := cache.prepare(s.storeDir()); err != nil {
				return err
			}
			r, most, err := s.ask(ctx, what, log)
			if err != nil {
				return err
			}
			took[what] = r.Took
			if what == scaleBare {
				s.note("bare_anonymous_"+cache.name, float64(most.anonymous)/mib)
				if err := s.mend(ctx, log); err != nil {
					return err
				}
			}
		}
		s.noteBeside("ready_"+cache.name, milliseconds(took[scaleReady]), milliseconds(took[scaleBare]))
		fmt.Fprintf(log, "bench: %s grants, %s cache: ready after %v, bare Badger %v\n", sizeName(s.grants), cache.name,
			took[scaleReady].Round(time.Millisecond), took[scaleBare].Round(time.Millisecond))
	}
	return nil
}

// mend makes the store's note of its files true again, which bare Badger does
// not know of: without one the store looks at them as after a crash, and closed
// it has a new one.
func (s *scaled) mend(ctx context.Context, log io.Writer) error {
	if err := os.Remove(filepath.Join(s.storeDir(), "holdfast-files.json")); err != nil {
		return err
	}
	_, _, err := s.ask(ctx, scaleReady, log)
	return err
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
