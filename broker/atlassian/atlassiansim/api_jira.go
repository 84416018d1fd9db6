package atlassiansim

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// issuesPerProject of every Jira site: enough for loops over pages.
const issuesPerProject = 25

// project of a Jira site. All sites have the same, named after the site.
type project struct {
	id  int
	key string
}

var jiraProjectList = []project{{10000, "OPS"}, {10001, "WEB"}}

// jiraRoutes are the stubs of Jira's API that client libraries need to log on and to
// read. version is 2, 3 or latest.
func (s *Sim) jiraRoutes(mux *http.ServeMux) {
	for pattern, inner := range map[string]stub{
		"GET myself":                    s.jiraMyself,
		"GET serverInfo":                s.jiraServerInfo,
		"GET field":                     s.jiraFields,
		"GET project":                   s.jiraProjects,
		"GET project/search":            s.jiraProjectPage,
		"GET project/{key}":             s.jiraProject,
		"GET issue/{key}":               s.jiraIssue,
		"GET search":                    s.jiraSearch,
		"POST search":                   s.jiraSearch,
		"GET search/jql":                s.jiraSearchJQL,
		"POST search/jql":               s.jiraSearchJQL,
		"POST search/approximate-count": s.jiraCount,
	} {
		method, path, _ := strings.Cut(pattern, " ")
		mux.HandleFunc(method+" /ex/jira/{cloudid}/rest/api/{version}/"+path, buffered(s.api(EndpointAPI, s.product(productJira, inner))))
	}
}

func (s *Sim) jiraMyself(r *http.Request, c caller, site *Site) answer {
	return jsonAnswer(http.StatusOK, jiraUser(r, c, site))
}

func jiraUser(r *http.Request, c caller, site *Site) map[string]any {
	return map[string]any{
		"self":      selfURL(r, site) + "user?accountId=" + c.account.ID,
		"accountId": c.account.ID, "accountType": "atlassian", "emailAddress": c.account.Email,
		"displayName": c.account.Name, "active": true, "timeZone": "Etc/UTC", "locale": "en_US",
	}
}

// selfURL is what the "self" links of Jira begin with: they name the site and not
// the gateway that was called.
func selfURL(r *http.Request, site *Site) string {
	return site.URL + "/rest/api/" + r.PathValue("version") + "/"
}

func (s *Sim) jiraServerInfo(_ *http.Request, _ caller, site *Site) answer {
	return jsonAnswer(http.StatusOK, map[string]any{
		"baseUrl": site.URL, "version": "1001.0.0-SNAPSHOT", "versionNumbers": []int{1001, 0, 0},
		"deploymentType": "Cloud", "buildNumber": 100000, "serverTitle": site.Name,
	})
}

func (s *Sim) jiraFields(_ *http.Request, _ caller, _ *Site) answer {
	list := []any{}
	for _, name := range []string{"summary", "status", "project", "issuetype", "description", "created", "updated"} {
		list = append(list, map[string]any{
			"id": name, "key": name, "name": strings.ToUpper(name[:1]) + name[1:], "custom": false,
			"orderable": true, "navigable": true, "searchable": true, "clauseNames": []string{name},
		})
	}
	return jsonAnswer(http.StatusOK, list)
}

func jiraProjectJSON(r *http.Request, p project, site *Site) map[string]any {
	id := strconv.Itoa(p.id)
	return map[string]any{
		"self": selfURL(r, site) + "project/" + id, "id": id, "key": p.key,
		"name": site.Name + " " + p.key, "projectTypeKey": "software", "simplified": false, "style": "classic",
	}
}

// jiraProjects is the older list without pages.
func (s *Sim) jiraProjects(r *http.Request, _ caller, site *Site) answer {
	list := []any{}
	for _, p := range jiraProjectList {
		list = append(list, jiraProjectJSON(r, p, site))
	}
	return jsonAnswer(http.StatusOK, list)
}

func (s *Sim) jiraProjectPage(r *http.Request, _ caller, site *Site) answer {
	at, most, err := paging(r.FormValue("startAt"), r.FormValue("maxResults"))
	if err != nil {
		return jiraError(http.StatusBadRequest, err.Error())
	}
	values := []any{}
	for _, p := range slice(jiraProjectList, at, most) {
		values = append(values, jiraProjectJSON(r, p, site))
	}
	total := len(jiraProjectList)
	return jsonAnswer(http.StatusOK, map[string]any{
		"startAt": at, "maxResults": most, "total": total, "isLast": at+len(values) >= total, "values": values,
	})
}

func (s *Sim) jiraProject(r *http.Request, _ caller, site *Site) answer {
	for _, p := range jiraProjectList {
		if key := r.PathValue("key"); key == p.key || key == strconv.Itoa(p.id) {
			return jsonAnswer(http.StatusOK, jiraProjectJSON(r, p, site))
		}
	}
	return jiraError(http.StatusNotFound, "No project could be found with key '"+r.PathValue("key")+"'.")
}

// issue number n, from 1, of a project.
type issue struct {
	project project
	n       int
}

func (i issue) id() string  { return strconv.Itoa(i.project.id*100 + i.n) }
func (i issue) key() string { return fmt.Sprintf("%s-%d", i.project.key, i.n) }

var (
	jqlProject = regexp.MustCompile(`(?i)\bproject\s*=\s*"?([A-Z0-9]+)"?`)
	jqlKey     = regexp.MustCompile(`(?i)\b(?:issue)?key\s*=\s*"?([A-Z]+-[0-9]+)"?`)
)

// issues that match a JQL, newest first. Of JQL the simulator knows project = KEY
// and key = KEY-1, and passes over the rest.
func issues(jql string) (list []issue) {
	p, k := jqlProject.FindStringSubmatch(jql), jqlKey.FindStringSubmatch(jql)
	for _, project := range jiraProjectList {
		for n := issuesPerProject; n > 0; n-- {
			i := issue{project, n}
			if (p == nil || strings.EqualFold(p[1], project.key)) && (k == nil || strings.EqualFold(k[1], i.key())) {
				list = append(list, i)
			}
		}
	}
	return list
}

func (s *Sim) jiraIssue(r *http.Request, c caller, site *Site) answer {
	all, key := issues(""), r.PathValue("key")
	at := slices.IndexFunc(all, func(i issue) bool { return key == i.key() || key == i.id() })
	if at < 0 {
		return jiraError(http.StatusNotFound, "Issue does not exist or you do not have permission to see it.")
	}
	return jsonAnswer(http.StatusOK, issueJSON(r, all[at], c, site))
}

func issueJSON(r *http.Request, i issue, c caller, site *Site) map[string]any {
	at := fmt.Sprintf("2026-01-%02dT09:30:00.000+0000", i.n)
	var text any = "Description of " + i.key()
	if r.PathValue("version") == "3" { // Atlassian's document format
		text = map[string]any{"type": "doc", "version": 1, "content": []any{
			map[string]any{"type": "paragraph", "content": []any{map[string]any{"type": "text", "text": text}}},
		}}
	}
	user := jiraUser(r, c, site)
	return map[string]any{
		"id": i.id(), "key": i.key(), "self": selfURL(r, site) + "issue/" + i.id(),
		"fields": map[string]any{
			"summary": "Issue " + i.key() + " of " + site.Name, "description": text,
			"project": jiraProjectJSON(r, i.project, site), "labels": []string{},
			"issuetype": map[string]any{"id": "10001", "name": "Task", "subtask": false},
			"status": map[string]any{"id": "1", "name": "Open", "statusCategory": map[string]any{
				"id": 2, "key": "new", "name": "To Do", "colorName": "blue-gray",
			}},
			"priority": map[string]any{"id": "3", "name": "Medium"},
			"reporter": user, "assignee": user, "created": at, "updated": at,
		},
	}
}

// jiraError is an error of Jira itself, behind the gateway.
func jiraError(status int, message string) answer {
	return jsonAnswer(status, map[string]any{"errorMessages": []string{message}, "errors": map[string]any{}})
}
