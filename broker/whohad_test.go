package broker_test

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
)

func TestWhoHadATokenIsFoundByItAndByItsGrantAndTheTokenIsRecordedNowhere(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	first := w.token(jira)
	w.clock.Advance(30 * time.Minute)
	if _, err := w.ForceRefresh(ctx, op, "", jira); err != nil {
		t.Fatal(err)
	}
	cut := w.clock.Now().Add(w.cfg.Timing.AccessGrace)
	second := w.token(jira)
	found, err := w.WhoHad(ctx, op, broker.WhoHadQuery{Token: first.Token})
	if err != nil {
		t.Fatal(err)
	}
	if len(found.HandOuts) != 1 || found.HandOuts[0].Caller != "svc" || found.HandOuts[0].Generation != 1 || found.HandOuts[0].RequestID != svc.RequestID {
		t.Fatalf("got %+v", found)
	}
	if got := found.HandOuts[0].AliveUntil; got.Before(cut) || got.After(cut.Add(time.Minute)) {
		t.Fatalf("alive until %v, want the access grace after the rotation, %v", got, cut)
	}
	found, err = w.WhoHad(ctx, op, broker.WhoHadQuery{Address: jira})
	if err != nil || len(found.HandOuts) != 2 || found.HandOuts[0].Generation != 2 || !found.HandOuts[0].AliveUntil.Equal(second.ExpiresAt.Truncate(time.Second)) {
		t.Fatalf("got %+v, %v", found, err)
	}
	lines := w.auditLines()
	last := lines[len(lines)-2]
	if detail, _ := last["detail"].(string); !strings.HasPrefix(detail, "token hf1:") || last["fingerprint"] != nil || strings.Contains(detail, first.Token.Reveal()) {
		t.Fatalf("the question was recorded as %v", last)
	}
	if _, err := w.WhoHad(ctx, svc, broker.WhoHadQuery{Token: first.Token}); broker.ReasonOf(err) != broker.ReasonCallerNotAllowed {
		t.Fatalf("a service asked: %v", err)
	}
}
