package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestARefreshRunReportsEveryMetricOfEveryCase also shows that each rotation is one
// POST: the run fails otherwise. It asserts no time.
func TestARefreshRunReportsEveryMetricOfEveryCase(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out.json")
	var table, log bytes.Buffer
	args := []string{"refresh", "-cases", "c1-limit4,c4-limit4,c8-5ms-limit4", "-rounds", "1", "-duration", "300ms", "-grants", "4096", "-json", file}
	if err := run(t.Context(), args, &table, &log); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	var want []string
	for _, name := range []string{"c1-limit4", "c4-limit4", "c8-5ms-limit4"} {
		for _, m := range []string{"rotations 1/s", "p50_ms ms", "p99_ms ms", "cpu_us us/rotation", "syncs per rotation"} {
			want = append(want, "refresh "+name+" "+m)
		}
		if name == "c1-limit4" {
			want = append(want, "refresh c1-limit4 parts 1/s", "refresh c1-limit4 beside_two_writes_ms ms", "refresh c1-limit4 beside_sum_ms ms")
		}
		if name == "c4-limit4" {
			want = append(want, "refresh c4-limit4 parts 1/s", "refresh c4-limit4 beside_parts 1/s")
		}
	}
	if diff := cmp.Diff(want, readLines(t, file)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

// TestARefreshRunOnPostgreSQLIsBesidePgbench asserts no time.
func TestARefreshRunOnPostgreSQLIsBesidePgbench(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out.json")
	var table, log bytes.Buffer
	args := []string{"refresh", "-store", "postgres", "-cases", "c1,c8-5ms-limit4", "-rounds", "1", "-duration", "300ms", "-grants", "1024", "-json", file}
	if err := run(t.Context(), args, &table, &log); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	var want []string
	for _, name := range []string{"postgres-c1", "postgres-c8-5ms-limit4"} {
		for _, m := range []string{"rotations 1/s", "p50_ms ms", "p99_ms ms", "cpu_us us/rotation", "syncs per rotation"} {
			want = append(want, "refresh "+name+" "+m)
		}
		if name == "postgres-c1" {
			want = append(want, "refresh postgres-c1 beside_two_writes_ms ms", "refresh postgres-c1 beside_pgbench 1/s")
		}
	}
	if diff := cmp.Diff(want, readLines(t, file)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
	if !strings.Contains(table.String(), ">= 0.5") {
		t.Errorf("the goal is not printed:\n%s", table.String())
	}
}

func TestTheReportOfPgbench(t *testing.T) {
	const report = "number of transactions actually processed: 300\nlatency average = 3.1 ms\ninitial connection time = 2.3 ms\ntps = 150.000000 (without initial connection time)\n"
	got, err := readPgbench(report)
	if want := (pairTally{pairs: 300, elapsed: 2 * time.Second}); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	for _, bad := range []string{"", strings.Replace(report, "300", "0", 1), strings.Replace(report, "150.0", "0.0", 1)} {
		if _, err := readPgbench(bad); err == nil {
			t.Errorf("%q is a report", bad)
		}
	}
}

func TestRefreshCases(t *testing.T) {
	got, err := parseRefreshCases("c1,c64-50ms,c256-50ms-limit16")
	if err != nil {
		t.Fatal(err)
	}
	want := []refreshCase{
		{name: "c1", callers: 1, limit: refreshLimit},
		{name: "c64-50ms", callers: 64, delay: 50 * time.Millisecond, limit: refreshLimit},
		{name: "c256-50ms-limit16", callers: 256, delay: 50 * time.Millisecond, limit: 16},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(refreshCase{})); diff != "" {
		t.Error(diff)
	}
}
