package broker_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
)

func TestAGrantIsHandedOutAtItsRateToThoseWhoMayHaveIt(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.Limits = broker.Limits{GrantRate: 1, GrantBurst: 100} })
	w.consent(jira)
	w.consent(wiki)
	stranger := broker.Caller{Name: "stranger", RequestID: "r"}
	for range 200 {
		if _, err := w.AccessToken(ctx, stranger, broker.TokenRequest{Address: jira}); broker.ReasonOf(err) != broker.ReasonCallerNotAllowed {
			t.Fatalf("a stranger got %v", err)
		}
	}
	refused := 0
	var last error
	for range 150 {
		if _, err := w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira}); err != nil {
			refused++
			last = err
		}
	}
	if refused < 40 || refused > 50 { // a slow machine's seconds allow a few more
		t.Errorf("%d of 150 draws were refused by a burst of 100, after 200 by somebody who may not draw", refused)
	}
	e, ok := errors.AsType[*broker.Error](last)
	if !ok || e.Reason != broker.ReasonCallerRateLimited || e.RetryAfter <= 0 || e.Metadata["limit"] != "grant_rate" || !strings.Contains(e.Message, "limits.grant_rate") {
		t.Errorf("the refusal is %+v", last)
	}
	if _, err := w.AccessToken(ctx, svc, broker.TokenRequest{Address: wiki}); err != nil {
		t.Errorf("another grant: %v", err)
	}
}

func TestNoMoreCallsWaitForARefreshThanMay(t *testing.T) {
	for _, row := range []struct {
		limit  string
		limits broker.Limits
	}{
		{"waiting_calls_per_grant", broker.Limits{WaitingPerGrant: 3}},
		{"waiting_calls", broker.Limits{Waiting: 3}},
	} {
		t.Run(row.limit, func(t *testing.T) {
			w := newWorld(t, func(w *world) { w.cfg.Limits = row.limits })
			w.consent(jira)
			w.clock.Advance(2 * 60 * 60 * 1e9)
			w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultDelayAnswer, DelayMillis: 500})
			var mu sync.Mutex // guards the counts
			served, refused := 0, 0
			var all sync.WaitGroup
			for range 20 {
				all.Go(func() {
					_, err := w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira})
					mu.Lock()
					defer mu.Unlock()
					e, _ := errors.AsType[*broker.Error](err)
					switch {
					case err == nil:
						served++
					case e != nil && e.Reason == broker.ReasonRefreshInProgress && e.Metadata["limit"] == row.limit && e.RetryAfter > 0:
						refused++
					default:
						t.Errorf("got %v", err)
					}
				})
			}
			all.Wait()
			if served < 3 || refused == 0 {
				t.Errorf("%d were served and %d told to come again", served, refused)
			}
			if w.token(jira).Generation != 2 {
				t.Error("the refresh did not end")
			}
			w.clock.Advance(2 * 60 * 60 * 1e9)
			if w.token(jira).Generation != 3 {
				t.Error("a place in the queue was not given back")
			}
		})
	}
}
