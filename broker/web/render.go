package web

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"strconv"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/storage"
)

//go:embed templates
var templateFiles embed.FS

// pages are the parsed templates: a layout and one body each.
type pages struct{ byName map[string]*template.Template }

func loadPages(a *assets) *pages {
	p := &pages{byName: make(map[string]*template.Template)}
	layout := template.Must(template.New("layout.html").Funcs(template.FuncMap{"asset": a.url}).
		ParseFS(templateFiles, "templates/layout.html"))
	for _, name := range []string{"connect", "result", "problem"} {
		p.byName[name] = template.Must(template.Must(layout.Clone()).ParseFS(templateFiles, "templates/"+name+".html"))
	}
	return p
}

// view is what a template may show. All of it is text: html/template escapes it.
type view struct {
	Tone          tone
	Heading, Lead string
	// Note stands above the lead.
	Note string
	// Detail is the broker's own sentence about this case.
	Detail string
	Next   []string
	Facts  *facts
	// Refresh is the seconds after which the page loads itself again; 0: never.
	Refresh   int
	Reference string
	// Back is a path on this handler; BackText its label, "Go back" if empty.
	Back, BackText string
	ReturnURL      string
	Connect        *connectView
	Confirm        *confirmView
}

// facts say which grant a page is about.
type facts struct {
	Product, Tenant, Subject, Name, App string
	// Account that consented, by its id at the provider.
	Account string
	Sites   []storage.Site
}

type connectView struct {
	Action                          string
	Product, Provider, ProviderHost string
	Scopes                          []scopeWords
	Notes                           []string
	Warning                         string
	Until                           string
}

type confirmView struct {
	Action string
	Scopes []scopeWords
	Sites  []storage.Site
}

func factsOfView(c *broker.ConnectView) *facts {
	return &facts{Product: c.ProductName, Tenant: c.Tenant, Subject: c.Subject, Name: unlessDefault(c.Name), App: c.App}
}

func factsOf(o *broker.ConsentOutcome) *facts {
	if o.Address == (storage.Address{}) {
		return nil
	}
	product := o.ProductName
	if product == "" {
		product = o.Address.Product
	}
	return &facts{Product: product, Tenant: o.Address.Tenant, Subject: o.Address.Subject,
		Name: unlessDefault(o.Address.Name), Account: o.Account, Sites: o.Sites}
}

func unlessDefault(name string) string {
	if name == storage.DefaultName {
		return ""
	}
	return name
}

// render writes a page whole or not at all: a template that fails half-way must
// not leave half a security decision on the screen.
func (s *site) render(w http.ResponseWriter, r *http.Request, code int, name string, v view) {
	var b bytes.Buffer
	if err := s.pages.byName[name].ExecuteTemplate(&b, "layout.html", v); err != nil {
		s.log.Error("rendering a page", "request_id", requestID(r), "page", name, "error", err)
		http.Error(w, "internal error, reference "+requestID(r), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(code)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b.Bytes()) // a browser that went away is nobody's error
	}
}
