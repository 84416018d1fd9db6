package atlassiansim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func resourcesOf(t *testing.T, r reply) (list []resource) {
	t.Helper()
	if r.status != http.StatusOK || json.Unmarshal(r.body, &list) != nil {
		t.Fatalf("want a list of resources, got %d %s", r.status, r.body)
	}
	return list
}

// siteIDs returns the distinct cloud ids.
func siteIDs(t *testing.T, r reply) (ids []string) {
	t.Helper()
	for _, x := range resourcesOf(t, r) {
		ids = append(ids, x.ID)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

const resourcesPath = "/oauth/token/accessible-resources"

func TestAccessibleResources(t *testing.T) {
	both := authorizeQuery(jiraID, "read:jira-work read:space:confluence read:me offline_access")
	t.Run("one entry a product, with its scopes", func(t *testing.T) {
		b := newBench(t)
		got := resourcesOf(t, b.get(resourcesPath, b.consentOf(jiraID, both).Access))
		slices.SortFunc(got, func(a, b resource) int { return len(a.Scopes[0]) - len(b.Scopes[0]) })
		site := DefaultSites()[0]
		want := []resource{
			{site.CloudID, site.URL, site.Name, []string{"read:jira-work"}, site.URL + "/avatars/240/site.png"},
			{site.CloudID, site.URL, site.Name, []string{"read:space:confluence"}, site.URL + "/avatars/240/site.png"},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("resources (-want +got):\n%s", d)
		}
	})
	t.Run("duplicated", func(t *testing.T) {
		b := newBench(t, withBehaviour(func(x *Behaviour) { x.Resources = "duplicated" }))
		if n := len(resourcesOf(t, b.get(resourcesPath, b.consent().Access))); n != 2 {
			t.Fatalf("got %d entries for one site", n)
		}
	})
	t.Run("empty", func(t *testing.T) {
		b := newBench(t, withBehaviour(func(x *Behaviour) { x.Resources = "empty" }))
		if r := b.get(resourcesPath, b.consent().Access); r.status != 200 || string(r.body) != "[]" {
			t.Fatalf("got %d %s", r.status, r.body)
		}
	})
	t.Run("error object", func(t *testing.T) {
		b := newBench(t, withBehaviour(func(x *Behaviour) { x.Resources = "error" }))
		if r := b.get(resourcesPath, b.consent().Access); r.status != 200 || !contains(r.body, `{"code":500`) {
			t.Fatalf("got %d %s", r.status, r.body)
		}
	})
	t.Run("two sites by one URL", func(t *testing.T) {
		b := newBench(t, withBehaviour(func(x *Behaviour) { x.Resources = "one_url" }))
		b.consent()
		q := authorizeQuery(jiraID, jiraScopes)
		q.Set("sim_site", DefaultSites()[2].CloudID)
		got := resourcesOf(t, b.get(resourcesPath, b.consentOf(jiraID, q).Access))
		if len(got) != 2 || got[0].ID == got[1].ID || got[0].URL != got[1].URL {
			t.Fatalf("got %v", got)
		}
	})
	t.Run("in changing order", func(t *testing.T) {
		b := newBench(t)
		b.consent()
		q := authorizeQuery(jiraID, jiraScopes)
		q.Set("sim_site", DefaultSites()[2].CloudID)
		p := b.consentOf(jiraID, q)
		first := map[string]bool{}
		for range 50 {
			first[resourcesOf(t, b.get(resourcesPath, p.Access))[0].ID] = true
		}
		if len(first) != 2 {
			t.Fatal("50 answers began with the same site")
		}
	})
}

func TestMeNeedsItsScope(t *testing.T) {
	b := newBench(t)
	var me struct {
		ID    string `json:"account_id"`
		Email string `json:"email"`
	}
	if r := b.get("/me", b.consent().Access); json.Unmarshal(r.body, &me) != nil || me.ID != DefaultAccounts()[0].ID || me.Email != DefaultAccounts()[0].Email {
		t.Fatalf("got %d %s", r.status, r.body)
	}
	r := b.get("/me", b.consentOf(jiraID, authorizeQuery(jiraID, "read:jira-work")).Access)
	if want := `{"code":401,"message":"Unauthorized; scope does not match"}`; r.status != 401 || string(r.body) != want {
		t.Fatalf("got %d %s, want %s", r.status, r.body, want)
	}
}

func TestProductAPIs(t *testing.T) {
	b := newBench(t)
	jira := b.consent().Access
	conf := b.consentOf(confID, authorizeQuery(confID, "read:space:confluence offline_access")).Access
	first, other := DefaultSites()[0].CloudID, DefaultSites()[1].CloudID
	for _, c := range []struct {
		name, path, token string
		status            int
		body              string
	}{
		{"myself", "/ex/jira/" + first + "/rest/api/3/myself", jira, 200, DefaultAccounts()[0].ID},
		{"projects", "/ex/jira/" + first + "/rest/api/3/project/search", jira, 200, "acme OPS"},
		{"spaces", "/ex/confluence/" + first + "/wiki/api/v2/spaces", conf, 200, "acme DOC"},
		{"spaces, older API", "/ex/confluence/" + first + "/wiki/rest/api/space", conf, 200, "acme DOC"},
		{"site not granted", "/ex/jira/" + other + "/rest/api/3/myself", jira, 404, "Not found"},
		{"unknown site", "/ex/jira/nowhere/rest/api/3/myself", jira, 404, "Not found"},
		{"other product's token", "/ex/confluence/" + first + "/wiki/api/v2/spaces", jira, 401, "scope does not match"},
		{"invented token", "/ex/jira/" + first + "/rest/api/3/myself", "invented", 401, "Unauthorized"},
		{"no token", "/ex/jira/" + first + "/rest/api/3/myself", "", 401, "Unauthorized"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := b.get(c.path, c.token); r.status != c.status || !contains(r.body, c.body) {
				t.Fatalf("got %d %s, want %d with %s", r.status, r.body, c.status, c.body)
			}
		})
	}
}

func TestATokenNeedsTheBearerScheme(t *testing.T) {
	b := newBench(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+"/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", b.consent().Access)
	if r := b.do(req); r.status != http.StatusUnauthorized {
		t.Fatalf("got %d", r.status)
	}
}

func TestFaultsOfTheAPIEndpoints(t *testing.T) {
	b := newBench(t)
	p := b.consent()
	for endpoint, path := range map[string]string{
		EndpointResources: resourcesPath, EndpointMe: "/me", EndpointAPI: "/ex/jira/" + DefaultSites()[0].CloudID + "/rest/api/3/myself",
	} {
		b.arm(Fault{Kind: FaultStatus, Endpoint: endpoint, Count: 1})
		b.arm(Fault{Kind: FaultDropMidBody, Endpoint: endpoint, AccountID: DefaultAccounts()[0].ID, Count: 1})
		b.arm(Fault{Kind: FaultDelayRequest, DelayMillis: 1, Endpoint: endpoint, Count: 1})
		got := []any{b.get(path, p.Access).status, b.get(path, p.Access).err != nil, b.get(path, p.Access).status, len(b.sim.Faults())}
		if d := cmp.Diff([]any{503, true, 200, 0}, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", endpoint, d)
		}
	}
	b.arm(Fault{Kind: FaultStatus, Endpoint: EndpointRevoke, KeepToken: true, Count: 1})
	if r := b.request(http.MethodPost, "/oauth/revoke", "application/json", "{}"); r.status != 503 {
		t.Errorf("revoke answers %d", r.status)
	}
}

func TestExpiredAccessTokenAnswersBySwitch(t *testing.T) {
	for _, status := range []int{401, 403, 404} {
		b := newBench(t, withBehaviour(func(x *Behaviour) { x.ExpiredAccess = status }))
		p := b.consent()
		path := "/ex/jira/" + DefaultSites()[0].CloudID + "/rest/api/3/myself"
		b.advance(time.Hour - time.Second)
		got := []int{b.get(path, p.Access).status}
		b.advance(time.Second)
		got = append(got, b.get(path, p.Access).status, b.get("/me", p.Access).status, b.get(resourcesPath, p.Access).status)
		if d := cmp.Diff([]int{200, status, 401, 401}, got); d != "" {
			t.Errorf("before, after, /me, resources (-want +got):\n%s", d)
		}
	}
}

func TestRotationCutsTheOldAccessTokenShort(t *testing.T) {
	for _, c := range []struct {
		grace int
		// want: accepted 9:59 min and 10 min after the rotation.
		before, after bool
	}{{600, true, false}, {0, false, false}, {-1, true, true}} {
		t.Run(fmt.Sprintf("grace %d", c.grace), func(t *testing.T) {
			b := newBench(t, withBehaviour(func(x *Behaviour) { x.AccessGraceSeconds = c.grace }))
			p := b.consent()
			next := b.refresh(p.Refresh).pair(t)
			b.advance(599 * time.Second)
			b.refresh(p.Refresh).pair(t) // a sibling does not prolong it
			if got := b.get("/me", p.Access).status == 200; got != c.before {
				t.Errorf("just before the end of the grace: accepted %v", got)
			}
			b.advance(time.Second)
			if got := b.get("/me", p.Access).status == 200; got != c.after {
				t.Errorf("after the grace: accepted %v", got)
			}
			if b.get("/me", next.Access).status != 200 {
				t.Error("the new access token is refused")
			}
		})
	}
}

func TestRevokeEndpoint(t *testing.T) {
	for _, c := range []struct {
		revoke        string
		status        int
		refresh, call int
	}{{"absent", 404, 200, 200}, {"no_effect", 200, 200, 200}, {"effective", 200, 403, 401}} {
		t.Run(c.revoke, func(t *testing.T) {
			b := newBench(t, withBehaviour(func(x *Behaviour) { x.Revoke = c.revoke }))
			p := b.consent()
			body := fmt.Sprintf(`{"client_id":%q,"client_secret":%q,"token":%q}`, jiraID, jiraSecret, p.Refresh)
			got := []int{b.request(http.MethodPost, "/oauth/revoke", "application/json", body).status, b.get("/me", p.Access).status, b.refresh(p.Refresh).status}
			if d := cmp.Diff([]int{c.status, c.call, c.refresh}, got); d != "" {
				t.Fatalf("revoke, API call, refresh (-want +got):\n%s", d)
			}
		})
	}
	t.Run("only by the token's client, with its secret", func(t *testing.T) {
		b := newBench(t)
		p := b.consent()
		for body, status := range map[string]int{
			fmt.Sprintf(`{"client_id":%q,"client_secret":"wrong","token":%q}`, jiraID, p.Refresh):        401,
			fmt.Sprintf(`{"client_id":%q,"client_secret":%q,"token":%q}`, confID, confSecret, p.Refresh): 200,
			fmt.Sprintf(`{"client_id":%q,"client_secret":%q,"token":"unknown"}`, jiraID, jiraSecret):     200,
		} {
			if r := b.request(http.MethodPost, "/oauth/revoke", "application/json", body); r.status != status {
				t.Errorf("got %d, want %d", r.status, status)
			}
		}
		b.refresh(p.Refresh).pair(t)
	})
}

func TestUserRevocationEndsEveryFamilyOfAccountAndClient(t *testing.T) {
	b := newBench(t)
	first, second := b.consent(), b.consent()
	other := b.consentOf(confID, authorizeQuery(confID, "read:space:confluence offline_access"))
	pending := codeRequest(jiraID, b.authorize(authorizeQuery(jiraID, jiraScopes)).Query().Get("code"))
	if n, err := b.sim.RevokeAccess(DefaultAccounts()[0].ID, jiraID); n != 2 || err != nil {
		t.Fatalf("ended %d families, error %v", n, err)
	}
	wantRefused(t, b.refresh(first.Refresh))
	wantRefused(t, b.refresh(second.Refresh))
	if r := b.get("/me", first.Access); r.status != 401 {
		t.Errorf("the access token answers %d", r.status)
	}
	if r := b.post(pending); r.status != 400 {
		t.Errorf("a code from before answers %d", r.status)
	}
	b.post(refreshRequest(confID, other.Refresh)).pair(t)
	if lost := b.sim.Ledger().LostFamilies(); len(lost) != 0 {
		t.Errorf("a revocation counts as a loss: %v", lost)
	}
}
