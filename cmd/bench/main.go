package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: bench SUITE [flags]

suites:
  hot      the product's GetAccessToken against a bare gRPC server
  noise    the bare server against itself: the noise floor of this machine
  crash    the released binary killed again and again under load; "bench crash -h" has its flags
  hostile  the product under attack: what honest callers notice; "bench hostile -h" has its flags
  refresh  whole rotations against a bare token endpoint, and pgbench; "bench refresh -h" has its flags
  scale    opening, memory, load and disk as the number of grants grows, on either store; "bench scale -h" has its flags
  storm    callers of expired grants at several replicas at once; "bench storm -h" has its flags

flags of hot and noise:
`

func main() {
	if len(os.Args) > 2 && os.Args[1] == childVerb {
		if err := runChild(os.Args[2]); err != nil {
			fmt.Fprintf(os.Stderr, "bench %s: %v\n", os.Args[2], err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "bench: interrupted; nothing was reported")
		os.Exit(130)
	case errors.As(err, new(usageError)):
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

type usageError struct{ error }

// options of one run.
type options struct {
	suite    string
	jsonFile string
	cases    []benchCase
	// brownout is the case of that name, of the suite hot alone.
	brownout bool
	rounds   int
	duration time.Duration
	warmUp   time.Duration
	// profileDir, if set, receives one CPU profile of each server, over all rounds.
	profileDir string
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() {
		fmt.Fprint(stderr, usage)
		fs.PrintDefaults()
	}
	fs.StringVar(&o.jsonFile, "json", "", "also write one JSON object a line to this `file`")
	cases := fs.String("cases", strings.Join(defaultCases(), ","), "comma-separated `list` of cases, mtls-cCALLERS-kCONNECTIONS; for hot also brownout")
	fs.IntVar(&o.rounds, "rounds", 5, "interleaved rounds; the median is reported")
	fs.DurationVar(&o.duration, "duration", 2*time.Second, "measured time of one case in one round, for each server")
	fs.DurationVar(&o.warmUp, "warmup", 300*time.Millisecond, "unmeasured time before it")
	fs.StringVar(&o.profileDir, "profile", "", "write CPU profiles of both servers into this `directory`; profiling itself costs a few per cent")
	// The suite stands before or after the flags.
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		o.suite, args = args[0], args[1:]
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return o, err
		}
		return o, usageError{err}
	}
	rest := fs.Args()
	if o.suite == "" && len(rest) > 0 {
		o.suite, rest = rest[0], rest[1:]
	}
	if len(rest) > 0 {
		return o, usageError{fmt.Errorf("unexpected argument %q; run with -h for help", rest[0])}
	}
	if o.suite == "" {
		return o, usageError{errors.New("name a suite: hot, noise, crash, hostile, refresh, scale or storm; run with -h for help")}
	}
	if o.rounds < 1 || o.duration <= 0 || o.warmUp < 0 {
		return o, usageError{errors.New("-rounds and -duration must be positive, -warmup not negative")}
	}
	var err error
	names := strings.Split(*cases, ",")
	if i := slices.Index(names, brownoutName); i >= 0 && o.suite == "hot" {
		o.brownout, names = true, slices.Delete(names, i, i+1)
	}
	if len(names) == 0 {
		return o, nil
	}
	if o.cases, err = parseCases(strings.Join(names, ",")); err != nil {
		return o, usageError{err}
	}
	return o, nil
}

// brownoutName is a case of the suite hot: see brownoutCases.
const brownoutName = "brownout"

// ownFlags are the suites that have flags of their own.
var ownFlags = map[string]func(ctx context.Context, args []string, stdout, stderr io.Writer) error{
	"crash": runCrash, "hostile": runHostile, "refresh": runRefresh, "scale": runScale, "storm": runStorm,
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 {
		if own := ownFlags[args[0]]; own != nil {
			return own(ctx, args[1:], stdout, stderr)
		}
	}
	o, err := parseOptions(args, stderr)
	if err != nil {
		return err
	}
	var product string
	switch o.suite {
	case "hot":
		product = childProduct
	case "noise":
		product = childBare
	default:
		return usageError{fmt.Errorf("unknown suite %q: want hot or noise, or crash, hostile, refresh, scale or storm before its flags", o.suite)}
	}
	var results []result
	log := &sharedWriter{w: stderr}
	if len(o.cases) > 0 {
		if results, err = measureSuite(ctx, o, product, log); err != nil {
			return err
		}
	}
	if o.brownout {
		more, err := measureBrownout(ctx, o, log)
		if err != nil {
			return err
		}
		results = append(results, more...)
	}
	return report(stdout, o.jsonFile, results)
}
