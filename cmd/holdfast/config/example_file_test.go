package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/cmd/holdfast/devca"
)

func TestTheExampleIsAWholeValidFile(t *testing.T) {
	text, err := os.ReadFile("holdfast.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// Its files lie elsewhere; here they lie in one directory.
	d := dir(t)
	example := string(text)
	fill(t, d, map[string]string{"server.crt": devca.ServerCert, "server.key": devca.ServerKey, "clients-ca.crt": devca.CACert})
	write(t, filepath.Join(d, "jira.secret"), "a")
	write(t, filepath.Join(d, "confluence.secret"), "b")
	example = strings.NewReplacer("/etc/holdfast/", d+"/", "/var/lib/", d+"/", "/var/log/holdfast/", d+"/").Replace(example)
	// With every default written out it must say the same.
	spelt := strings.NewReplacer("  # listen:", "  listen:", "  # profile: atlassian ", "  profile: atlassian ", "  # http_timeout:", "  http_timeout:",
		"  # lease:", "  lease:", "  # clock_margin:", "  clock_margin:",
		"  # rate:", "  rate:", "  # burst:", "  burst:", "  # concurrency:", "  concurrency:",
		"  # caller_rate:", "  caller_rate:", "  # caller_burst:", "  caller_burst:",
		"  # grant_rate:", "  grant_rate:", "  # grant_burst:", "  grant_burst:", "  # waiting_calls:", "  waiting_calls:", "  # waiting_calls_per_grant:", "  waiting_calls_per_grant:",
		"  # connections:", "  connections:", "  # strangers:", "  strangers:", "  # http_connections:", "  http_connections:",
		"  # level:", "  level:", "  # format:", "  format:").Replace(example)
	var configs [2]*Config
	for i, text := range []string{example, spelt} {
		c, problems, err := Parse(filepath.Join(d, "holdfast.yaml"), []byte(text))
		if err != nil || len(problems) > 0 {
			t.Fatalf("problems %v, error %v", problems, err)
		}
		configs[i] = c
	}
	a, b := configs[0], configs[1]
	if a.GRPC != b.GRPC || a.HTTP != b.HTTP || a.Metrics != b.Metrics || a.Log != b.Log || a.Provider.Timing != b.Provider.Timing || a.Provider.Profile != b.Provider.Profile ||
		a.Provider.Rate != b.Provider.Rate || a.Provider.Burst != b.Provider.Burst || a.Provider.Concurrency != b.Provider.Concurrency ||
		!reflect.DeepEqual(a.Limits, b.Limits) {
		t.Errorf("a default in a comment is not the default:\n%+v\n%+v", a, b)
	}
	if example == spelt {
		t.Error("the comments' defaults were not found")
	}
}
