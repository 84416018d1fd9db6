package node

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// documented are the metrics of METRICS.md with their labels.
func documented(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../../../METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(holdfast_[a-z_]+)` \\| ?([a-z, ]*?) ?\\| (?:counter|gauge|histogram) \\|").FindAllStringSubmatch(string(text), -1) {
		found[row[1]] = strings.ReplaceAll(row[2], ", ", ",")
	}
	return found
}

func TestTheTableOfMetricsIsWhole(t *testing.T) {
	_, c := prepared(t)
	n := running(t, c)
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		n.metrics.Describe(descs)
	}()
	// client_golang tells name and labels of a Desc in this text only.
	form := regexp.MustCompile(`^Desc\{fqName: "(holdfast_[a-z_]+)".*variableLabels: \{([a-z,]*)\}\}$`)
	exported := map[string]string{}
	for d := range descs {
		if m := form.FindStringSubmatch(d.String()); m != nil {
			exported[m[1]] = m[2]
		}
	}
	if len(exported) < 20 {
		t.Fatalf("only %d metrics found: %v", len(exported), slices.Sorted(maps.Keys(exported)))
	}
	if diff := cmp.Diff(documented(t), exported); diff != "" {
		t.Errorf("METRICS.md and /metrics differ (- documented, + exported):\n%s", diff)
	}
}
