package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-io/holdfast/storage"
)

// failoverMetrics exports what fail-overs of the store's database have lost.
type failoverMetrics struct {
	counts *storage.LostCommits
	grants *prometheus.Desc
	whole  *prometheus.Desc
}

// newFailoverMetrics takes nil for a store that does not fail over.
func newFailoverMetrics(reg prometheus.Registerer, counts *storage.LostCommits) {
	if counts == nil {
		counts = new(storage.LostCommits)
	}
	reg.MustRegister(&failoverMetrics{
		counts: counts,
		grants: prometheus.NewDesc("holdfast_lost_commits_grants_total",
			"Grants of which a fail-over of the database lost commits, found by this replica, by what became of them: restored or quarantined.", []string{"became"}, nil),
		whole: prometheus.NewDesc("holdfast_lost_commits_whole_store_total",
			"Fail-overs after which this replica quarantined the whole store, since a fence log was missing or too short.", nil, nil),
	})
}

// Describe implements prometheus.Collector.
func (m *failoverMetrics) Describe(out chan<- *prometheus.Desc) {
	out <- m.grants
	out <- m.whole
}

// Collect implements prometheus.Collector.
func (m *failoverMetrics) Collect(out chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, n uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	send(m.grants, m.counts.Restored.Load(), "restored")
	send(m.grants, m.counts.Quarantined.Load(), "quarantined")
	send(m.whole, m.counts.Whole.Load())
}
