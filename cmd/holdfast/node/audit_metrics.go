package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-io/holdfast/broker/audit"
)

// auditMetrics exports how the audit log fares at the time of the scrape.
type auditMetrics struct {
	ask func() audit.Stats

	records, batches, refused, counted *prometheus.Desc
	failures, lost, queued, writing    *prometheus.Desc
}

func newAuditMetrics(reg prometheus.Registerer, ask func() audit.Stats) {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	reg.MustRegister(&auditMetrics{
		ask:      ask,
		records:  desc("holdfast_audit_records_total", "Audit records written."),
		batches:  desc("holdfast_audit_writes_total", "Writes that brought them: one brings all records that wait."),
		refused:  desc("holdfast_audit_refused_total", "Records that could not be written; their calls were refused."),
		counted:  desc("holdfast_audit_counted_refusals_total", "Refusals that share one record with others of the same caller."),
		failures: desc("holdfast_audit_failures_total", "Failures by kind: write, lag (a write that took too long), rotate, checkpoint_file.", "kind"),
		lost:     desc("holdfast_audit_lost_copies_total", "Lines that a copy of the record did not get, by sink: stdout, otlp.", "sink"),
		queued:   desc("holdfast_audit_queued_records", "Records that wait for the writer."),
		writing:  desc("holdfast_audit_write_seconds", "How long the write under way has taken; 0: none is."),
	})
}

// Describe implements prometheus.Collector.
func (m *auditMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.records, m.batches, m.refused, m.counted, m.failures, m.lost, m.queued, m.writing} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *auditMetrics) Collect(out chan<- prometheus.Metric) {
	s := m.ask()
	count := func(d *prometheus.Desc, value uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}
	count(m.records, s.Records)
	count(m.batches, s.Batches)
	count(m.refused, s.Refused)
	count(m.counted, s.Counted)
	count(m.failures, s.Failures, "write")
	count(m.failures, s.Lags, "lag")
	count(m.failures, s.RotationFailures, "rotate")
	count(m.failures, s.ExportFailures, "checkpoint_file")
	for sink, n := range s.Lost {
		count(m.lost, n, sink)
	}
	out <- prometheus.MustNewConstMetric(m.queued, prometheus.GaugeValue, float64(s.Queued))
	out <- prometheus.MustNewConstMetric(m.writing, prometheus.GaugeValue, s.Writing.Seconds())
}
