package atlassiansim

import (
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const wrongToken = `{"error":"invalid_grant","error_description":"Unknown or invalid refresh token."}`

// hit asserts how many families an action hit.
func hit(t *testing.T, want int) func(int, error) {
	return func(n int, err error) {
		t.Helper()
		if n != want || err != nil {
			t.Fatalf("hit %d families, want %d; error %v", n, want, err)
		}
	}
}

func TestPasswordChange(t *testing.T) {
	me := DefaultAccounts()[0].ID
	for _, c := range []struct {
		mode  string
		after int // status after the password was changed back
		ends  []string
	}{{"until_back", 200, []string{"", "", ""}}, {"for_good", 403, []string{EndPassword, EndPassword, ""}}} {
		t.Run(c.mode, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "sim.json")
			b := newBench(t, withState(path), withBehaviour(func(x *Behaviour) { x.PasswordChange = c.mode }))
			jira := b.consent()
			conf := b.consentOf(confID, authorizeQuery(confID, "read:space:confluence offline_access"))
			hit(t, 2)(b.sim.ChangePassword(me))
			hit(t, 0)(b.sim.ChangePassword(me))
			later := b.consent()
			again := newBench(t, withState(path), withBehaviour(func(x *Behaviour) { x.PasswordChange = c.mode }))
			for _, req := range []map[string]string{refreshRequest(jiraID, jira.Refresh), refreshRequest(confID, conf.Refresh)} {
				for _, x := range []*bench{b, again} {
					if r := x.post(req); r.status != 403 || string(r.body) != wrongToken {
						t.Errorf("got %d %s", r.status, r.body)
					}
				}
			}
			b.refresh(later.Refresh).pair(t)
			if r := b.get("/me", jira.Access); r.status != 200 {
				t.Errorf("the access token answers %d", r.status)
			}
			if _, err := b.sim.RestorePassword(me); err != nil {
				t.Fatal(err)
			}
			if r := b.refresh(jira.Refresh); r.status != c.after {
				t.Errorf("after the change back: %d", r.status)
			}
			if d := cmp.Diff(c.ends, b.ends()); d != "" {
				t.Errorf("ends (-want +got):\n%s", d)
			}
			if lost := b.sim.Ledger().LostFamilies(); len(lost) != 0 {
				t.Errorf("counted as lost: %v", lost)
			}
		})
	}
}

func TestUninstall(t *testing.T) {
	sites := DefaultSites()
	for _, c := range []struct {
		mode  string
		level Level
		ends  []string // on sites 0, 0 and 1 of one account; on site 0 of another one
	}{
		{"ends", AccountLevel, []string{EndUninstalled, EndUninstalled, EndUninstalled, EndUninstalled}},
		{"removes_site", AccountLevel, []string{"", "", "", EndUninstalled}},
		{"ends", ResourceLevel, []string{EndUninstalled, EndUninstalled, "", EndUninstalled}},
		{"removes_site", ResourceLevel, []string{EndUninstalled, EndUninstalled, "", EndUninstalled}},
	} {
		t.Run(c.mode+" "+string(c.level), func(t *testing.T) {
			b := newBench(t, func(cfg *Config) { cfg.Apps[0].Level = c.level }, withBehaviour(func(x *Behaviour) { x.Uninstall = c.mode }))
			var mine []pair
			for _, site := range []int{0, 0, 1} {
				mine = append(mine, b.consentAs(site, jiraScopes))
			}
			q := authorizeQuery(jiraID, jiraScopes)
			q.Set("sim_account", DefaultAccounts()[1].ID)
			b.consentOf(jiraID, q)
			other := b.consentOf(confID, authorizeQuery(confID, "read:space:confluence offline_access"))
			pending := codeRequest(jiraID, b.authorize(q).Query().Get("code"))

			n, err := b.sim.UninstallApp(jiraID, sites[0].CloudID)
			want := len(slices.DeleteFunc(slices.Clone(c.ends), func(why string) bool { return why == "" }))
			if n != want || err != nil {
				t.Errorf("ended %d families, want %d; error %v", n, want, err)
			}
			if d := cmp.Diff(append(c.ends, ""), b.ends()); d != "" {
				t.Errorf("ends (-want +got):\n%s", d)
			}
			path := "/rest/api/3/myself"
			got := []int{b.get("/ex/jira/"+sites[0].CloudID+path, mine[2].Access).status, b.get("/ex/jira/"+sites[1].CloudID+path, mine[2].Access).status}
			if d := cmp.Diff([]int{404, 200}, got); d != "" {
				t.Errorf("the two sites answer (-want +got):\n%s", d)
			}
			if r := b.post(pending); r.status != 400 {
				t.Errorf("a code from before answers %d", r.status)
			}
			b.post(refreshRequest(confID, other.Refresh)).pair(t)
			if r := b.get("/ex/jira/"+sites[0].CloudID+path, b.consentAs(0, jiraScopes).Access); r.status != 200 {
				t.Errorf("after a new consent the site answers %d", r.status)
			}
		})
	}
}

func TestDeactivation(t *testing.T) {
	ada := DefaultAccounts()[1].ID
	for _, c := range []struct{ mode, body string }{
		{"refusal", `{"error":"unauthorized_client","error_description":"refresh_token is invalid"}`},
		{"access_denied", `{"error":"access_denied","error_description":"User account is deactivated"}`},
		{"bare", "Forbidden\n"},
	} {
		t.Run(c.mode, func(t *testing.T) {
			b := newBench(t, withBehaviour(func(x *Behaviour) { x.Deactivated = c.mode }))
			q := authorizeQuery(jiraID, jiraScopes)
			q.Set("sim_account", ada)
			p, other := b.consentOf(jiraID, q), b.consent()
			hit(t, 1)(b.sim.DeactivateAccount(ada))
			if r := b.refresh(p.Refresh); r.status != 403 || string(r.body) != c.body {
				t.Errorf("got %d %s", r.status, r.body)
			}
			if r := b.get("/me", p.Access); r.status != 401 {
				t.Errorf("the access token answers %d", r.status)
			}
			if u := b.authorize(q); u.Path != "/error" {
				t.Errorf("a consent ends at %s", u)
			}
			b.refresh(other.Refresh).pair(t)
			if err := b.sim.ReactivateAccount(ada); err != nil {
				t.Fatal(err)
			}
			if r := b.refresh(p.Refresh); r.status != 403 {
				t.Errorf("reactivated, the old family answers %d", r.status)
			}
			b.consentOf(jiraID, q)
			if d := cmp.Diff([]string{EndDeactivated, "", ""}, b.ends()); d != "" {
				t.Errorf("ends (-want +got):\n%s", d)
			}
		})
	}
}

func TestRemovedFromASite(t *testing.T) {
	for _, level := range []Level{AccountLevel, ResourceLevel} {
		b := newBench(t, func(cfg *Config) { cfg.Apps[0].Level = level })
		site := DefaultSites()[0].CloudID
		p := b.consent()
		if err := b.sim.RemoveFromSite(DefaultAccounts()[0].ID, site); err != nil {
			t.Fatal(err)
		}
		p = b.refresh(p.Refresh).pair(t)
		got := []any{len(siteIDs(t, b.get(resourcesPath, p.Access))), b.get("/ex/jira/"+site+"/rest/api/3/myself", p.Access).status}
		if d := cmp.Diff([]any{0, 404}, got); d != "" {
			t.Errorf("%s: sites, status of the API (-want +got):\n%s", level, d)
		}
		q := authorizeQuery(jiraID, jiraScopes)
		q.Set("sim_site", site)
		q.Set("sim_account", DefaultAccounts()[0].ID)
		if u := b.authorize(q); u.Path != "/error" {
			t.Errorf("%s: a consent to the site ends at %s", level, u)
		}
		if err := b.sim.AddToSite(DefaultAccounts()[0].ID, site); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([]string{site}, siteIDs(t, b.get(resourcesPath, p.Access))); d != "" {
			t.Errorf("%s: sites after coming back (-want +got):\n%s", level, d)
		}
	}
}

func TestScopesChangedInTheConsole(t *testing.T) {
	b := newBench(t)
	p := b.consent()
	if err := b.sim.SetScopes(jiraID, "write:jira-work"); err != nil {
		t.Fatal(err)
	}
	b.advance(time.Hour)
	if got := b.refresh(p.Refresh).pair(t).Scope; got != jiraScopes {
		t.Errorf("the family has %q, want its old scopes", got)
	}
	if u := b.authorize(authorizeQuery(jiraID, jiraScopes)); u.Path != "/error" {
		t.Errorf("a consent to the old scopes ends at %s", u)
	}
	if got := b.consentOf(jiraID, authorizeQuery(jiraID, "write:jira-work offline_access")).Scope; got != "write:jira-work offline_access" {
		t.Errorf("a new consent has %q", got)
	}
	if err := b.sim.SetScopes(jiraID, "two scopes"); err == nil {
		t.Error("a scope with a space was accepted")
	}
}

func TestActionsOverTheControlAPI(t *testing.T) {
	account := "/_sim/accounts/" + DefaultAccounts()[0].ID
	site := `{"site":"` + DefaultSites()[0].CloudID + `"}`
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"POST", account + "/password/change", "", 200, `"families": 1`},
		{"POST", account + "/password/restore", "", 200, `"families": 0`},
		{"POST", account + "/deactivate", "", 200, `"families": 1`},
		{"POST", account + "/reactivate", "", 200, `"families": 0`},
		{"POST", "/_sim/accounts/nobody/deactivate", "", 404, "not found"},
		{"POST", account + "/sites/remove", site, 200, `"families": 0`},
		{"POST", account + "/sites/remove", `{"site":"nowhere"}`, 404, "not found"},
		{"POST", account + "/sites/add", site, 200, `"families": 0`},
		{"POST", "/_sim/apps/jira-client/uninstall", site, 200, `"families": 1`},
		{"POST", "/_sim/apps/nobody/uninstall", site, 404, "not found"},
		{"POST", "/_sim/apps/jira-client/uninstall", `{"cloud":"x"}`, 400, "unknown field"},
		{"PUT", "/_sim/apps/jira-client/scopes", `{"scopes":["read:jira-user"]}`, 200, `"read:jira-user"`},
		{"PUT", "/_sim/apps/jira-client/scopes", `{"scopes":[]}`, 400, "none given"},
		{"PUT", "/_sim/apps/nobody/scopes", `{"scopes":["x"]}`, 404, "not found"},
		{"GET", "/_sim/families/family-2", "", 200, `"id": "family-2"`},
		{"GET", "/_sim/families/family-9", "", 404, "not found"},
		{"GET", "/_sim/counts", "", 200, `"rotated": 1`},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			b := newBench(t)
			b.consent()
			if r := b.request(c.method, c.path, "", c.body); r.status != c.status || !contains(r.body, c.says) {
				t.Fatalf("got %d %s, error %v; want %d with %s", r.status, r.body, r.err, c.status, c.says)
			}
		})
	}
	b := newBench(t)
	if r := b.request(http.MethodGet, account+"/deactivate", "", ""); r.status == 200 {
		t.Error("GET acts")
	}
}
