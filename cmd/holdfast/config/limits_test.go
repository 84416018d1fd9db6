package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker/rpc"
)

func TestLimitsHaveDefaultsForWhatIsLeftOut(t *testing.T) {
	for name, row := range map[string]struct {
		text string
		want rpc.Limits
	}{
		"none": {"", rpc.Limits{
			Caller: rpc.Rate{PerSecond: rpc.DefaultCallerRate, Burst: rpc.DefaultCallerBurst}, Callers: map[string]rpc.Rate{},
		}},
		"a small rate": {"limits: {caller_rate: 3}\n", rpc.Limits{
			Caller: rpc.Rate{PerSecond: 3, Burst: rpc.LeastBurst}, Callers: map[string]rpc.Rate{},
		}},
		"callers of their own": {"limits: {caller_rate: 300, caller_burst: 400, callers: [{name: a}, {name: b, rate: 700}, {name: c, burst: 900}]}\n", rpc.Limits{
			Caller:  rpc.Rate{PerSecond: 300, Burst: 400},
			Callers: map[string]rpc.Rate{"a": {PerSecond: 300, Burst: 400}, "b": {PerSecond: 700, Burst: 1400}, "c": {PerSecond: 300, Burst: 900}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			row.want.Connections, row.want.Strangers = rpc.DefaultConnections, rpc.DefaultStrangers
			row.want.ConnectionsPerCaller = rpc.DefaultConnections / 2
			row.want.Watches, row.want.WatchesPerCaller = rpc.DefaultWatches, rpc.DefaultWatchesPerCaller
			rest, _, _ := strings.Cut(whole, "limits:\n")
			c, _, err := Parse(filepath.Join(dir(t), "holdfast.yaml"), []byte(rest+row.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.want, c.Limits.RPC()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestSenselessLimitsAreReportedWithTheirLines(t *testing.T) {
	text := strings.NewReplacer("caller_rate: 500", "caller_rate: -1", "caller_burst: 700", "caller_burst: 99",
		"callers: [{name: operator, rate: 50}]", "callers: [{name: operator, rate: 2000000}, {rate: 1}, {name: operator}]").Replace(whole)
	_, _, err := Parse(filepath.Join(dir(t), "holdfast.yaml"), []byte(text))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		":48: limits.caller_rate: -1: want 1 to 1000000", ":49: limits.caller_burst: 99: want 100 to 1000000",
		":50: limits.callers[0].rate: 2000000: want", ":50: limits.callers[1].name: missing", `:50: limits.callers[2].name: "operator" is listed twice`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}
