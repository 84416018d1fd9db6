package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-io/holdfast/broker"
)

// replicaMetrics exports how a replica fares with the store that it shares with
// others; zeros for an embedded one.
type replicaMetrics struct {
	ask func() broker.Vitals

	lost, verified, ahead                   *prometheus.Desc
	queries, changed, hints, stale, claimed *prometheus.Desc
}

func newReplicaMetrics(reg prometheus.Registerer, ask func() broker.Vitals) {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }
	reg.MustRegister(&replicaMetrics{
		ask:      ask,
		lost:     desc("holdfast_store_lost_seconds", "For how long the database that replicas share has not answered; 0: it answers."),
		verified: desc("holdfast_verified_entries", "Grants in memory whose versions are compared with the database every half second."),
		ahead:    desc("holdfast_store_clock_ahead_seconds", "How far the database's clock, by which replicas judge leases, is ahead of this machine's; negative: behind."),
		queries:  desc("holdfast_version_queries_total", "Questions to the database for versions."),
		changed:  desc("holdfast_changed_elsewhere_total", "Records in memory that such a question found changed."),
		hints:    desc("holdfast_store_hints_total", "Notifications of changes that concerned grants in use or apps."),
		stale:    desc("holdfast_stale_serves_total", "Tokens served from memory while the database did not answer."),
		claimed:  desc("holdfast_claimed_grants_total", "Due grants that this replica took on."),
	})
}

// Describe implements prometheus.Collector.
func (m *replicaMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.lost, m.verified, m.ahead, m.queries, m.changed, m.hints, m.stale, m.claimed} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *replicaMetrics) Collect(out chan<- prometheus.Metric) {
	now := m.ask().Replica
	send := func(d *prometheus.Desc, t prometheus.ValueType, value float64) {
		out <- prometheus.MustNewConstMetric(d, t, value)
	}
	send(m.lost, prometheus.GaugeValue, now.Lost.Seconds())
	send(m.verified, prometheus.GaugeValue, float64(now.Verified))
	send(m.ahead, prometheus.GaugeValue, now.ClockAhead.Seconds())
	for d, n := range map[*prometheus.Desc]uint64{
		m.queries: now.Queries, m.changed: now.Changed, m.hints: now.Hints, m.stale: now.Stale, m.claimed: now.Claimed,
	} {
		send(d, prometheus.CounterValue, float64(n))
	}
}
