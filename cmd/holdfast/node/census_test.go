package node

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/family"
)

// values of every series of reg, under its name and labels.
func values(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range all {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return got
}

func TestTheCensusIsExported(t *testing.T) {
	reg := prometheus.NewRegistry()
	var last broker.Census
	newCensus(reg, func() broker.Census { return last })
	if got := values(t, reg); len(got) != 0 {
		t.Errorf("before the first counting: %v, want nothing", got)
	}
	last = broker.Census{At: time.Unix(100, 0), Damaged: 2, Apps: map[string]broker.AppCensus{"jira": {
		Phases: map[family.Phase]int{family.Active: 5, family.Lapsed: 1}, InDoubt: 3, EndingSoon: 4, NextAbsolute: time.Unix(200, 0),
	}}}
	want := map[string]float64{
		"holdfast_families jira active": 5, "holdfast_families jira suspected": 0, "holdfast_families jira lapsed": 1,
		"holdfast_families jira quarantined": 0, "holdfast_families jira revoked": 0,
		"holdfast_families_in_doubt jira": 3, "holdfast_families_ending_soon jira": 4,
		"holdfast_next_absolute_expiry_timestamp_seconds jira": 200, // and no idle one: it is not known
		"holdfast_damaged_grants":                              2, "holdfast_census_timestamp_seconds": 100,
	}
	if diff := cmp.Diff(want, values(t, reg)); diff != "" {
		t.Error(diff)
	}
}
