package node

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-io/holdfast/broker/family"
)

// observer counts what the broker does. Labels are words of the code, never
// grants: their number is unbounded.
type observer struct {
	attempts  *prometheus.HistogramVec
	hits, mis prometheus.Counter
}

func newObserver(reg prometheus.Registerer) *observer {
	o := &observer{
		attempts: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "holdfast_attempt_duration_seconds",
			Help:    "Spends of a refresh token, by app, kind of attempt and class of the outcome.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30},
		}, []string{"app", "kind", "class"}),
		hits: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "holdfast_hot_hits_total", Help: "Tokens served from the hot cache.",
		}),
		mis: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "holdfast_hot_misses_total", Help: "Tokens that needed the store or the provider.",
		}),
	}
	reg.MustRegister(o.attempts, o.hits, o.mis)
	return o
}

// Attempt implements broker.Observer.
func (o *observer) Attempt(app string, kind family.AttemptKind, class family.Class, took time.Duration) {
	o.attempts.WithLabelValues(app, kind.String(), class.String()).Observe(took.Seconds())
}

// HotHit implements broker.Observer.
func (o *observer) HotHit() { o.hits.Inc() }

// HotMiss implements broker.Observer.
func (o *observer) HotMiss() { o.mis.Inc() }
