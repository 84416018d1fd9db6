package node

import (
	"context"
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
	reasons atomic.Pointer[[]string]
}

func newReadiness(ask func(ctx context.Context) []string) *readiness {
	r := &readiness{ask: ask}
	r.reasons.Store(&[]string{"starting"})
	return r
}

// watch asks until ctx ends and tells changed each answer.
func (r *readiness) watch(ctx context.Context, changed func(ready bool)) {
	tick := time.NewTicker(readyInterval)
	defer tick.Stop()
	for {
		reasons := r.ask(ctx)
		if ctx.Err() != nil {
			break
		}
		r.reasons.Store(&reasons)
		changed(len(reasons) == 0)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	r.reasons.Store(&[]string{"stopping"})
	changed(false)
}

// mount adds /healthz, which says that the process answers, and /readyz, which
// says whether it can do its work, with the reasons if it cannot.
func (r *readiness) mount(mux *http.ServeMux) {
	answer := func(w http.ResponseWriter, status int, text string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text + "\n")) // fails if the prober is gone
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if reasons := *r.reasons.Load(); len(reasons) > 0 {
			answer(w, http.StatusServiceUnavailable, strings.Join(reasons, "\n"))
			return
		}
		answer(w, http.StatusOK, "ready")
	})
}
