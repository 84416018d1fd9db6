package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMain lets the test binary be the processes of a run.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == childVerb {
		if err := runChild(os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func TestARunReportsEveryMetricOfEveryCase(t *testing.T) {
	for _, suite := range []string{"noise", "hot"} {
		file := filepath.Join(t.TempDir(), "out.json")
		var table, log bytes.Buffer
		args := []string{suite, "-cases", "mtls-c1-k1,mtls-c8-k4", "-rounds", "1", "-duration", "500ms", "-warmup", "10ms", "-json", file}
		if err := run(t.Context(), args, &table, &log); err != nil {
			t.Fatalf("%v\n%s", err, log.String())
		}
		var want []string
		for _, name := range []string{"mtls-c1-k1", "mtls-c8-k4"} {
			for _, m := range []string{"rps calls/s", "p50_ms ms", "p99_ms ms", "cpu_us us/call"} {
				want = append(want, suite+" "+name+" "+m)
			}
		}
		if diff := cmp.Diff(want, readLines(t, file)); diff != "" {
			t.Errorf("lines (-want +got):\n%s", diff)
		}
		if rows := strings.Count(table.String(), "\n"); rows != len(want)+1 {
			t.Errorf("the table has %d lines, want %d:\n%s", rows, len(want)+1, table.String())
		}
	}
}

// readLines returns what each line of a result file is about, and fails the
// test for a line that is not as documented.
func readLines(t *testing.T, file string) []string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var got []string
	for dec := json.NewDecoder(f); dec.More(); {
		var line map[string]any
		if err := dec.Decode(&line); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(line["suite"], " ", line["case"], " ", line["metric"], " ", line["unit"]))
		for _, field := range []string{"value", "base", "ratio"} {
			if v, ok := line[field].(float64); !ok || v <= 0 {
				t.Errorf("%v: %s = %v, want a positive number", got[len(got)-1], field, line[field])
			}
		}
		if len(line) != 7 {
			t.Errorf("a line has %d fields, want the documented 7: %v", len(line), line)
		}
	}
	return got
}

func TestAnInterruptedRunEndsItsProcessesAndItsDirectory(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	progress := &cancelAtFirst{what: "round 1/", cancel: cancel}
	err := run(ctx, []string{"noise", "-cases", "mtls-c8-k1", "-rounds", "1000", "-duration", "500ms", "-warmup", "1ms"}, io.Discard, progress)
	if err == nil || ctx.Err() == nil {
		t.Fatalf("got error %v, want the run to end early", err)
	}
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// cancelAtFirst cancels once a text was written.
type cancelAtFirst struct {
	what   string
	cancel func()
}

func (c *cancelAtFirst) Write(p []byte) (int, error) {
	if strings.Contains(string(p), c.what) {
		c.cancel()
	}
	return len(p), nil
}

func TestRatioIsTheMedianOfTheRoundsOwnRatios(t *testing.T) {
	// The machine became twice as slow after the first round; the ratio did not change.
	rounds := []round{
		{product: sample{cpuUS: 11}, bare: sample{cpuUS: 10}},
		{product: sample{cpuUS: 22}, bare: sample{cpuUS: 20}},
		{product: sample{cpuUS: 30}, bare: sample{cpuUS: 20}},
	}
	for _, r := range summarize("hot", "c", rounds) {
		if r.Metric != "cpu_us" {
			continue
		}
		if r.Value != 22 || r.Base != 20 || r.Ratio != 1.1 || r.lowest != 1.1 || r.highest != 1.5 {
			t.Errorf("got %+v", r)
		}
		return
	}
	t.Error("no cpu_us")
}

func TestQuantile(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	for _, c := range []struct {
		of   []time.Duration
		q    float64
		want time.Duration
	}{
		{hundred, 0.5, 50}, {hundred, 0.99, 99}, {hundred, 1, 100}, {hundred, 0, 1},
		{hundred[:1], 0.99, 1}, {hundred[:3], 0.5, 2}, {nil, 0.5, 0},
	} {
		if got := quantile(c.of, c.q); got != c.want {
			t.Errorf("quantile(%d values, %v) = %d, want %d", len(c.of), c.q, got, c.want)
		}
	}
}

func TestWrongUsageIsNamed(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "name a suite"},
		{"cold", `unknown suite "cold"`},
		{"hot extra", `unexpected argument "extra"`},
		{"hot -cases mtls-64", `case "mtls-64"`},
		{"hot -cases mtls-c0-k1", "must be at least 1"},
		{"hot -rounds 0", "must be positive"},
		{"hot -wrong", "not defined"},
		{"crash -kills 3", "-kills 3: want at least"},
		{"crash -grants 0", "-grants 0"},
		{"crash extra", `unexpected argument "extra"`},
		{"crash -rounds 2", "not defined"},
		{"-rounds 2 crash", "crash, hostile, refresh, scale or storm before its flags"},
		{"hostile -connections 0", "must be positive"},
		{"hostile -attacks tea", `unknown attack "tea"`},
		{"refresh -rounds 0", "must be positive"},
		{"refresh -cases c0", "want 1 to 256 callers"},
		{"refresh -cases d1", `case "d1"`},
		{"scale -sizes 10", "want numbers of grants"},
		{"scale -idle -1s", "not negative"},
		{"storm -store badger", "add -replicas 1"},
		{"storm -grants 0", "must be positive"},
		{"refresh extra", `unexpected argument "extra"`},
	} {
		err := run(t.Context(), strings.Fields(c.args), io.Discard, io.Discard)
		if !errors.As(err, new(usageError)) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("bench %s: got %v, want a usage error with %q", c.args, err, c.want)
		}
	}
	if err := run(t.Context(), []string{"-h"}, io.Discard, io.Discard); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("-h: %v", err)
	}
	if o, err := parseOptions([]string{"-rounds", "7", "hot"}, io.Discard); err != nil || o.suite != "hot" || o.rounds != 7 || len(o.cases) != len(defaultCases()) {
		t.Errorf("flags before the suite: %+v, %v", o, err)
	}
}
