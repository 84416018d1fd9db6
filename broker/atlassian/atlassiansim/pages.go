package atlassiansim

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"slices"
)

//go:embed pages/*.html
var pageFiles embed.FS

var pages = template.Must(template.ParseFS(pageFiles, "pages/*.html"))

// field is a hidden form field.
type field struct{ Name, Value string }

// fields turns the request's parameters into hidden fields, in a fixed order.
func fields(q url.Values, without ...string) (list []field) {
	for k := range q {
		if !slices.Contains(without, k) {
			list = append(list, field{k, q.Get(k)})
		}
	}
	slices.SortFunc(list, func(a, b field) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return list
}

// ask shows the choice of an account or, once one is chosen, of a site.
func (s *Sim) ask(w http.ResponseWriter, a authorization, accountID string) {
	account := s.account(accountID)
	if account == nil {
		render(w, http.StatusOK, "account.html", map[string]any{
			"Title": "Choose an account", "App": a.app.Name, "Accounts": s.cfg.Accounts,
			"Fields": append(fields(a.query, "sim_account", "sim_consent"), field{"sim_consent", "ask"}),
		})
		return
	}
	back := url.Values{}
	for k, v := range a.query {
		back[k] = v
	}
	back.Del("sim_account")
	render(w, http.StatusOK, "consent.html", map[string]any{
		"Title": "Grant access", "App": a.app.Name, "Account": account, "Scopes": a.scopes,
		"Sites":  s.choices(account, a.scopes),
		"Fields": append(fields(a.query, "sim_account", "sim_site", "sim_consent"), field{"sim_account", account.ID}),
		"Back":   "/authorize?" + back.Encode(),
		"Level":  a.app.Level,
	})
}

// handleError is the provider's own error page.
func (s *Sim) handleError(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	render(w, http.StatusBadRequest, "error.html", map[string]any{
		"Title": "Something went wrong", "Error": q.Get("error"), "Description": q.Get("error_description"),
	})
}

// handleIndex tells a person where they are.
func (s *Sim) handleIndex(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	data := map[string]any{"Title": "Atlassian simulator", "Now": s.now(), "Families": len(s.st.Families), "Posts": s.st.Posts, "Faults": len(s.faults)}
	s.mu.Unlock()
	render(w, http.StatusOK, "index.html", data)
}

func render(w http.ResponseWriter, status int, page string, data map[string]any) {
	var out bytes.Buffer
	if err := pages.ExecuteTemplate(&out, page, data); err != nil {
		http.Error(w, "simulator: the page could not be made", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	w.WriteHeader(status)
	_, _ = out.WriteTo(w) // fails if the browser is gone
}
