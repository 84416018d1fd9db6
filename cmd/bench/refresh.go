package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// refreshFlags are those of the suite refresh.
type refreshFlags struct {
	cases    []refreshCase
	rounds   int
	duration time.Duration
	grants   int
	// cold: the grants are not in use when a call asks for them.
	cold bool
	// postgres: the brokers' stores are databases of one server.
	postgres bool
	dir      string
	jsonFile string
	// profileDir, if set, receives one CPU profile of each broker.
	profileDir string
}

func parseRefresh(args []string, stderr io.Writer) (refreshFlags, error) {
	var o refreshFlags
	fs := flag.NewFlagSet("bench refresh", flag.ContinueOnError)
	fs.SetOutput(stderr)
	cases := fs.String("cases", refreshCases, "comma-separated `list` of cases, cCALLERS[-DELAYms][-limitSPENDS]")
	fs.IntVar(&o.rounds, "rounds", 5, "interleaved rounds; the median is reported")
	fs.DurationVar(&o.duration, "duration", 2*time.Second, "measured time of one case in one round, for each side")
	fs.IntVar(&o.grants, "grants", 16384, "grants of each broker; their tokens live 3 seconds, and each must have ended when its turn comes again")
	fs.BoolVar(&o.cold, "cold", false, "measure the first rotation of each grant, whose record is read from the store before; else each was asked for once and is in memory, as grants in use are")
	store := fs.String("store", "badger", "where the grants are: badger, or postgres, beside pgbench")
	fs.StringVar(&o.dir, "dir", "", "`directory` on a real disk for the stores; default: the system's for temporary files, where a PostgreSQL server always is")
	fs.StringVar(&o.jsonFile, "json", "", "also write one JSON object a line to this `file`")
	fs.StringVar(&o.profileDir, "profile", "", "write a CPU profile of each broker into this `directory`; profiling itself costs a few per cent")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, usageError{err}
	}
	if fs.NArg() > 0 {
		return o, usageError{fmt.Errorf("unexpected argument %q; run with -h for help", fs.Arg(0))}
	}
	if o.rounds < 1 || o.duration <= 0 || o.grants < refreshLimit {
		return o, usageError{fmt.Errorf("-rounds and -duration must be positive, -grants at least %d", refreshLimit)}
	}
	var err error
	if o.postgres, err = onPostgres(*store); err != nil {
		return o, err
	}
	if o.cases, err = parseRefreshCases(*cases); err != nil {
		return o, usageError{err}
	}
	for i := range o.cases {
		o.cases[i].postgres = o.postgres
	}
	return o, nil
}

// runRefresh measures whole rotations.
func runRefresh(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parseRefresh(args, stderr)
	if err != nil {
		return err
	}
	results, err := measureRefresh(ctx, o, &sharedWriter{w: stderr})
	if err != nil {
		return err
	}
	return report(stdout, o.jsonFile, results)
}

// refreshContest is the processes of a run: one provider, and a broker for each
// configured concurrency.
type refreshContest struct {
	endpoint *child
	brokers  map[int]*child
	// load is there if callers come over connections.
	load *child
	// server and pgbench are there if the stores are databases.
	server  *postgresServer
	pgbench *pgbench
	log     io.Writer
}

func measureRefresh(ctx context.Context, o refreshFlags, log io.Writer) (_ []result, err error) {
	dir, err := os.MkdirTemp(o.dir, "holdfast-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c := &refreshContest{brokers: map[int]*child{}, log: log}
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := c.start(ctx, o, dir); err != nil {
		return nil, err
	}
	rounds := make(map[string][]refreshRound, len(o.cases))
	for n := range o.rounds {
		for _, rc := range o.cases {
			r, err := c.round(ctx, o, rc, n)
			if err != nil {
				return nil, fmt.Errorf("%s, round %d: %w", rc.name, n+1, err)
			}
			rounds[rc.name] = append(rounds[rc.name], r)
			fmt.Fprintf(log, "bench: round %d/%d %-20s rotations/s %6.0f, provider alone %6.0f (%.3f), commits a rotation %.3f%s\n", n+1, o.rounds, rc.name,
				r.broker.rate(), r.provider.rate(), r.broker.rate()/r.provider.rate(), r.commits(), r.besidePgbench())
		}
	}
	if err := c.checkPairs(); err != nil {
		return nil, err
	}
	if o.profileDir != "" {
		for _, b := range c.brokers {
			if _, err := b.ask(command{StopProfile: true}); err != nil {
				return nil, err
			}
		}
	}
	var results []result
	for _, rc := range o.cases {
		results = append(results, refreshResults(rc, rounds[rc.name])...)
	}
	return results, nil
}

func (c *refreshContest) start(ctx context.Context, o refreshFlags, dir string) error {
	certs, err := writeTLSFiles(dir)
	if err != nil {
		return err
	}
	if o.postgres {
		if err := c.startPostgres(ctx, o, dir, certs); err != nil {
			return err
		}
	}
	if c.endpoint, err = startChild(ctx, childToken, anyCore, c.log); err != nil {
		return err
	}
	r, err := c.endpoint.ask(command{Endpoint: &endpointCommand{Life: tokenLife}})
	if err != nil {
		return err
	}
	for _, rc := range o.cases {
		if c.brokers[rc.limit] != nil {
			continue
		}
		store := ""
		if o.postgres {
			if store, err = c.server.database(dir, rc.database()); err != nil {
				return err
			}
		}
		b, err := startChild(ctx, childRefresh, anyCore, c.log)
		if err != nil {
			return err
		}
		c.brokers[rc.limit] = b
		if _, err := b.ask(command{Refresh: &refreshCommand{
			Serve:    serveCommand{TLS: certs, Dir: filepath.Join(dir, fmt.Sprintf("broker-%d", rc.limit)), Store: store},
			TokenURL: "http://" + r.Addr + "/token", Grants: o.grants, Limit: rc.limit, Grace: accessGrace, Warm: !o.cold,
		}}); err != nil {
			return err
		}
		if o.profileDir == "" {
			continue
		}
		if err := os.MkdirAll(o.profileDir, 0o755); err != nil {
			return fmt.Errorf("profiling: %w", err)
		}
		if _, err := b.ask(command{StartProfile: filepath.Join(o.profileDir, fmt.Sprintf("broker-%d.pprof", rc.limit))}); err != nil {
			return err
		}
	}
	return nil
}

// refreshSlice is how long each side has its turn: longer than in the suite hot,
// since Badger works in the background for a while after a load.
const refreshSlice = 500 * time.Millisecond

// round measures one case on all sides, slice by slice in alternation. The n-th
// round begins with another side than the one before.
func (c *refreshContest) round(ctx context.Context, o refreshFlags, rc refreshCase, n int) (r refreshRound, err error) {
	if _, err := c.endpoint.ask(command{Delay: &rc.delay}); err != nil {
		return r, err
	}
	order := rc.sides()
	if n%2 == 1 {
		slices.Reverse(order)
	}
	sides := map[string]*sliceReply{ofBroker: &r.broker, ofProvider: &r.provider, ofSync: &r.sync, ofParts: &r.parts}
	long := refreshSlice
	if o.postgres {
		long = pgbenchSlice
	}
	for measured := time.Duration(0); measured < o.duration; measured += long {
		for _, of := range order {
			if err := ctx.Err(); err != nil {
				return r, err
			}
			if of == ofPgbench {
				if err := c.pairs(ctx, rc, &r.pgbench); err != nil {
					return r, err
				}
				continue
			}
			q := &sliceCommand{Of: of, Callers: rc.callers, Unmeasured: settle + 2*rc.delay, Measured: min(long, o.duration-measured)}
			got, err := c.slice(rc, q)
			if err != nil {
				return r, err
			}
			s := sides[of]
			s.add(got.tally)
			s.CPU, s.Commits, s.Rotations = s.CPU+got.CPU, s.Commits+got.Commits, s.Rotations+got.Rotations
		}
		slices.Reverse(order)
	}
	return r, nil
}

// slice has a broker's process measure, and counts its POSTs.
func (c *refreshContest) slice(rc refreshCase, q *sliceCommand) (*sliceReply, error) {
	posts, commits, err := c.meters(rc)
	if err != nil {
		return nil, err
	}
	got, err := c.brokers[rc.limit].ask(command{Slice: q})
	if err != nil {
		return nil, err
	}
	postsAfter, commitsAfter, err := c.meters(rc)
	if err != nil {
		return nil, err
	}
	if posts := postsAfter - posts; q.Of == ofBroker && posts != got.Slice.Rotations {
		return nil, fmt.Errorf("%d rotations took %d POSTs", got.Slice.Rotations, posts)
	}
	if rc.postgres {
		got.Slice.Commits = commitsAfter - commits
	}
	return got.Slice, nil
}

// meters are the POSTs that the token endpoint has taken, and the commits of a
// broker's database if it has one.
func (c *refreshContest) meters(rc refreshCase) (posts, commits int64, err error) {
	r, err := c.endpoint.ask(command{Delay: &rc.delay})
	if err == nil && rc.postgres {
		commits, err = c.server.number(rc.database(), "SELECT last_value FROM holdfast_commit")
	}
	return r.Posts, commits, err
}

func (c *refreshContest) stop() error {
	var err error
	for _, b := range c.brokers {
		err = errors.Join(err, b.stop())
	}
	for _, p := range []*child{c.load, c.endpoint} {
		if p != nil {
			err = errors.Join(err, p.stop())
		}
	}
	if c.server != nil {
		c.server.end()
	}
	return err
}
