package broker_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/family"
)

// witnessed gives the store a witness.
func witnessed(w *world) { w.witness = filepath.Join(w.dir, "witness") }

// restarted is a broker of a new process over the same store, whose witness was
// lost in between: it may be a copy.
func (w *world) restarted() {
	w.t.Helper()
	if err := w.Broker.Close(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	if err := w.store.Close(); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Remove(w.witness); err != nil {
		w.t.Fatal(err)
	}
	w.openStore()
	w.cfg.Store = w.store
	if _, err := broker.New(w.cfg); err == nil || !strings.Contains(err.Error(), "moved or copied") {
		w.t.Fatalf("a broker was made over a store that must be quarantined: %v", err)
	}
	if _, err := w.store.QuarantineAll(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	w.startBroker()
}

func (w *world) adopt(mode broker.AdoptMode, f broker.GrantFilter, dryRun bool) *broker.AdoptResult {
	w.t.Helper()
	r, err := w.AdoptGrants(context.Background(), op, mode, f, dryRun)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func TestAQuarantinedStoreServesWhatIsValidAndSpendsNothing(t *testing.T) {
	w := newWorld(t, witnessed)
	w.consent(jira)
	w.consent(wiki)
	before := w.token(jira)
	w.restarted()
	if got := w.token(jira); got.Token.Reveal() != before.Token.Reveal() || !w.works(got) {
		t.Error("the token that is still valid was not served")
	}
	if s, err := w.Status(t.Context(), op); err != nil || !strings.HasPrefix(s.StoreFinding, "moved or copied") || s.Families[family.Quarantined] != 2 {
		t.Errorf("status %+v, error %v", s, err)
	}
	w.clock.Advance(2 * time.Hour)
	w.refused(jira, broker.ReasonGrantQuarantined)
	if _, err := w.ForceRefresh(t.Context(), op, "", jira); broker.ReasonOf(err) != broker.ReasonGrantQuarantined {
		t.Errorf("forced: %v", err)
	}
	w.Sweep(t.Context())
	if n := w.refreshes(); n != 0 {
		t.Errorf("%d refreshes of a quarantined store", n)
	}
}

func TestAnOperatorEndsTheQuarantineEitherWay(t *testing.T) {
	w := newWorld(t, witnessed)
	w.consent(jira)
	w.consent(wiki)
	w.restarted()
	w.clock.Advance(2 * time.Hour)
	all := broker.GrantFilter{}
	for _, mode := range []broker.AdoptMode{broker.AdoptSurviving, broker.AdoptScrub} {
		if r := w.adopt(mode, all, true); r.Count != 2 || len(r.Grants) != 2 || r.Grants[0].Phase != family.Quarantined {
			t.Errorf("a dry run: %+v", r)
		}
	}
	w.refused(jira, broker.ReasonGrantQuarantined)
	if r := w.adopt(broker.AdoptSurviving, broker.GrantFilter{Tenant: "other"}, false); r.Count != 0 {
		t.Errorf("of another tenant: %+v", r)
	}
	if r := w.adopt(broker.AdoptSurviving, broker.GrantFilter{Product: "jira"}, false); r.Count != 1 || r.Grants[0].Address != jira {
		t.Errorf("of one product: %+v", r)
	}
	w.token(jira)
	if n := w.refreshes(); n != 1 {
		t.Errorf("%d refreshes after the adoption, want 1", n)
	}
	w.refused(wiki, broker.ReasonGrantQuarantined)
	if s, _ := w.Status(t.Context(), op); s.StoreFinding == "" {
		t.Error("the finding is settled while a grant is quarantined")
	}
	if r := w.adopt(broker.AdoptScrub, all, false); r.Count != 1 || r.Grants[0].Address != wiki {
		t.Errorf("of the rest: %+v", r)
	}
	if s, _ := w.Status(t.Context(), op); s.StoreFinding != "" {
		t.Errorf("still found: %q", s.StoreFinding)
	}
	w.refused(wiki, broker.ReasonConsentRequired)
	g := w.grant(wiki)
	if !g.State.Refresh.Empty() || !g.State.Access.Token.Empty() || g.State.Lapse != family.LapseScrubbed || !g.Due.IsZero() {
		t.Errorf("after scrubbing: %+v", g.State)
	}
	w.token(jira) // whose quarantine had ended: it is no business of the scrub
	if _, err := w.Revoke(t.Context(), op, "", wiki, ""); err != nil {
		t.Errorf("revoking a scrubbed grant: %v", err)
	}
	if r := w.adopt(broker.AdoptScrub, all, false); r.Count != 0 {
		t.Errorf("a second time: %+v", r)
	}
}

func TestEndingAQuarantineIsAnAdminsActAndRecorded(t *testing.T) {
	w := newWorld(t, witnessed)
	w.consent(jira)
	w.restarted()
	if _, err := w.AdoptGrants(t.Context(), svc, broker.AdoptSurviving, broker.GrantFilter{}, false); broker.ReasonOf(err) != broker.ReasonCallerNotAllowed {
		t.Errorf("a caller without the right: %v", err)
	}
	if _, err := w.AdoptGrants(t.Context(), op, 0, broker.GrantFilter{}, false); broker.ReasonOf(err) != broker.ReasonInvalidRequest {
		t.Errorf("without a mode: %v", err)
	}
	w.adopt(broker.AdoptSurviving, broker.GrantFilter{Tenant: "acme"}, true)
	w.adopt(broker.AdoptSurviving, broker.GrantFilter{Tenant: "acme"}, false)
	var got []string
	for _, line := range w.auditLines() {
		if line["method"] == "AdoptGrants" && line["caller"] == "op" {
			got = append(got, line["outcome"].(string)+" "+line["detail"].(string))
		}
	}
	want := "INVALID_REQUEST adopt; ok adopt tenant=acme dry_run: 1 grants; begun adopt tenant=acme; ok adopt tenant=acme: 1 grants"
	if s := strings.Join(got, "; "); s != want {
		t.Errorf("recorded %q, want %q", s, want)
	}
	events, err := w.store.Events(t.Context(), jira.GrantID(), 2)
	if err != nil || events[0].Type != family.EventAdopted || events[0].Detail != "by op" || events[1].Type != family.EventQuarantined {
		t.Errorf("journal %+v, error %v", events, err)
	}
}
