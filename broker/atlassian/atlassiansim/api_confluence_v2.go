package atlassiansim

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

func spaceV2JSON(sp space, site *Site) map[string]any {
	body := maps.Clone(spaceJSON(sp, site))
	body["id"] = strconv.Itoa(sp.id) // ids are strings in the newer API
	body["_links"] = map[string]any{"webui": "/spaces/" + sp.key}
	return body
}

func (s *Sim) spacesV2(r *http.Request, _ caller, site *Site) answer {
	keys := listed(r.URL.Query(), "keys")
	all := slices.DeleteFunc(slices.Clone(confluenceSpaceList), func(sp space) bool { return len(keys) > 0 && !slices.Contains(keys, sp.key) })
	return listV2(r, site, all, func(sp space) any { return spaceV2JSON(sp, site) })
}

func (s *Sim) spaceV2(r *http.Request, _ caller, site *Site) answer {
	for _, sp := range confluenceSpaceList {
		if strconv.Itoa(sp.id) == r.PathValue("id") {
			return jsonAnswer(http.StatusOK, spaceV2JSON(sp, site))
		}
	}
	return notFoundV2()
}

func pageV2JSON(p page, c caller) map[string]any {
	return map[string]any{
		"id": p.id(), "status": "current", "title": p.title(), "spaceId": strconv.Itoa(p.space.id), "parentType": "page",
		"authorId": c.account.ID, "createdAt": p.created(), "position": p.n,
		"version": map[string]any{"number": 1, "createdAt": p.created(), "authorId": c.account.ID, "message": "", "minorEdit": false},
		"body":    map[string]any{"storage": map[string]any{"value": p.body(), "representation": "storage"}},
		"_links":  map[string]any{"webui": "/spaces/" + p.space.key + "/pages/" + p.id()},
	}
}

// pagesV2 of all spaces, of one by path, or of several by space-id.
func (s *Sim) pagesV2(r *http.Request, c caller, site *Site) answer {
	ids := listed(r.URL.Query(), "space-id")
	if id := r.PathValue("id"); id != "" {
		ids = []string{id}
	}
	all := pagesOf(func(sp space) bool { return len(ids) == 0 || slices.Contains(ids, strconv.Itoa(sp.id)) })
	return listV2(r, site, all, func(p page) any { return pageV2JSON(p, c) })
}

func (s *Sim) pageV2(r *http.Request, c caller, _ *Site) answer {
	if p, ok := pageByID(r.PathValue("id")); ok {
		return jsonAnswer(http.StatusOK, pageV2JSON(p, c))
	}
	return notFoundV2()
}

// listed reads a parameter that may be given several times or separated by commas.
func listed(q url.Values, name string) (values []string) {
	for _, v := range q[name] {
		values = append(values, strings.Split(v, ",")...)
	}
	return values
}

// listV2 pages by cursor; the way to the next page stands in _links.next and in the
// Link header.
func listV2[T any](r *http.Request, site *Site, all []T, show func(T) any) answer {
	q := r.URL.Query()
	at, ok := cursorOffset(q.Get("cursor"))
	_, limit, err := paging("", q.Get("limit"))
	if !ok || err != nil {
		return errorV2(http.StatusBadRequest, "INVALID_REQUEST_PARAMETER", "Provided value for 'cursor' or 'limit' is not valid")
	}
	results := []any{}
	for _, x := range slice(all, at, limit) {
		results = append(results, show(x))
	}
	links, header := map[string]any{"base": site.URL + "/wiki"}, ""
	if end := at + len(results); end < len(all) {
		q.Set("cursor", cursor(end))
		q.Set("limit", strconv.Itoa(limit))
		next := "/wiki" + confluencePath(r) + "?" + q.Encode()
		links["next"], header = next, "<"+next+`>; rel="next"`
	}
	ans := jsonAnswer(http.StatusOK, map[string]any{"results": results, "_links": links})
	if header != "" {
		ans.header["Link"] = header
	}
	return ans
}

func notFoundV2() answer { return errorV2(http.StatusNotFound, "NOT_FOUND", "Not Found") }

func errorV2(status int, code, title string) answer {
	return jsonAnswer(status, map[string]any{"errors": []any{map[string]any{"status": status, "code": code, "title": title, "detail": nil}}})
}
