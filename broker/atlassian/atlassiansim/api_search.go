package atlassiansim

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
)

// searchRequest is what the two searches take, in the query or as a JSON body.
type searchRequest struct {
	JQL           string `json:"jql"`
	StartAt       int    `json:"startAt"`
	MaxResults    int    `json:"maxResults"`
	NextPageToken string `json:"nextPageToken"`
}

func readSearch(r *http.Request) (q searchRequest, err error) {
	if r.Method == http.MethodPost {
		// Further fields, such as the wanted fields, change nothing here.
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
			return q, errors.New("invalid request payload")
		}
	} else {
		q.JQL, q.NextPageToken = r.FormValue("jql"), r.FormValue("nextPageToken")
		q.StartAt, q.MaxResults, err = paging(r.FormValue("startAt"), r.FormValue("maxResults"))
	}
	q.StartAt = max(0, q.StartAt)
	if q.MaxResults <= 0 || q.MaxResults > maxPage {
		q.MaxResults = defaultPage
	}
	return q, err
}

// jiraSearch pages by startAt.
func (s *Sim) jiraSearch(r *http.Request, c caller, site *Site) answer {
	q, err := readSearch(r)
	if err != nil {
		return jiraError(http.StatusBadRequest, err.Error())
	}
	all := issues(q.JQL)
	return jsonAnswer(http.StatusOK, map[string]any{
		"startAt": q.StartAt, "maxResults": q.MaxResults, "total": len(all),
		"issues": issueList(r, slice(all, q.StartAt, q.MaxResults), c, site),
	})
}

// jiraSearchJQL pages by nextPageToken and tells no total. Without a restriction
// in the JQL Atlassian refuses it; so does the simulator.
func (s *Sim) jiraSearchJQL(r *http.Request, c caller, site *Site) answer {
	q, err := readSearch(r)
	if err != nil {
		return jiraError(http.StatusBadRequest, err.Error())
	}
	if where, _, _ := strings.Cut(strings.ToLower(q.JQL), "order by"); strings.TrimSpace(where) == "" {
		return jiraError(http.StatusBadRequest, "Unbounded JQL queries are not allowed here. Please add a search restriction to your query.")
	}
	at, ok := cursorOffset(q.NextPageToken)
	if !ok {
		return jiraError(http.StatusBadRequest, "The provided next page token is invalid.")
	}
	all := issues(q.JQL)
	page := slice(all, at, q.MaxResults)
	body := map[string]any{"issues": issueList(r, page, c, site), "isLast": true}
	if end := at + len(page); end < len(all) {
		body["isLast"], body["nextPageToken"] = false, cursor(end)
	}
	return jsonAnswer(http.StatusOK, body)
}

func issueList(r *http.Request, page []issue, c caller, site *Site) []any {
	list := []any{}
	for _, i := range page {
		list = append(list, issueJSON(r, i, c, site))
	}
	return list
}

func (s *Sim) jiraCount(r *http.Request, _ caller, _ *Site) answer {
	q, err := readSearch(r)
	if err != nil {
		return jiraError(http.StatusBadRequest, err.Error())
	}
	return jsonAnswer(http.StatusOK, map[string]any{"count": len(issues(q.JQL))})
}

const defaultPage, maxPage = 50, 250

// paging parses an offset and a page's size; empty: 0 and the default.
func paging(at, most string) (int, int, error) {
	number := func(text string, otherwise int) (int, error) {
		if text == "" {
			return otherwise, nil
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return 0, errors.New("the paging parameter '" + text + "' is no number of 0 or more")
		}
		return n, nil
	}
	offset, err := number(at, 0)
	if err != nil {
		return 0, 0, err
	}
	size, err := number(most, defaultPage)
	return offset, min(size, maxPage), err
}

// slice returns at most n elements from the given one on.
func slice[T any](all []T, from, n int) []T {
	from = min(from, len(all))
	return all[from:min(from+n, len(all))]
}

// cursor of a page that begins at an offset: opaque, as Atlassian's are.
func cursor(offset int) string {
	return base64.RawURLEncoding.EncodeToString([]byte("at:" + strconv.Itoa(offset)))
}

// cursorOffset undoes cursor; an empty one is the first page's.
func cursorOffset(text string) (int, bool) {
	if text == "" {
		return 0, true
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	digits, ok := strings.CutPrefix(string(raw), "at:")
	if err != nil || !ok {
		return 0, false
	}
	offset, err := strconv.Atoi(digits)
	return offset, err == nil && offset >= 0
}
