package atlassiansim

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// pagesPerSpace of every Confluence site: enough for loops over pages.
const pagesPerSpace = 25

// space of a Confluence site. All sites have the same, named after the site.
type space struct {
	id  int
	key string
}

var confluenceSpaceList = []space{{20000, "DOC"}, {20001, "TEAM"}}

// page number n, from 1, of a space.
type page struct {
	space space
	n     int
}

func (p page) id() string    { return strconv.Itoa(p.space.id*100 + p.n) }
func (p page) title() string { return fmt.Sprintf("%s page %d", p.space.key, p.n) }
func (p page) body() string  { return "<p>Text of " + p.title() + "</p>" }
func (p page) created() string {
	return fmt.Sprintf("2026-01-%02dT09:30:00.000Z", p.n)
}

// pagesOf returns the pages of the spaces that want accepts.
func pagesOf(want func(space) bool) (list []page) {
	for _, sp := range confluenceSpaceList {
		for n := 1; want(sp) && n <= pagesPerSpace; n++ {
			list = append(list, page{sp, n})
		}
	}
	return list
}

// confluenceRoutes are the stubs of both versions of Confluence's API.
func (s *Sim) confluenceRoutes(mux *http.ServeMux) {
	for path, inner := range map[string]stub{
		"api/v2/spaces":            s.spacesV2,
		"api/v2/spaces/{id}":       s.spaceV2,
		"api/v2/spaces/{id}/pages": s.pagesV2,
		"api/v2/pages":             s.pagesV2,
		"api/v2/pages/{id}":        s.pageV2,
		"rest/api/user/current":    s.confluenceUser,
		"rest/api/space":           s.spacesV1,
		"rest/api/space/{key}":     s.spaceV1,
		"rest/api/content":         s.contentV1,
		"rest/api/content/search":  s.contentV1,
		"rest/api/content/{id}":    s.contentByID,
	} {
		mux.HandleFunc("GET /ex/confluence/{cloudid}/wiki/"+path, s.api(EndpointAPI, s.product(productConfluence, inner)))
	}
}

func (s *Sim) confluenceUser(_ *http.Request, c caller, _ *Site) answer {
	return jsonAnswer(http.StatusOK, map[string]any{
		"type": "known", "accountId": c.account.ID, "accountType": "atlassian", "email": c.account.Email,
		"publicName": c.account.Name, "displayName": c.account.Name,
	})
}

func spaceJSON(sp space, site *Site) map[string]any {
	return map[string]any{
		"id": sp.id, "key": sp.key, "name": site.Name + " " + sp.key, "type": "global", "status": "current",
		"_links": map[string]any{"webui": "/spaces/" + sp.key, "self": site.URL + "/wiki/rest/api/space/" + sp.key},
	}
}

func (s *Sim) spacesV1(r *http.Request, _ caller, site *Site) answer {
	return listV1(r, site, confluenceSpaceList, func(sp space) any { return spaceJSON(sp, site) })
}

func (s *Sim) spaceV1(r *http.Request, _ caller, site *Site) answer {
	for _, sp := range confluenceSpaceList {
		if sp.key == r.PathValue("key") {
			return jsonAnswer(http.StatusOK, spaceJSON(sp, site))
		}
	}
	return confluenceError(http.StatusNotFound, "No space with key : "+r.PathValue("key"))
}

// contentJSON is a page as the older API shows it, with everything that a caller
// may have asked for by expand.
func contentJSON(p page, site *Site) map[string]any {
	return map[string]any{
		"id": p.id(), "type": "page", "status": "current", "title": p.title(), "space": spaceJSON(p.space, site),
		"version": map[string]any{"number": 1, "when": p.created(), "minorEdit": false},
		"body":    map[string]any{"storage": map[string]any{"value": p.body(), "representation": "storage"}},
		"_links":  map[string]any{"webui": "/spaces/" + p.space.key + "/pages/" + p.id(), "self": site.URL + "/wiki/rest/api/content/" + p.id()},
	}
}

// contentV1 lists pages, by spaceKey and title or by a CQL with space = KEY.
func (s *Sim) contentV1(r *http.Request, _ caller, site *Site) answer {
	q := r.URL.Query()
	key, title, cql := q.Get("spaceKey"), q.Get("title"), strings.NewReplacer(" ", "", `"`, "").Replace(q.Get("cql"))
	list := pagesOf(func(sp space) bool {
		return (key == "" || key == sp.key) && (!strings.Contains(cql, "space=") || strings.Contains(cql, "space="+sp.key))
	})
	if title != "" {
		list = slices.DeleteFunc(list, func(p page) bool { return p.title() != title })
	}
	return listV1(r, site, list, func(p page) any { return contentJSON(p, site) })
}

func (s *Sim) contentByID(r *http.Request, _ caller, site *Site) answer {
	if p, ok := pageByID(r.PathValue("id")); ok {
		return jsonAnswer(http.StatusOK, contentJSON(p, site))
	}
	return confluenceError(http.StatusNotFound, "No content found with id: ContentId{id="+r.PathValue("id")+"}")
}

func pageByID(id string) (page, bool) {
	all := pagesOf(func(space) bool { return true })
	if at := slices.IndexFunc(all, func(p page) bool { return p.id() == id }); at >= 0 {
		return all[at], true
	}
	return page{}, false
}

// listV1 pages by start and limit. _links.next is relative to base and context.
func listV1[T any](r *http.Request, site *Site, all []T, show func(T) any) answer {
	q := r.URL.Query()
	start, limit, err := paging(q.Get("start"), q.Get("limit"))
	if err != nil {
		return confluenceError(http.StatusBadRequest, err.Error())
	}
	results := []any{}
	for _, x := range slice(all, start, limit) {
		results = append(results, show(x))
	}
	path := confluencePath(r)
	links := map[string]any{"base": site.URL + "/wiki", "context": "/wiki", "self": site.URL + "/wiki" + path}
	if end := start + len(results); end < len(all) {
		q.Set("start", strconv.Itoa(end))
		q.Set("limit", strconv.Itoa(limit))
		links["next"] = path + "?" + q.Encode()
	}
	return jsonAnswer(http.StatusOK, map[string]any{
		"results": results, "start": start, "limit": limit, "size": len(results), "_links": links,
	})
}

// confluencePath is the called path below /wiki.
func confluencePath(r *http.Request) string {
	_, path, _ := strings.Cut(r.URL.Path, "/wiki/")
	return "/" + path
}

// confluenceError is an error of the older API, behind the gateway.
func confluenceError(status int, message string) answer {
	return jsonAnswer(status, map[string]any{"statusCode": status, "message": message})
}
