package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-io/holdfast/broker"
)

// keyMetrics exports how the keys fare at the time of the scrape.
type keyMetrics struct {
	ask func() broker.Vitals

	refused, gone, asked, failed, running, total, resealed *prometheus.Desc
}

func newKeyMetrics(reg prometheus.Registerer, ask func() broker.Vitals) {
	desc := func(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }
	reg.MustRegister(&keyMetrics{
		ask:      ask,
		refused:  desc("holdfast_refused_reads_total", "Records and journal entries that did not open as what their key says: changed, moved or put back."),
		gone:     desc("holdfast_kek_gone_seconds", "For how long the key-encryption key has not answered; 0: it answers."),
		asked:    desc("holdfast_kek_probes_total", "How often the key-encryption key was asked whether it opens the store."),
		failed:   desc("holdfast_kek_probe_failures_total", "How often it did not."),
		running:  desc("holdfast_key_rotation_running", "1 while a rotation of the data keys runs."),
		total:    desc("holdfast_key_rotation_records", "Records that the newest rotation of the data keys goes through."),
		resealed: desc("holdfast_key_rotation_resealed_records", "Those of them that the new key seals by now."),
	})
}

// Describe implements prometheus.Collector.
func (k *keyMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{k.refused, k.gone, k.asked, k.failed, k.running, k.total, k.resealed} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (k *keyMetrics) Collect(out chan<- prometheus.Metric) {
	send := func(d *prometheus.Desc, t prometheus.ValueType, value float64) {
		out <- prometheus.MustNewConstMetric(d, t, value)
	}
	now := k.ask()
	send(k.refused, prometheus.CounterValue, float64(now.RefusedReads))
	send(k.gone, prometheus.GaugeValue, now.KEK.Gone.Seconds())
	send(k.asked, prometheus.CounterValue, float64(now.KEK.Asked))
	send(k.failed, prometheus.CounterValue, float64(now.KEK.Failed))
	r := now.KeyRotation
	send(k.running, prometheus.GaugeValue, one(!r.StartedAt.IsZero() && r.EndedAt.IsZero()))
	send(k.total, prometheus.GaugeValue, float64(r.Total))
	send(k.resealed, prometheus.GaugeValue, float64(r.Resealed))
}
