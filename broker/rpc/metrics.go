package rpc

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/door"
)

// Outcomes of calls that are no reasons: the label values beside them.
const (
	outcomeOK       broker.Reason = "OK"
	outcomeCanceled broker.Reason = "CANCELED"
	outcomeDeadline broker.Reason = "DEADLINE_EXCEEDED"
	// outcomeOther is an error of a service that is not ours, e.g. health.
	outcomeOther broker.Reason = "OTHER"
)

// buckets reach from a hot answer (well under a millisecond) to a refresh that
// waits for a slow provider, in seconds.
var buckets = []float64{
	.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60,
}

// method is one rpc with its metrics, resolved before the first call.
type method struct {
	name string
	// ours is false for services that come with grpc (health, reflection).
	ours bool
	// duration is nil for streams.
	duration prometheus.Observer
	ok       prometheus.Counter
	refused  map[broker.Reason]prometheus.Counter
}

func (m *method) observe(took time.Duration, outcome broker.Reason) {
	if m.duration != nil { // how long a stream lasts is its client's affair
		m.duration.Observe(took.Seconds())
	}
	m.count(outcome)
}

func (m *method) count(outcome broker.Reason) {
	if outcome == outcomeOK {
		m.ok.Inc()
		return
	}
	c, known := m.refused[outcome]
	if !known {
		c = m.refused[broker.ReasonInternal]
	}
	c.Inc()
}

// metrics of all rpcs of a server.
type metrics struct {
	duration *prometheus.HistogramVec
	calls    *prometheus.CounterVec
	// limited counts what callers asked for beyond their rate.
	limited prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "holdfast_rpc_duration_seconds",
			Help:    "Time from the decoded request to the answer, by method.",
			Buckets: buckets,
		}, []string{"method"}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "holdfast_rpc_calls_total",
			Help: "Finished calls, by method and reason; the reason of an answered call is OK.",
		}, []string{"method", "reason"}),
		limited: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "holdfast_rpc_rate_limited_total",
			Help: "Requests beyond their caller's rate, those in batches one by one.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(reg.Register(m.duration), reg.Register(m.calls), reg.Register(m.limited))
}

// registerConnections shows who stands at the door and who was sent away.
func registerConnections(reg prometheus.Registerer, d *door.Door, flow *inflow) error {
	if reg == nil {
		return nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "holdfast_rpc_connections", Help: "Open connections of the gRPC listener that have shown who they are.",
		}, func() float64 { _, known := d.Standing(); return float64(known) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "holdfast_rpc_strangers", Help: "Open connections of the gRPC listener that have not shown yet who they are.",
		}, func() float64 { strangers, _ := d.Standing(); return float64(strangers) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "holdfast_rpc_connections_turned_away_total", Help: "Connections that were closed for want of a place.",
		}, func() float64 { return float64(d.Turned()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "holdfast_rpc_connections_overfull_total", Help: "Connections that were closed since they held more unfinished requests than they may, or sent them byte by byte.",
		}, func() float64 { return float64(flow.overfull.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "holdfast_rpc_connection_pauses_total", Help: "Pauses in reading connections that ask for more, or send more frames without use, than they may.",
		}, func() float64 { return float64(flow.paused.Load()) }),
	} {
		errs = append(errs, reg.Register(c))
	}
	return errors.Join(errs...)
}

// methods resolves the unary methods of every registered service, and the streams of
// ours, by full name.
func (m *metrics) methods(services map[string]grpc.ServiceInfo) map[string]*method {
	all := map[string]*method{}
	for service, info := range services {
		for _, rpc := range info.Methods {
			full, streams := "/"+service+"/"+rpc.Name, rpc.IsClientStream || rpc.IsServerStream
			if !streams || isOurs(service) {
				all[full] = m.method(service, rpc.Name)
			}
			if !streams {
				all[full].duration = m.duration.WithLabelValues(all[full].name)
			}
		}
	}
	return all
}

func (m *metrics) method(service, rpc string) *method {
	name := service + "/" + rpc
	one := &method{
		name:    name,
		ours:    isOurs(service),
		ok:      m.calls.WithLabelValues(name, string(outcomeOK)),
		refused: map[broker.Reason]prometheus.Counter{},
	}
	for reason := range codeOf {
		one.refused[reason] = m.calls.WithLabelValues(name, string(reason))
	}
	for _, outcome := range []broker.Reason{outcomeCanceled, outcomeDeadline, outcomeOther} {
		one.refused[outcome] = m.calls.WithLabelValues(name, string(outcome))
	}
	return one
}
