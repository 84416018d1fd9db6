package node

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// readyInterval is how often the broker is asked whether it is ready. Probes
// get the newest answer: they must not be a way to make the store work.
const readyInterval = 5 * time.Second

// readiness holds the newest reasons why the broker is not ready.
type readiness struct {
	ask     func(ctx context.Context) []string
	log     *slog.Logger
	reasons atomic.Pointer[[]string]
	// warn says what somebody should look at although the broker is ready; empty: nothing.
	warn func() string
}

func newReadiness(ask func(ctx context.Context) []string, log *slog.Logger) *readiness {
	r := &readiness{ask: ask, log: log}
	r.reasons.Store(&[]string{"starting"})
	return r
}

// watch asks until ctx ends and tells changed each answer.
func (r *readiness) watch(ctx context.Context, changed func(ready bool)) {
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	said := 0
	for {
		reasons := r.ask(ctx)
		if ctx.Err() != nil {
			break
		}
		r.reasons.Store(&reasons)
		r.say(reasons, said)
		said = len(reasons)
		changed(len(reasons) == 0)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	r.reasons.Store(&[]string{"stopping"})
	changed(false)
}

// say logs that the broker became ready or not, since somebody who reads only
// the log must not take silence for health; said is how many reasons it was
// not ready for the last time. Their texts hold figures that change at each look.
func (r *readiness) say(reasons []string, said int) {
	switch {
	case len(reasons) == said:
	case len(reasons) == 0:
		r.log.Info("ready again")
	default:
		r.log.Error("not ready", "because", strings.Join(reasons, "; "))
	}
}

// forStrangers is all that the public listener says of why the broker is not
// ready. The reasons name directories, free space and apps.
const forStrangers = "not ready; operators find the reasons in holdfast status, in the log, and at /readyz beside /metrics"

// mount adds /healthz, which says that the process answers, and /readyz, which
// says whether it can do its work. The reasons, if it cannot, are for the
// listener of the metrics, which only operators reach.
func (r *readiness) mount(mux *http.ServeMux, public bool) {
	answer := func(w http.ResponseWriter, status int, text string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text + "\n")) // fails if the prober is gone
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		reasons := *r.reasons.Load()
		switch {
		case len(reasons) == 0 && !public && r.warn != nil && r.warn() != "":
			answer(w, http.StatusOK, "ready\nwarning: "+r.warn())
		case len(reasons) == 0:
			answer(w, http.StatusOK, "ready")
		case public:
			answer(w, http.StatusServiceUnavailable, forStrangers)
		default:
			answer(w, http.StatusServiceUnavailable, strings.Join(reasons, "\n"))
		}
	})
}
