package machine

import (
	"testing"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/e2e/rig"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Where a provider forgives nothing and an answer is lost, the loss cannot be
// helped: it is never silent, and the token is never sent again.
func TestWithoutLeewayALostAnswerLapsesWithTheTrueReason(t *testing.T) {
	t.Parallel()
	at := strict
	at.overrides += "access_grace: 2s\n" // so long the old access token is served on, then the verdict falls
	w := newWorld(t, at, nil, rig.Build{Plain: true})
	w.Serve(t)
	w.consent(t)
	w.sim.Fault(t, atlassiansim.Fault{Kind: atlassiansim.FaultDropBeforeAnswer, Count: 1})
	if err := <-w.force(t, busy); err == nil {
		t.Error("the forced refresh is said to have gone well, though its answer was lost")
	}
	rig.Until(t, "the family is given up", func() bool {
		g, _ := w.Show(t, jira, busy)
		return g.GetPhase() == holdfastv1.GrantPhase_GRANT_PHASE_LAPSED
	})
	g, events := w.Show(t, jira, busy)
	if g.GetLapseReason() != holdfastv1.LapseReason_LAPSE_REASON_LOST_IN_DOUBT ||
		!rig.Has(events, holdfastv1.GrantEventType_GRANT_EVENT_TYPE_IN_DOUBT) || !rig.Has(events, holdfastv1.GrantEventType_GRANT_EVENT_TYPE_LAPSED) {
		t.Errorf("it lapsed for the reason %v with the journal %v; want LOST_IN_DOUBT, and the attempt in doubt before it", g.GetLapseReason(), events)
	}
	if _, err := w.Token(t.Context(), jira, busy); rig.Reason(err) != "CONSENT_REQUIRED" || rig.Why(err) != "LOST_IN_DOUBT" {
		t.Errorf("a token: %v (why %q); want CONSENT_REQUIRED, why LOST_IN_DOUBT", err, rig.Why(err))
	}
	if n := len(w.exchanges(t, busy)); n != 1 {
		t.Errorf("the provider saw %d refreshes, want the lost one alone", n)
	}
	if got, err := w.Token(t.Context(), jira, quiet); err != nil || !w.sim.Accepts(t, got.GetAccessToken()) {
		t.Errorf("the other family is not well: %v", err)
	}
	w.Consent(t, jira, busy, atlassiansim.DefaultAccounts()[0].ID)
	if got, err := w.Token(t.Context(), jira, busy); err != nil || !w.sim.Accepts(t, got.GetAccessToken()) {
		t.Errorf("the new consent does not serve: %v", err)
	}
}
