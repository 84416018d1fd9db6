package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/family"
)

// observer counts what the broker does. Labels are words of the code, never
// grants: their number is unbounded.
type observer struct {
	attempts, settle                     *prometheus.HistogramVec
	ended                                *prometheus.CounterVec
	rotations, saved, lastTries, overrun *prometheus.CounterVec
	deaths, security, purged             *prometheus.CounterVec
	hits, mis                            prometheus.Counter
}

func newObserver(reg prometheus.Registerer) *observer {
	perApp := func(name, help string, more ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, append([]string{"app"}, more...))
	}
	o := &observer{
		attempts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "holdfast_attempt_duration_seconds",
			Help:    "Spends of a refresh token, by app, kind of attempt and class of the outcome.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30},
		}, []string{"app", "kind", "class"}),
		settle: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "holdfast_time_to_settle_seconds",
			Help:    "From the announcement of an attempt that brought a pair until the pair was durable, by app.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60, 120},
		}, []string{"app"}),
		ended:     perApp("holdfast_attempts_total", "Ended attempts, by app, reason and class of the outcome.", "reason", "class"),
		rotations: perApp("holdfast_rotations_total", "Settled rotations, by app and reason.", "reason"),
		saved:     perApp("holdfast_saved_in_leeway_total", "Repeats of an attempt in doubt that settled: each one saved a family, by app."),
		lastTries: perApp("holdfast_last_tries_total", "Spent tokens that were sent once more after their leeway, by app."),
		overrun:   perApp("holdfast_fenced_settlements_total", "Outcomes of attempts that had lost their lease by the time they came, by app."),
		deaths:    perApp("holdfast_family_deaths_total", "Families that ended, by app and reason.", "reason"),
		purged:    perApp("holdfast_grants_purged_total", "Ended grants that were deleted, by app and why: request or retention.", "why"),
		security: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "holdfast_security_events_total", Help: "Refusals that nothing explains, harm by related grants and foreign use of a token, by type.",
		}, []string{"type"}),
		hits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "holdfast_hot_hits_total", Help: "Tokens served from the hot cache.",
		}),
		mis: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "holdfast_hot_misses_total", Help: "Tokens that needed the store or the provider.",
		}),
	}
	reg.MustRegister(o.attempts, o.settle, o.ended, o.rotations, o.saved, o.lastTries, o.overrun, o.deaths, o.security, o.purged, o.hits, o.mis)
	return o
}

// Attempt implements broker.Observer.
func (o *observer) Attempt(a broker.Attempt) {
	o.attempts.WithLabelValues(a.App, a.Kind.String(), a.Class.String()).Observe(a.Took.Seconds())
	o.ended.WithLabelValues(a.App, string(a.Reason), a.Class.String()).Inc()
	if a.Kind == family.LastTry {
		o.lastTries.WithLabelValues(a.App).Inc()
	}
	if a.Overtaken {
		o.overrun.WithLabelValues(a.App).Inc()
	}
	if a.Class != family.Settled || !a.Stored || a.Overtaken {
		return
	}
	o.settle.WithLabelValues(a.App).Observe(a.ToSettle.Seconds())
	o.rotations.WithLabelValues(a.App, string(a.Reason)).Inc()
	if a.Kind == family.Repeat {
		o.saved.WithLabelValues(a.App).Inc()
	}
}

// Death implements broker.Observer.
func (o *observer) Death(app string, reason family.LapseReason) {
	o.deaths.WithLabelValues(app, string(reason)).Inc()
}

// Purged implements broker.Observer.
func (o *observer) Purged(app, why string) { o.purged.WithLabelValues(app, why).Inc() }

// Security implements broker.Observer.
func (o *observer) Security(event family.EventType) { o.security.WithLabelValues(string(event)).Inc() }

// HotHit implements broker.Observer.
func (o *observer) HotHit() { o.hits.Inc() }

// HotMiss implements broker.Observer.
func (o *observer) HotMiss() { o.mis.Inc() }
