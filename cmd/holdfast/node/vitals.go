package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-io/holdfast/broker"
)

// vitals exports how the broker fares at the time of the scrape.
type vitals struct {
	ask func() broker.Vitals

	open, ahead, behind                 *prometheus.Desc
	paused, held, circuit, tried, refus *prometheus.Desc
}

func newVitals(reg prometheus.Registerer, ask func() broker.Vitals) {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	reg.MustRegister(&vitals{
		ask:     ask,
		open:    desc("holdfast_open_settlements", "New tokens that could not be stored yet: they are kept in memory and in the spill file."),
		ahead:   desc("holdfast_clock_ahead_seconds", "How far this machine's clock is ahead of the provider's; negative: behind. Missing until the provider has answered."),
		behind:  desc("holdfast_clock_behind_store_seconds", "How far this machine's clock is behind the newest time that the store has seen; above 0 nothing is spent."),
		paused:  desc("holdfast_app_paused", "1 while nothing is spent for the app, by who paused it: operator or broker.", "app", "by"),
		held:    desc("holdfast_app_verdicts_held", "1 while no family of the app is declared lapsed, since too many are refused at once.", "app"),
		circuit: desc("holdfast_app_circuit_open", "1 while the provider fails for the app and few grants are tried.", "app"),
		tried:   desc("holdfast_app_recent_attempts", "Attempts of the last 5 minutes, on all replicas.", "app"),
		refus:   desc("holdfast_app_recent_refusals", "Refusals among them.", "app"),
	})
}

// Describe implements prometheus.Collector.
func (v *vitals) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{v.open, v.ahead, v.behind, v.paused, v.held, v.circuit, v.tried, v.refus} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (v *vitals) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	now := v.ask()
	gauge(v.open, float64(now.OpenSettlements))
	if !now.Clock.At.IsZero() {
		gauge(v.ahead, now.Clock.Ahead.Seconds())
	}
	gauge(v.behind, now.ClockBehind.Seconds())
	for i := range now.Apps {
		a := &now.Apps[i]
		gauge(v.paused, one(a.PausedByOperator), a.ID, "operator")
		gauge(v.paused, one(a.Paused != "" && !a.PausedByOperator), a.ID, "broker")
		gauge(v.held, one(a.VerdictsHeld), a.ID)
		gauge(v.circuit, one(a.CircuitOpen), a.ID)
		gauge(v.tried, float64(a.RecentAttempts), a.ID)
		gauge(v.refus, float64(a.RecentRefusals), a.ID)
	}
}

func one(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
