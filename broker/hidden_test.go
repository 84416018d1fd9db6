package broker_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/storage"
)

// teams gives the team of each tenant all rights on it, and nothing elsewhere.
const teams = `
@id("acme") permit (principal in Group::"acme", action, resource in Tenant::"acme");
@id("beta") permit (principal in Group::"beta", action, resource in Tenant::"beta");
@id("op") permit (principal == Caller::"op", action, resource);`

var (
	acmeTeam = broker.Caller{Name: "alice", Kind: broker.CallerJWT, Groups: []string{"acme"}, RequestID: "r"}
	betaTeam = broker.Caller{Name: "bob", Kind: broker.CallerJWT, Groups: []string{"beta"}, RequestID: "r"}
)

// govern puts policies in force.
func (w *world) govern(text string) {
	w.t.Helper()
	set, err := policy.Load(policy.Options{
		Sources: []policy.Source{{File: "test.cedar", Text: []byte(text)}},
		Callers: []policy.Rule{{Caller: "svc", Grants: []string{"*/*/*"}}, {Caller: "front", Consents: []string{"*/*/*"}}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.cfg.Policy.Replace(set)
}

// aboutAGrant are all calls that name a grant, by id or address.
func (w *world) aboutAGrant(c broker.Caller, id string, a storage.Address) map[string]error {
	errs := map[string]error{}
	_, errs["AccessToken"] = w.AccessToken(ctx, c, broker.TokenRequest{ID: id, Address: a, Purpose: "p"})
	batch, _ := w.AccessTokens(ctx, c, []broker.TokenRequest{{ID: id, Address: a}})
	errs["AccessTokens"] = batch[0].Err
	_, errs["ReportRejected"] = w.ReportRejected(ctx, c, broker.RejectionReport{ID: id, Address: a, Generation: 1})
	_, _, errs["Grant"] = w.Grant(ctx, c, id, a)
	_, errs["Revoke"] = w.Revoke(ctx, c, id, a, "")
	_, errs["WouldRevoke"] = w.WouldRevoke(ctx, c, id, a)
	_, errs["Reauth"] = w.Reauth(ctx, c, id, a)
	_, errs["ForceRefresh"] = w.ForceRefresh(ctx, c, id, a)
	_, errs["WhoHad"] = w.WhoHad(ctx, c, broker.WhoHadQuery{ID: id, Address: a})
	if id == "" {
		_, errs["StartConsent"] = w.StartConsent(ctx, c, broker.ConsentRequest{Address: a})
	}
	return errs
}

// leaving is all of an error that leaves the broker, as bytes.
func leaving(t *testing.T, errs map[string]error) map[string]string {
	t.Helper()
	out := map[string]string{}
	for method, err := range errs {
		e, ok := errors.AsType[*broker.Error](err)
		if !ok {
			t.Fatalf("%s: %v", method, err)
		}
		text, err := json.Marshal(e) // every exported field
		if err != nil {
			t.Fatal(err)
		}
		out[method] = string(text)
	}
	return out
}

func TestAHiddenGrantIsAnsweredAsOneThatIsNotThere(t *testing.T) {
	w := newWorld(t)
	w.govern(teams)
	a := mustAddress("acme/automation/jira")
	byAddress, byID := leaving(t, w.aboutAGrant(betaTeam, "", a)), leaving(t, w.aboutAGrant(betaTeam, a.GrantID(), storage.Address{}))
	w.consent(a)
	w.token(a)
	for name, warm := range map[string]bool{"in memory": true, "not in memory": false} {
		if !warm {
			if err := w.Broker.Close(ctx); err != nil {
				t.Fatal(err)
			}
			w.startBroker()
			w.govern(teams)
		}
		store := w.count()
		if diff := cmp.Diff(byAddress, leaving(t, w.aboutAGrant(betaTeam, "", a))); diff != "" {
			t.Errorf("%s: by its address one can tell that it exists:\n%s", name, diff)
		}
		if n := store.gets.Load() + store.lists.Load(); n != 0 {
			t.Errorf("%s: %d reads of the store before or after a refusal by address", name, n)
		}
		if diff := cmp.Diff(byID, leaving(t, w.aboutAGrant(betaTeam, a.GrantID(), storage.Address{}))); diff != "" {
			t.Errorf("%s: by its id one can tell that it exists:\n%s", name, diff)
		}
	}
	// Whoever may act on no grant at all is refused without a look, whatever the id.
	store := w.count()
	for method, text := range leaving(t, w.aboutAGrant(broker.Caller{Name: "stranger"}, a.GrantID(), storage.Address{})) {
		if !strings.Contains(text, "CALLER_NOT_ALLOWED") {
			t.Errorf("a stranger's %s by id: %s", method, text)
		}
	}
	if n := store.gets.Load() + store.lists.Load(); n != 0 {
		t.Errorf("%d reads of the store for a stranger", n)
	}
	// It was no accident: the other team gets further everywhere.
	for method, err := range w.aboutAGrant(acmeTeam, a.GrantID(), storage.Address{}) {
		if r := broker.ReasonOf(err); err != nil && (r == broker.ReasonCallerNotAllowed || r == broker.ReasonGrantNotFound) {
			t.Errorf("acme's own %s: %v", method, err)
		}
	}
}

func TestListingsShowWhatThePolicyLetsSeeOnWholePages(t *testing.T) {
	w := newWorld(t)
	w.govern(teams)
	var acme []string
	for _, text := range []string{"acme/a/jira", "beta/b/jira", "acme/c/jira", "beta/d/jira", "acme/e/jira"} {
		w.consent(mustAddress(text))
		if strings.HasPrefix(text, "acme/") {
			acme = append(acme, text)
		}
	}
	for name, list := range map[string]func(c broker.Caller, size int, next string) ([]broker.GrantInfo, string, error){
		"ListGrants": func(c broker.Caller, size int, next string) ([]broker.GrantInfo, string, error) {
			return w.Grants(ctx, c, broker.GrantFilter{PageSize: size, PageToken: next})
		},
		"ListMyGrants": func(c broker.Caller, size int, next string) ([]broker.GrantInfo, string, error) {
			return w.MyGrants(ctx, c, size, next)
		},
	} {
		var got []string
		next, pages := "", 0
		for more := true; more; more = next != "" {
			page, token, err := list(acmeTeam, 2, next)
			if err != nil {
				t.Fatal(err)
			}
			if pages++; len(page) != 2 && token != "" {
				t.Errorf("%s: page %d has %d grants of 2 and is not the last", name, pages, len(page))
			}
			for _, g := range page {
				got = append(got, g.Address.String())
			}
			next = token
		}
		slices.Sort(got)
		if diff := cmp.Diff(acme, got); diff != "" || pages != 2 {
			t.Errorf("%s on %d pages: %s", name, pages, diff)
		}
	}
	// What is related, or affected, and hidden is not named either; all have one account.
	g, _, err := w.Grant(ctx, acmeTeam, "", mustAddress("acme/a/jira"))
	if err != nil || len(g.Related) != 2 {
		t.Errorf("related: %v, %v; want the two others of acme", g.Related, err)
	}
	r, err := w.WouldRevoke(ctx, acmeTeam, "", mustAddress("acme/a/jira"))
	if err != nil || len(r.Affected) != 2 {
		t.Errorf("affected: %+v, %v; want the two others of acme", r, err)
	}
}

// TestWhoIsForbiddenEveryGrantCostsNoLook has somebody whom a permit names and a forbid keeps from all.
func TestWhoIsForbiddenEveryGrantCostsNoLook(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.govern(teams + `@id("left") forbid (principal == Caller::"carol", action, resource);`)
	carol := broker.Caller{Name: "carol", Kind: broker.CallerJWT, Groups: []string{"acme"}}
	store := w.count()
	errs := w.aboutAGrant(carol, jira.GrantID(), storage.Address{})
	_, _, errs["Grants"] = w.Grants(ctx, carol, broker.GrantFilter{})
	_, _, errs["MyGrants"] = w.MyGrants(ctx, carol, 0, "")
	_, errs["AdoptGrants"] = w.AdoptGrants(ctx, carol, broker.AdoptSurviving, broker.GrantFilter{}, false)
	for method, err := range errs {
		if broker.ReasonOf(err) != broker.ReasonCallerNotAllowed {
			t.Errorf("%s: %v", method, err)
		}
	}
	if n := store.gets.Load() + store.lists.Load(); n != 0 {
		t.Errorf("%d reads of the store", n)
	}
	for _, line := range w.auditLines() {
		if line["caller"] == "carol" && line["outcome"] != "CALLER_NOT_ALLOWED" {
			t.Errorf("recorded %v", line)
		}
	}
}

func TestAQuarantineIsEndedGrantByGrant(t *testing.T) {
	w := newWorld(t, witnessed)
	acme, beta := mustAddress("acme/a/jira"), mustAddress("beta/b/jira")
	w.govern(teams)
	w.consent(acme)
	w.consent(beta)
	w.restarted()
	w.govern(teams)
	r, err := w.AdoptGrants(ctx, acmeTeam, broker.AdoptSurviving, broker.GrantFilter{}, false)
	if err != nil || r.Count != 1 || r.Grants[0].Address != acme {
		t.Fatalf("got %+v, %v; want acme's grant alone", r, err)
	}
	w.clock.Advance(2 * 3600e9)
	w.token(acme)
	w.refused(beta, broker.ReasonGrantQuarantined)
	// The finding is about the store, which neither team maintains.
	for _, row := range []struct {
		caller broker.Caller
		count  int
		found  bool
	}{{betaTeam, 1, true}, {acmeTeam, 0, true}, {op, 0, false}} {
		r, err := w.AdoptGrants(ctx, row.caller, broker.AdoptSurviving, broker.GrantFilter{}, false)
		if found := w.store.Finding() != ""; err != nil || r.Count != row.count || found != row.found {
			t.Errorf("%s: %+v, %v, and the finding is there: %v", row.caller.Name, r, err, found)
		}
	}
}

func TestTheAuditNamesTheRuleAndTheDenialsRule(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.govern(`@id("draws") permit (principal == Caller::"ci", action == Action::"draw", resource is Grant);
@id("not-for-tests") forbid (principal, action == Action::"draw", resource) when { context has purpose && context.purpose == "test" };`)
	ci := broker.Caller{Name: "ci", Kind: broker.CallerX509}
	for _, row := range []struct {
		caller  broker.Caller
		purpose string
		rule    any
	}{{ci, "sync", "draws"}, {ci, "test", "not-for-tests"}, {broker.Caller{Name: "x"}, "sync", nil}} {
		_, err := w.AccessToken(ctx, row.caller, broker.TokenRequest{Address: jira, Purpose: row.purpose})
		if (err == nil) != (row.rule == "draws") {
			t.Errorf("%s: %v", row.purpose, err)
		}
		if err != nil && strings.Contains(err.Error(), "not-for-tests") {
			t.Errorf("the refusal tells the caller of a rule: %v", err)
		}
		lines := w.auditLines()
		if got := lines[len(lines)-1]["rule"]; got != row.rule {
			t.Errorf("%s, %s: the audit names %v, want %v", row.caller.Name, row.purpose, got, row.rule)
		}
	}
}
