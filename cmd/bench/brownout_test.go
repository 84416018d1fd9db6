package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestABrownoutRunReportsHotAnswersBesideEachDisturbance asserts no time.
func TestABrownoutRunReportsHotAnswersBesideEachDisturbance(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out.json")
	var table, log bytes.Buffer
	args := []string{"hot", "-cases", "brownout", "-rounds", "1", "-duration", "100ms", "-json", file}
	if err := run(t.Context(), args, &table, &log); err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	var want []string
	for _, c := range brownoutCases {
		for _, name := range []string{c.name, c.name + insideName} {
			for _, m := range []string{"rps calls/s", "p50_ms ms", "p99_ms ms"} {
				want = append(want, "hot "+name+" "+m)
			}
		}
	}
	if diff := cmp.Diff(want, readLines(t, file)); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}
