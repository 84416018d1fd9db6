package atlassiansim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// call an API endpoint and decode the answer, which must have the status.
func (b *bench) call(method, path, token, body string, status int) (m map[string]any, header http.Header) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	r := b.do(req)
	if r.status != status || json.Unmarshal(r.body, &m) != nil {
		b.t.Fatalf("%s %s: got %d %s %v, want %d", method, path, r.status, r.body, r.err, status)
	}
	return m, r.header
}

// names of the elements of a list: their key, or else their title.
func names(list any) (all []string) {
	elements, _ := list.([]any)
	for _, e := range elements {
		m, _ := e.(map[string]any)
		for _, field := range []string{"key", "title"} {
			if name, ok := m[field].(string); ok {
				all = append(all, name)
				break
			}
		}
	}
	return all
}

// numbered returns prefix1 to prefixN in either direction.
func numbered(prefix string, from, to int) (all []string) {
	step := 1
	if from > to {
		step = -1
	}
	for n := from; ; n += step {
		all = append(all, fmt.Sprint(prefix, n))
		if n == to {
			return all
		}
	}
}

func TestLoopsOverPagesOfJira(t *testing.T) {
	b := newBench(t)
	token := b.consent().Access
	api := "/ex/jira/" + DefaultSites()[0].CloudID + "/rest/api/3/"
	want := numbered("WEB-", 25, 1)
	for name, next := range map[string]func(got []string, last map[string]any) (method, path, body string){
		"startAt": func(got []string, _ map[string]any) (string, string, string) {
			return "GET", fmt.Sprintf("search?jql=project%%3DWEB&maxResults=10&startAt=%d", len(got)), ""
		},
		"startAt in a body": func(got []string, _ map[string]any) (string, string, string) {
			return "POST", "search", fmt.Sprintf(`{"jql":"project = WEB","maxResults":10,"fields":["summary"],"startAt":%d}`, len(got))
		},
		"nextPageToken": func(_ []string, last map[string]any) (string, string, string) {
			token, _ := last["nextPageToken"].(string)
			return "GET", "search/jql?jql=project%3DWEB&maxResults=10&nextPageToken=" + token, ""
		},
		"nextPageToken in a body": func(_ []string, last map[string]any) (string, string, string) {
			token, _ := last["nextPageToken"].(string)
			return "POST", "search/jql", fmt.Sprintf(`{"jql":"project = WEB order by key","maxResults":10,"nextPageToken":%q}`, token)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			var last map[string]any
			for range 3 {
				method, path, body := next(got, last)
				last, _ = b.call(method, api+path, token, body, 200)
				got = append(got, names(last["issues"])...)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("issues (-want +got):\n%s", d)
			}
			if total, old := last["total"]; old != strings.HasPrefix(name, "startAt") || old && total != 25.0 {
				t.Errorf("total %v", total)
			}
			if more := last["nextPageToken"]; more != nil {
				t.Errorf("the last page names the next one %v", more)
			}
		})
	}
	if got := names(func() any { m, _ := b.call("GET", api+"project/search?startAt=1", token, "", 200); return m["values"] }()); !cmp.Equal(got, []string{"WEB"}) {
		t.Errorf("projects from the second on: %v", got)
	}
	if m, _ := b.call("POST", api+"search/approximate-count", token, `{"jql":"key = OPS-3"}`, 200); m["count"] != 1.0 {
		t.Errorf("count: %v", m)
	}
	for _, bad := range [][2]string{
		{"GET", "search/jql?jql=project%3DWEB&nextPageToken=invented"}, {"GET", "search/jql?jql=order+by+key"}, {"GET", "search?startAt=-1"},
		{"GET", "project/search?maxResults=many"}, {"POST", "search/jql"},
	} {
		if m, _ := b.call(bad[0], api+bad[1], token, "no JSON", 400); m["errorMessages"] == nil {
			t.Errorf("%s %s: %v", bad[0], bad[1], m)
		}
	}
}

func TestLoopsOverPagesOfConfluence(t *testing.T) {
	b := newBench(t)
	token := b.consentOf(confID, authorizeQuery(confID, "read:space:confluence offline_access")).Access
	gateway := "/ex/confluence/" + DefaultSites()[0].CloudID
	want := numbered("TEAM page ", 1, 25)
	for name, first := range map[string]string{
		"older API":        "/rest/api/content?spaceKey=TEAM&limit=10",
		"older API, CQL":   "/rest/api/content/search?cql=space+%3D+TEAM&limit=10",
		"newer, a space":   "/wiki/api/v2/spaces/20001/pages?limit=10",
		"newer, all pages": "/wiki/api/v2/pages?space-id=20001&limit=10",
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			pages := 0
			for path := first; path != ""; pages++ {
				if !strings.HasPrefix(path, "/wiki") {
					path = "/wiki" + path // links of the older API are relative to base and context
				}
				m, header := b.call("GET", gateway+path, token, "", 200)
				got = append(got, names(m["results"])...)
				links, _ := m["_links"].(map[string]any)
				path, _ = links["next"].(string)
				if link := header.Get("Link"); strings.HasPrefix(name, "newer") && path != "" && link != "<"+path+`>; rel="next"` {
					t.Errorf("the link header is %q", link)
				}
			}
			if d := cmp.Diff(want, got); d != "" || pages != 3 {
				t.Fatalf("%d pages (-want +got):\n%s", pages, d)
			}
		})
	}
	for _, bad := range []string{"/wiki/api/v2/pages?cursor=invented", "/wiki/api/v2/pages?limit=-1", "/wiki/rest/api/content?start=x"} {
		b.call("GET", gateway+bad, token, "", 400)
	}
}

func TestSingleThings(t *testing.T) {
	b := newBench(t)
	jira := b.consent().Access
	conf := b.consentOf(confID, authorizeQuery(confID, "read:space:confluence offline_access")).Access
	j, c := "/ex/jira/"+DefaultSites()[0].CloudID+"/rest/api/", "/ex/confluence/"+DefaultSites()[0].CloudID+"/wiki/"
	for _, row := range []struct {
		path, token string
		status      int
		body        string
	}{
		{j + "2/myself", jira, 200, DefaultAccounts()[0].ID},
		{j + "3/serverInfo", jira, 200, `"deploymentType":"Cloud"`},
		{j + "2/field", jira, 200, `"id":"summary"`},
		{j + "2/project", jira, 200, `"key":"WEB"`},
		{j + "3/project/OPS", jira, 200, `"name":"acme OPS"`},
		{j + "3/project/NONE", jira, 404, "No project"},
		{j + "2/issue/OPS-7", jira, 200, `"description":"Description of OPS-7"`},
		{j + "3/issue/1000007", jira, 200, `"type":"doc"`},
		{j + "3/issue/OPS-26", jira, 404, "does not exist"},
		{c + "rest/api/user/current", conf, 200, DefaultAccounts()[0].ID},
		{c + "rest/api/space/DOC", conf, 200, `"id":20000`},
		{c + "rest/api/space/NONE", conf, 404, "No space"},
		{c + "rest/api/content?title=DOC%20page%203", conf, 200, `"size":1`},
		{c + "rest/api/content/2000003", conf, 200, "Text of DOC page 3"},
		{c + "rest/api/content/1", conf, 404, "No content"},
		{c + "api/v2/spaces?keys=DOC", conf, 200, `"id":"20000"`},
		{c + "api/v2/spaces/20001", conf, 200, "acme TEAM"},
		{c + "api/v2/spaces/1", conf, 404, "NOT_FOUND"},
		{c + "api/v2/pages/2000003", conf, 200, `"spaceId":"20000"`},
		{c + "api/v2/pages/1", conf, 404, "NOT_FOUND"},
	} {
		if r := b.get(row.path, row.token); r.status != row.status || !contains(r.body, row.body) {
			t.Errorf("%s: got %d %s, want %d with %s", row.path, r.status, r.body, row.status, row.body)
		}
	}
}

// TestASlowBodyDoesNotStopTheSimulator: the body of a search is read before the
// mutex is taken.
func TestASlowBodyDoesNotStopTheSimulator(t *testing.T) {
	b := newBench(t)
	token := b.consent().Access
	path := "/ex/jira/" + DefaultSites()[0].CloudID + "/rest/api/3/search/jql"
	body, rest := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	answered := make(chan reply, 1)
	go func() { answered <- b.do(req) }()
	if _, err := io.WriteString(rest, `{"jql":`); err != nil {
		t.Fatal(err)
	}
	if r := b.get("/me", token); r.status != 200 {
		t.Errorf("meanwhile: %d %v", r.status, r.err)
	}
	if _, err := io.WriteString(rest, `"project=OPS"}`); err != nil {
		t.Fatal(err)
	}
	_ = rest.Close()
	if r := <-answered; r.status != 200 {
		t.Errorf("the search: %d %s %v", r.status, r.body, r.err)
	}
}
