package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAScaleRunReportsEveryMetricOfEachSize asserts no time.
func TestAScaleRunReportsEveryMetricOfEachSize(t *testing.T) {
	got := scaleLines(t, "badger")
	for _, size := range []string{"badger-200", "badger-1k"} {
		for _, m := range scaleMetrics {
			tooMany := m.name == "due_scan_10000" || m.name == "due_scan_1000" && size == "badger-200"
			if good, reported := got[size+" "+m.name]; reported == tooMany || reported && !good {
				t.Errorf("%s %s: reported %v, above zero %v", size, m.name, reported, good)
			}
		}
	}
}

// TestAScaleRunOnPostgreSQLReportsWhatThereIsToMeasure asserts no time.
func TestAScaleRunOnPostgreSQLReportsWhatThereIsToMeasure(t *testing.T) {
	got := scaleLines(t, "postgres")
	ofBadger := map[string]bool{"bare_anonymous_cold": true, "bare_anonymous_warm": true, "disk_collected": true}
	for _, size := range []string{"postgres-200", "postgres-1k"} {
		for _, m := range scaleMetrics {
			none := ofBadger[m.name] || m.name == "due_scan_10000" || m.name == "due_scan_1000" && size == "postgres-200"
			if good, reported := got[size+" "+m.name]; reported == none || reported && !good {
				t.Errorf("%s %s: reported %v, above zero %v", size, m.name, reported, good)
			}
		}
	}
}

// scaleLines runs the suite with few grants: which figures it reports, and whether
// they are above zero.
func scaleLines(t *testing.T, store string) map[string]bool {
	t.Helper()
	file := filepath.Join(t.TempDir(), "out.json")
	var table, log bytes.Buffer
	args := []string{"scale", "-store", store, "-sizes", "200,1000", "-rounds", "1", "-idle", "10ms", "-duration", "200ms", "-dir", t.TempDir(), "-json", file}
	if err := run(t.Context(), args, &table, &log); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		var r result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		got[r.Case+" "+r.Metric] = r.Value > 0
	}
	return got
}

func TestSizeName(t *testing.T) {
	for n, want := range map[int]string{250: "250", 10_000: "10k", 1_000_000: "1M", 1_500_000: "1500k"} {
		if got := sizeName(n); got != want {
			t.Errorf("%d is called %s, want %s", n, got, want)
		}
	}
}
