package node

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/family"
)

// census exports what the broker last counted, at the time of the scrape.
type census struct {
	ask func() broker.Census

	families, inDoubt, absolute, idle, endingSoon, damaged, at *prometheus.Desc
}

func newCensus(reg prometheus.Registerer, ask func() broker.Census) {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	reg.MustRegister(&census{
		ask:        ask,
		families:   desc("holdfast_families", "Token families, by app and phase.", "app", "phase"),
		inDoubt:    desc("holdfast_families_in_doubt", "Families whose newest refresh token may be spent without its successor being known.", "app"),
		absolute:   desc("holdfast_next_absolute_expiry_timestamp_seconds", "When the provider ends the app's first family however it is used, in Unix time.", "app"),
		idle:       desc("holdfast_next_idle_expiry_timestamp_seconds", "When the provider ends the app's first family if nothing of it is used, in Unix time.", "app"),
		endingSoon: desc("holdfast_families_ending_soon", "Families that the provider ends within 30 days however they are used: a person must consent again.", "app"),
		damaged:    desc("holdfast_damaged_grants", "Grants whose records do not open."),
		at:         desc("holdfast_census_timestamp_seconds", "When the families were last counted, in Unix time."),
	})
}

// Describe implements prometheus.Collector.
func (c *census) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.families, c.inDoubt, c.absolute, c.idle, c.endingSoon, c.damaged, c.at} {
		out <- d
	}
}

// Collect implements prometheus.Collector. Before the first counting there is nothing.
func (c *census) Collect(out chan<- prometheus.Metric) {
	last := c.ask()
	if last.At.IsZero() {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	at := func(d *prometheus.Desc, t time.Time, labels ...string) {
		if !t.IsZero() {
			gauge(d, float64(t.UnixMilli())/1000, labels...)
		}
	}
	for app, a := range last.Apps {
		for _, phase := range []family.Phase{family.Active, family.Suspected, family.Lapsed, family.Quarantined, family.Revoked} {
			gauge(c.families, float64(a.Phases[phase]), app, phase.String())
		}
		gauge(c.inDoubt, float64(a.InDoubt), app)
		gauge(c.endingSoon, float64(a.EndingSoon), app)
		at(c.absolute, a.NextAbsolute, app)
		at(c.idle, a.NextIdle, app)
	}
	gauge(c.damaged, float64(last.Damaged))
	at(c.at, last.At)
}
