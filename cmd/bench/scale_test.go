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
	file := filepath.Join(t.TempDir(), "out.json")
	var table, log bytes.Buffer
	args := []string{"scale", "-sizes", "200,1000", "-rounds", "1", "-idle", "10ms", "-duration", "200ms", "-dir", t.TempDir(), "-json", file}
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
	for _, size := range []string{"badger-200", "badger-1k"} {
		for _, m := range scaleMetrics {
			tooMany := m.name == "due_scan_10000" || m.name == "due_scan_1000" && size == "badger-200"
			if good, reported := got[size+" "+m.name]; reported == tooMany || reported && !good {
				t.Errorf("%s %s: reported %v, above zero %v", size, m.name, reported, good)
			}
		}
	}
}

func TestSizeName(t *testing.T) {
	for n, want := range map[int]string{250: "250", 10_000: "10k", 1_000_000: "1M", 1_500_000: "1500k"} {
		if got := sizeName(n); got != want {
			t.Errorf("%d is called %s, want %s", n, got, want)
		}
	}
}
