package main

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestARefreshRunReportsEveryMetricOfEveryCase also shows that each rotation is one
// POST: the run fails otherwise. It asserts no time.
func TestARefreshRunReportsEveryMetricOfEveryCase(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out.json")
	var table, log bytes.Buffer
	args := []string{"refresh", "-cases", "c1-limit4,c8-5ms-limit4", "-rounds", "1", "-duration", "300ms", "-grants", "1024", "-json", file}
	if err := run(t.Context(), args, &table, &log); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	var want []string
	for _, name := range []string{"c1-limit4", "c8-5ms-limit4"} {
		for _, m := range []string{"rotations 1/s", "p50_ms ms", "p99_ms ms", "cpu_us us/rotation", "syncs per rotation"} {
			want = append(want, "refresh "+name+" "+m)
		}
		if name == "c1-limit4" {
			want = append(want, "refresh c1-limit4 beside_two_writes_ms ms")
		}
	}
	if diff := cmp.Diff(want, readLines(t, file)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
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
