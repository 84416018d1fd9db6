package broker_test

import (
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// everyCall calls each exported method that takes a caller.
func (w *world) everyCall(c broker.Caller, a storage.Address) map[string]error {
	id := a.GrantID()
	errs := map[string]error{}
	_, errs["AccessToken"] = w.AccessToken(ctx, c, broker.TokenRequest{Address: a})
	_, errs["AccessToken by id"] = w.AccessToken(ctx, c, broker.TokenRequest{ID: id})
	batch, _ := w.AccessTokens(ctx, c, []broker.TokenRequest{{Address: a}})
	errs["AccessTokens"] = batch[0].Err
	_, errs["ReportRejected"] = w.ReportRejected(ctx, c, broker.RejectionReport{Address: a, Generation: 1})
	_, _, errs["MyGrants"] = w.MyGrants(ctx, c, 0, "")
	_, errs["StartConsent"] = w.StartConsent(ctx, c, broker.ConsentRequest{Address: a})
	_, errs["Consent"] = w.Consent(ctx, c, "cns_unknown")
	_, _, errs["Grants"] = w.Grants(ctx, c, broker.GrantFilter{})
	_, _, errs["Grant"] = w.Grant(ctx, c, "", a)
	_, errs["Revoke"] = w.Revoke(ctx, c, "", a, "")
	_, errs["Reauth"] = w.Reauth(ctx, c, "", a)
	_, errs["ForceRefresh"] = w.ForceRefresh(ctx, c, "", a)
	_, errs["AdoptGrants"] = w.AdoptGrants(ctx, c, broker.AdoptSurviving, broker.GrantFilter{}, true)
	_, errs["RotateKeys"] = w.RotateKeys(ctx, c)
	_, errs["WhoHad"] = w.WhoHad(ctx, c, broker.WhoHadQuery{Address: a})
	_, errs["Status"] = w.Status(ctx, c)
	return errs
}

func TestWhoeverIsNotListedIsRefusedEverything(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	for name, row := range map[string]struct {
		caller broker.Caller
		want   broker.Reason
	}{
		"nobody":   {broker.Caller{}, broker.ReasonCallerUnauthenticated},
		"expired":  {broker.Caller{Name: "op", NotAfter: w.clock.Now().Add(-time.Second)}, broker.ReasonCallerUnauthenticated},
		"stranger": {broker.Caller{Name: "stranger"}, broker.ReasonCallerNotAllowed},
	} {
		before := len(w.auditLines())
		calls := w.everyCall(row.caller, jira)
		for method, err := range calls {
			want := row.want
			if name == "stranger" && method == "Consent" {
				want = broker.ReasonGrantNotFound // an id tells a stranger nothing
			}
			if broker.ReasonOf(err) != want {
				t.Errorf("%s, %s: got %v, want %s", name, method, err, want)
			}
		}
		if got := len(w.auditLines()) - before; got != len(calls) {
			t.Errorf("%s: %d audit records of %d refused calls", name, got, len(calls))
		}
	}
	if w.token(jira).Generation != 1 {
		t.Fatal("a refused call changed the grant")
	}
}

func TestEachRightStandsAlone(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	allowed := func(c broker.Caller) string {
		var names []string
		for method, err := range w.everyCall(c, jira) {
			if r := broker.ReasonOf(err); err == nil || (r != broker.ReasonCallerNotAllowed && method != "AccessToken by id" && method != "Consent") {
				names = append(names, method)
			}
		}
		return strings.Join(names, " ")
	}
	if got := allowed(svc); strings.Contains(got, "Revoke") || strings.Contains(got, "StartConsent") || !strings.Contains(got, "AccessToken") {
		t.Errorf("a service may %s", got)
	}
	if got := allowed(broker.Caller{Name: "front"}); strings.Contains(got, "AccessToken") || strings.Contains(got, "Revoke") || !strings.Contains(got, "StartConsent") {
		t.Errorf("a front end may %s", got)
	}
	if got := allowed(op); strings.Contains(got, "AccessToken") || !strings.Contains(got, "Revoke") {
		t.Errorf("an operator may %s", got)
	}
}

func TestEveryHandOutIsAudited(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	before := len(w.auditLines())
	answer, err := w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira, Purpose: "nightly-sync"})
	if err != nil {
		t.Fatal(err)
	}
	lines := w.auditLines()
	if len(lines) != before+1 {
		t.Fatalf("%d lines", len(lines)-before)
	}
	got := lines[before]
	for field, want := range map[string]any{
		"caller": "svc", "method": "GetAccessToken", "rule": "callers[svc]", "grant": "acme/automation/jira", "grant_id": jira.GrantID(),
		"generation": 1.0, "purpose": "nightly-sync", "outcome": "ok", "request_id": "req-svc",
	} {
		if got[field] != want {
			t.Errorf("%s: %v, want %v", field, got[field], want)
		}
	}
	raw, err := os.ReadFile(w.audit)
	if err != nil || strings.Contains(string(raw), answer.Token.Reveal()) {
		t.Fatalf("the audit holds the token (%v)", err)
	}
}

func TestNothingIsHandedOutThatCanNotBeAudited(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.token(jira)
	if err := w.cfg.Audit.Close(); err != nil {
		t.Fatal(err)
	}
	w.refused(jira, broker.ReasonAuditUnavailable)
	if _, err := w.Status(ctx, op); broker.ReasonOf(err) != broker.ReasonAuditUnavailable {
		t.Fatalf("got %v", err)
	}
}

func TestNoCallAfterARevocationGetsTheToken(t *testing.T) {
	w := newWorld(t, func(w *world) { w.cfg.Limits = broker.Limits{GrantRate: 1_000_000, GrantBurst: 1_000_000} })
	w.consent(jira)
	w.token(jira)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_, _ = w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira})
				}
			}
		})
	}
	result, err := w.Revoke(ctx, op, "", jira, "stolen laptop")
	if err != nil {
		t.Fatal(err)
	}
	for range 200 {
		w.refused(jira, broker.ReasonGrantRevoked)
	}
	close(stop)
	wg.Wait()
	if result.Grant.Phase != family.Revoked || result.ProviderRevocation != "UNVERIFIED" || result.LastTokenExpiresAt.Before(w.clock.Now()) {
		t.Fatalf("got %+v", result)
	}
	if _, err := w.ForceRefresh(ctx, op, "", jira); broker.ReasonOf(err) != broker.ReasonGrantRevoked {
		t.Fatalf("a revoked grant was refreshed: %v", err)
	}
}

func TestARevocationDuringARefreshKeepsTheNewestToken(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	if err := w.sim.SetBehaviour(func(b *atlassiansim.Behaviour) { b.Revoke = "effective" }); err != nil {
		t.Fatal(err)
	}
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultDelayAnswer, DelayMillis: 400, Count: 1})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira}); broker.ReasonOf(err) != broker.ReasonGrantRevoked {
			t.Errorf("got %v, want GRANT_REVOKED", err)
		}
	})
	waitFor(t, func() bool { return w.refreshes() == 1 })
	if _, err := w.Revoke(ctx, op, "", jira, ""); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	g, err := w.store.Grant(ctx, jira.GrantID())
	if err != nil || g.State.Phase != family.Revoked || g.State.Generation != 2 {
		t.Fatalf("got %+v, %v", g.State, err)
	}
	waitFor(t, func() bool { return w.sim.Ledger().Families[0].EndedWhy == atlassiansim.EndRevoked })
}

func TestForceRefreshRotatesWhateverIsLeft(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	old := w.token(jira)
	info, err := w.ForceRefresh(ctx, op, jira.GrantID(), storage.Address{})
	if err != nil || info.Generation != 2 {
		t.Fatalf("got %+v, %v", info, err)
	}
	if next := w.token(jira); next.Generation != 2 || next.Token.Equal(old.Token) {
		t.Fatal("the old token is served on")
	}
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultStatus, Status: 503, Count: 1})
	if _, err := w.ForceRefresh(ctx, op, "", jira); broker.ReasonOf(err) != broker.ReasonProviderUnavailable {
		t.Fatalf("got %v", err)
	}
}

func TestListingIsPagedAndFiltered(t *testing.T) {
	w := newWorld(t)
	for _, a := range []string{"acme/a/jira", "acme/b/jira", "acme/a/confluence", "zeta/a/jira", "acme/a/jira/second"} {
		w.consent(mustAddress(a))
	}
	if _, err := w.Revoke(ctx, op, "", mustAddress("acme/b/jira"), ""); err != nil {
		t.Fatal(err)
	}
	count := func(f broker.GrantFilter) int {
		t.Helper()
		n, pages := 0, 0
		for {
			page, next, err := w.Grants(ctx, op, f)
			if err != nil {
				t.Fatal(err)
			}
			n += len(page)
			if pages++; pages > 10 || (f.PageSize > 0 && len(page) > f.PageSize) {
				t.Fatalf("page %d has %d rows", pages, len(page))
			}
			if next == "" {
				return n
			}
			f.PageToken = next
		}
	}
	for _, row := range []struct {
		filter broker.GrantFilter
		want   int
	}{
		{broker.GrantFilter{}, 5}, {broker.GrantFilter{PageSize: 2}, 5}, {broker.GrantFilter{PageSize: 5}, 5}, {broker.GrantFilter{Tenant: "acme"}, 4},
		{broker.GrantFilter{Product: "jira", PageSize: 1}, 4}, {broker.GrantFilter{Phase: family.Revoked}, 1}, {broker.GrantFilter{Tenant: "none"}, 0},
	} {
		if got := count(row.filter); got != row.want {
			t.Errorf("%+v: %d grants, want %d", row.filter, got, row.want)
		}
	}
	if _, _, err := w.Grants(ctx, op, broker.GrantFilter{PageToken: "junk"}); broker.ReasonOf(err) != broker.ReasonInvalidRequest {
		t.Errorf("a foreign page token: %v", err)
	}
	mine, _, err := w.MyGrants(ctx, svc, 0, "")
	if err != nil || len(mine) != 3 { // patterns of three segments cover the default name; zeta is another tenant
		t.Fatalf("%d grants, %v", len(mine), err)
	}
	status, err := w.Status(ctx, op)
	if err != nil || status.Families[family.Active] != 4 || status.Families[family.Revoked] != 1 || !status.Ready {
		t.Fatalf("got %+v, %v", status, err)
	}
}

func TestAGrantShowsItsRecentEventsAndNoSecret(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	w.token(jira)
	info, events, err := w.Grant(ctx, op, "", jira)
	if err != nil {
		t.Fatal(err)
	}
	if info.App != "jira" || info.Account == "" || len(info.Sites) != 1 || info.IdleDeadline.Sub(info.LastExchange) != 90*24*time.Hour {
		t.Fatalf("got %+v", info)
	}
	var types []string
	for _, e := range events {
		types = append(types, string(e.Type))
	}
	if got := strings.Join(types, " "); got != "SETTLED ANNOUNCED CONSENTED" {
		t.Fatalf("events %s, newest first", got)
	}
	if _, _, err := w.Grant(ctx, op, "", wiki); broker.ReasonOf(err) != broker.ReasonGrantNotFound {
		t.Fatalf("got %v", err)
	}
}
