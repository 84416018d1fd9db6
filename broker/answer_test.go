package broker_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
)

func TestMinTTLIsBoundedByTheAccessGrace(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	_, err := w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira, MinTTL: 10*time.Minute + 1})
	if broker.ReasonOf(err) != broker.ReasonInvalidRequest || !strings.Contains(err.Error(), "10m0s") {
		t.Fatalf("got %v, want INVALID_REQUEST that names the maximum", err)
	}
	w.clock.Advance(51 * time.Minute)
	answer, err := w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira, MinTTL: 10 * time.Minute})
	if err != nil || answer.Generation != 2 {
		t.Fatalf("got %v, %v: nine minutes left, ten wanted", answer, err)
	}
}

func TestAReportedTokenIsCheckedAtTheProvider(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	report := func() broker.RejectionVerdict {
		t.Helper()
		v, err := w.ReportRejected(ctx, svc, broker.RejectionReport{Address: jira, Generation: 1, HTTPStatus: 401})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := func() broker.RejectionVerdict { w.token(jira); return report() }(); v != broker.VerdictAccepted {
		t.Fatalf("a good token: %s", v)
	}
	if v := report(); v != broker.VerdictUnverified || w.refreshes() != 0 {
		t.Fatalf("a second report at once: %s", v)
	}
	w.clock.Advance(11 * time.Second)
	if err := w.sim.SetBehaviour(func(b *atlassiansim.Behaviour) { b.Resources = "error" }); err != nil {
		t.Fatal(err)
	}
	if v := report(); v == broker.VerdictRejected {
		t.Fatal("an unclear answer was taken for a rejection")
	}
	if err := w.sim.SetBehaviour(func(b *atlassiansim.Behaviour) { b.Resources = "shuffled" }); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(11 * time.Second)
	if _, err := w.sim.AddFault(atlassiansim.Fault{Kind: atlassiansim.FaultStatus, Status: 401, Endpoint: atlassiansim.EndpointResources, Count: 1}); err != nil {
		t.Fatal(err)
	}
	if v := report(); v != broker.VerdictRejected {
		t.Fatalf("a token that the provider refuses: %s", v)
	}
	if answer := w.token(jira); answer.Generation != 2 || w.refreshes() != 1 {
		t.Fatalf("generation %d, %d refreshes", answer.Generation, w.refreshes())
	}
	if v := report(); v != broker.VerdictStale {
		t.Fatalf("an old generation: %s", v)
	}
	_, err := w.ReportRejected(ctx, svc, broker.RejectionReport{Address: jira, Generation: 99})
	if broker.ReasonOf(err) != broker.ReasonInvalidRequest {
		t.Fatalf("a generation from the future: %v", err)
	}
}

func TestScopesAndSites(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	one := w.token(jira)
	if one.Site == nil || !strings.HasSuffix(one.APIBaseURL, "/ex/jira/"+one.Site.CloudID) {
		t.Fatalf("site %v, base %q", one.Site, one.APIBaseURL)
	}
	for _, want := range []string{one.Site.CloudID, one.Site.URL, strings.ToUpper(one.Site.URL) + "/", strings.TrimPrefix(one.Site.URL, "https://")} {
		got, err := w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira, Site: want})
		if err != nil || got.Site.CloudID != one.Site.CloudID {
			t.Errorf("site %q: %v", want, err)
		}
	}
	_, err := w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira, Site: "https://other.atlassian.net"})
	if broker.ReasonOf(err) != broker.ReasonSiteNotGranted || !strings.Contains(err.Error(), one.Site.URL) {
		t.Fatalf("got %v", err)
	}
	_, err = w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira, RequiredScopes: []string{"read:jira-work", "manage:jira-project"}})
	var e *broker.Error
	if !errors.As(err, &e) || e.Reason != broker.ReasonScopeNotGranted || e.Metadata["missing"] != "manage:jira-project" {
		t.Fatalf("got %v", err)
	}
}

func TestABatchAnswersEachOnItsOwn(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.consent(wiki)
	got, err := w.AccessTokens(ctx, svc, []broker.TokenRequest{{Address: jira}, {Address: mustAddress("acme/nobody/jira")}, {ID: wiki.GrantID()}, {Address: mustAddress("zeta/x/jira")}})
	if err != nil || len(got) != 4 {
		t.Fatal(err)
	}
	if got[0].Err != nil || got[2].Err != nil || got[2].Answer.Address != wiki {
		t.Fatalf("good rows failed: %v, %v", got[0].Err, got[2].Err)
	}
	if broker.ReasonOf(got[1].Err) != broker.ReasonGrantNotFound || broker.ReasonOf(got[3].Err) != broker.ReasonCallerNotAllowed {
		t.Fatalf("got %v, %v", got[1].Err, got[3].Err)
	}
}

func TestTheLinkOfAMissingScopeIsThereOnlyIfItCures(t *testing.T) {
	w := newWorld(t)
	l, err := w.StartConsent(ctx, op, broker.ConsentRequest{Address: jira, Scopes: []string{"read:jira-work"}})
	if err != nil {
		t.Fatal(err)
	}
	w.visit(l.URL, "").finish()
	ask := func(scope string) (*broker.TokenAnswer, *broker.Error) {
		answer, err := w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira, RequiredScopes: []string{scope}})
		var e *broker.Error
		errors.As(err, &e)
		return answer, e
	}
	if _, e := ask("manage:jira-project"); e == nil || e.Metadata["link"] != "" || !strings.Contains(e.Message, "not configured to ask for manage:jira-project") {
		t.Fatalf("a scope of no app: %v", e)
	}
	_, e := ask("write:jira-work")
	if e == nil || e.Reason != broker.ReasonScopeNotGranted {
		t.Fatalf("got %v", e)
	}
	w.visit(e.Metadata["link"], "").finish()
	if answer, e := ask("write:jira-work"); e != nil || !w.works(answer) {
		t.Fatalf("the link did not cure it: %v", e)
	}
}
