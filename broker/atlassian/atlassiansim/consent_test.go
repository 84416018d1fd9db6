package atlassiansim

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// consentAs is a consent of the Jira app to scopes, on the n-th site.
func (b *bench) consentAs(site int, scopes string) pair {
	b.t.Helper()
	q := authorizeQuery(jiraID, scopes)
	q.Set("sim_site", DefaultSites()[site].CloudID)
	return b.consentOf(jiraID, q)
}

// ends returns why each family ended, in the order of their consents.
func (b *bench) ends() (list []string) {
	for _, f := range b.sim.Ledger().Families {
		list = append(list, f.EndedWhy)
	}
	return list
}

func TestSecondConsent(t *testing.T) {
	for _, c := range []struct {
		second string
		level  Level
		site   int
		// ends after the second consent, after a refresh of it, and after one of the first.
		consented, second2, first []string
	}{
		{"independent", AccountLevel, 0, []string{"", ""}, []string{"", ""}, []string{"", ""}},
		{"ends_first", AccountLevel, 0, []string{EndSecondConsent, ""}, []string{EndSecondConsent, ""}, []string{EndSecondConsent, ""}},
		{"ends_first", AccountLevel, 1, []string{EndSecondConsent, ""}, []string{EndSecondConsent, ""}, []string{EndSecondConsent, ""}},
		{"ends_first", ResourceLevel, 0, []string{EndSecondConsent, ""}, []string{EndSecondConsent, ""}, []string{EndSecondConsent, ""}},
		{"ends_first", ResourceLevel, 1, []string{"", ""}, []string{"", ""}, []string{"", ""}},
		{"refresh_ends_other", AccountLevel, 0, []string{"", ""}, []string{EndOtherRefresh, ""}, []string{EndOtherRefresh, ""}},
		{"refresh_ends_other", AccountLevel, 1, []string{"", ""}, []string{EndOtherRefresh, ""}, []string{EndOtherRefresh, ""}},
		{"refresh_ends_other", ResourceLevel, 1, []string{"", ""}, []string{"", ""}, []string{"", ""}},
	} {
		t.Run(c.second+" "+string(c.level), func(t *testing.T) {
			b := newBench(t, func(cfg *Config) { cfg.Apps[0].Level = c.level }, withBehaviour(func(x *Behaviour) { x.SecondConsent = c.second }))
			first := b.consentAs(0, jiraScopes)
			second := b.consentAs(c.site, jiraScopes)
			var got [][]string
			got = append(got, b.ends())
			b.refresh(second.Refresh).pair(t)
			got = append(got, b.ends())
			if r := b.refresh(first.Refresh); (r.status == 200) != (c.first[0] == "") {
				t.Errorf("the first family answers %d", r.status)
			}
			got = append(got, b.ends())
			if d := cmp.Diff([][]string{c.consented, c.second2, c.first}, got); d != "" {
				t.Fatalf("ends after the consent, a refresh of the second and one of the first (-want +got):\n%s", d)
			}
			if lost := b.sim.Ledger().LostFamilies(); len(lost) != 0 {
				t.Errorf("counted as lost: %v", lost)
			}
		})
	}
}

func TestTheOtherRefreshEndsTheSecondFamilyToo(t *testing.T) {
	b := newBench(t, withBehaviour(func(x *Behaviour) { x.SecondConsent = "refresh_ends_other" }))
	first, second := b.consent(), b.consent()
	q := authorizeQuery(jiraID, jiraScopes)
	q.Set("sim_account", DefaultAccounts()[1].ID)
	b.consentOf(jiraID, q)
	b.consentOf(confID, authorizeQuery(confID, "read:space:confluence offline_access"))
	b.refresh(first.Refresh).pair(t)
	wantRefused(t, b.refresh(second.Refresh))
	if d := cmp.Diff([]string{"", EndOtherRefresh, "", ""}, b.ends()); d != "" {
		t.Fatalf("ends; other accounts and apps are not concerned (-want +got):\n%s", d)
	}
}

func TestSecondConsentEndsACodeThatIsNotRedeemed(t *testing.T) {
	b := newBench(t, withBehaviour(func(x *Behaviour) { x.SecondConsent = "ends_first" }))
	pending := codeRequest(jiraID, b.authorize(authorizeQuery(jiraID, jiraScopes)).Query().Get("code"))
	b.consent()
	if r := b.post(pending); r.status != 400 {
		t.Fatalf("got %d", r.status)
	}
}

func TestScopesOfASecondConsent(t *testing.T) {
	const jira, conf = "read:jira-work read:me offline_access", "read:space:confluence"
	const all = "read:space:confluence read:jira-work read:me"
	for _, c := range []struct {
		mode                   string
		level                  Level
		site                   int
		first, second, pending string
	}{
		{"leave", AccountLevel, 0, jira, conf, jira},
		{"override", AccountLevel, 0, conf + " offline_access", conf, conf + " offline_access"},
		{"unite", AccountLevel, 0, all + " offline_access", all, all + " offline_access"},
		{"unite", ResourceLevel, 0, all + " offline_access", all, all + " offline_access"},
		{"override", ResourceLevel, 1, jira, conf, jira},
	} {
		t.Run(c.mode+" "+string(c.level), func(t *testing.T) {
			b := newBench(t, func(cfg *Config) { cfg.Apps[0].Level = c.level }, withBehaviour(func(x *Behaviour) { x.ConsentScopes = c.mode }))
			first := b.consentAs(0, jira)
			pending := codeRequest(jiraID, b.authorize(authorizeQuery(jiraID, jira)).Query().Get("code"))
			second := b.consentAs(c.site, conf)
			if r := b.get("/ex/jira/"+DefaultSites()[0].CloudID+"/rest/api/3/myself", first.Access); r.status != 200 {
				t.Errorf("an access token from before lost its scopes: %d %s", r.status, r.body)
			}
			next := b.refresh(first.Refresh).pair(t)
			got := []string{next.Scope, second.Scope, b.post(pending).pair(t).Scope}
			if d := cmp.Diff([]string{c.first, c.second, c.pending}, got); d != "" {
				t.Fatalf("scopes of the first, the second and a pending consent (-want +got):\n%s", d)
			}
			wantStatus := 401
			if strings.Contains(next.Scope, "jira") {
				wantStatus = 200
			}
			if r := b.get("/ex/jira/"+DefaultSites()[0].CloudID+"/rest/api/3/myself", next.Access); r.status != wantStatus {
				t.Errorf("the new access token answers %d, want %d", r.status, wantStatus)
			}
		})
	}
}

func TestTheCapDropsTheOldestRefreshTokenOfTheAccount(t *testing.T) {
	b := newBench(t, withBehaviour(func(x *Behaviour) { x.RefreshTokenCap = 3 }))
	first, second := b.consent(), b.consent()
	first = b.refresh(first.Refresh).pair(t) // now the second family's token is the oldest
	b.consentOf(confID, authorizeQuery(confID, "read:space:confluence offline_access"))
	q := authorizeQuery(jiraID, jiraScopes)
	q.Set("sim_account", DefaultAccounts()[1].ID)
	b.consentOf(jiraID, q) // another account does not count
	if d := cmp.Diff([]string{"", "", "", ""}, b.ends()); d != "" {
		t.Fatalf("at the cap (-want +got):\n%s", d)
	}
	b.consent()
	if d := cmp.Diff([]string{"", EndCap, "", "", ""}, b.ends()); d != "" {
		t.Fatalf("above the cap (-want +got):\n%s", d)
	}
	wantRefused(t, b.refresh(second.Refresh))
	first = b.refresh(first.Refresh).pair(t)
	for range 10 {
		b.advance(time.Minute)
		first = b.refresh(first.Refresh).pair(t) // a rotation replaces its token
	}
	if d := cmp.Diff([]string{"", EndCap, "", "", ""}, b.ends()); d != "" {
		t.Fatalf("rotations at the cap (-want +got):\n%s", d)
	}
	if lost := b.sim.Ledger().LostFamilies(); len(lost) != 0 {
		t.Errorf("counted as lost: %v", lost)
	}
}

func TestTheCapCountsSiblings(t *testing.T) {
	b := newBench(t, withBehaviour(func(x *Behaviour) { x.RefreshTokenCap = 2 }))
	p := b.consent()
	old := b.refresh(p.Refresh).pair(t)
	for range 2 {
		b.refresh(p.Refresh).pair(t)
	}
	wantRefused(t, b.refresh(old.Refresh))
	f := b.onlyFamily()
	if d := cmp.Diff([]any{"", 2}, []any{f.EndedWhy, len(f.LiveRefresh)}); d != "" {
		t.Fatalf("end, live tokens (-want +got):\n%s", d)
	}
}
