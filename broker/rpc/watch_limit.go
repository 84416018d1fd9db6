package rpc

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-io/holdfast/broker"
)

// placeRetry is when a caller without a place for another stream may try again.
const placeRetry = 10 * time.Second

// watches bounds the streams of WatchAccessToken, of each caller and of all.
type watches struct {
	most, mostEach int

	mu   sync.Mutex // guards open and each
	open int
	each map[string]int // by the caller's name

	tokens, refusals prometheus.Counter
}

func newWatches(l Limits, reg prometheus.Registerer) (*watches, error) {
	w := &watches{most: l.Watches, mostEach: l.WatchesPerCaller, each: map[string]int{}}
	sent := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "holdfast_rpc_watch_messages_total", Help: "Messages of WatchAccessToken: a token, or unavailable.",
	}, []string{"event"})
	w.tokens, w.refusals = sent.WithLabelValues("token"), sent.WithLabelValues("unavailable")
	open := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "holdfast_rpc_watches", Help: "Open streams of WatchAccessToken.",
	}, func() float64 {
		w.mu.Lock()
		defer w.mu.Unlock()
		return float64(w.open)
	})
	if reg == nil {
		return w, nil
	}
	return w, errors.Join(reg.Register(sent), reg.Register(open))
}

// enter takes a place for a stream of the caller until leave is called, or says
// that there is none.
func (w *watches) enter(caller string) (leave func(), err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.each[caller] >= w.mostEach:
		return nil, noWatch("watches_per_caller", fmt.Sprintf("caller %q has %d streams open, and may have no more", caller, w.mostEach))
	case w.open >= w.most:
		return nil, noWatch("watches", fmt.Sprintf("%d streams are open, and there may be no more", w.most))
	}
	w.open++
	w.each[caller]++
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.open--
		if w.each[caller]--; w.each[caller] == 0 {
			delete(w.each, caller)
		}
	}, nil
}

func noWatch(limit, what string) error {
	return &broker.Error{Reason: broker.ReasonCallerRateLimited, RetryAfter: placeRetry, Metadata: map[string]string{"limit": limit},
		Message: what + ": close those that are not needed, and ask with GetAccessToken meanwhile; an operator can raise limits." + limit}
}
