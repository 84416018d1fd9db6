package node

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReadyzGivesTheReasons(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reasons atomic.Pointer[[]string]
		reasons.Store(&[]string{"store: full", "app jira: no secret"})
		var log bytes.Buffer
		r := newReadiness(func(context.Context) []string { return *reasons.Load() }, slog.New(slog.NewTextHandler(&log, nil)))
		mux, public := http.NewServeMux(), http.NewServeMux()
		r.mount(mux, false)
		r.mount(public, true)
		ask := func(mux *http.ServeMux) (int, string) {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
			return w.Code, strings.TrimSpace(w.Body.String())
		}
		probe := func() string {
			code, text := ask(mux)
			if strangers, said := ask(public); strangers != code || (said == forStrangers) == (code == http.StatusOK) {
				t.Errorf("strangers get %d %q, operators %d %q", strangers, said, code, text)
			}
			return http.StatusText(code) + ": " + text
		}
		got := []string{probe()}
		var told []bool
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); r.watch(ctx, func(ready bool) { told = append(told, ready) }) }()
		synctest.Wait()
		got = append(got, probe())
		reasons.Store(&[]string{"store: fuller", "app jira: no secret"}) // said already, with another figure
		<-time.After(readyInterval)
		synctest.Wait() // both wake at the same instant
		reasons.Store(new([]string))
		<-time.After(readyInterval)
		synctest.Wait()
		got = append(got, probe())
		cancel()
		<-done
		got = append(got, probe())
		want := []string{
			"Service Unavailable: starting", "Service Unavailable: store: full\napp jira: no secret",
			"OK: ready", "Service Unavailable: stopping",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got)\n%s", diff)
		}
		if diff := cmp.Diff([]bool{false, false, true, false}, told); diff != "" {
			t.Fatalf("told (-want +got)\n%s", diff)
		}
		if text := log.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, `level=ERROR msg="not ready" because="store: full; app jira: no secret"`) || !strings.Contains(text, `msg="ready again"`) {
			t.Fatalf("the log says\n%s\nwant one line of what is missing, and one that it is there again", text)
		}
	})
}
