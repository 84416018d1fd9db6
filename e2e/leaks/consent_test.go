package leaks

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/holdfast-io/holdfast/e2e/rig"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// visit is a consent under way in one browser, which stands before each redirect.
type visit struct {
	w      *world
	person *http.Client
	link   *holdfastv1.StartConsentResponse
	// callback is where the provider sends the browser.
	callback string
}

// toProvider opens a new link and goes through the provider, up to the callback.
func (w *world) toProvider(a rig.App) *visit {
	w.t.Helper()
	started, err := w.Consents.StartConsent(w.t.Context(), &holdfastv1.StartConsentRequest{Address: a.Address(subject)})
	if err != nil {
		w.t.Fatal(err)
	}
	v := &visit{w: w, person: w.Person(w.t), link: started}
	v.person.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	w.plantLink(started.GetUrl())
	v.get(started.GetUrl(), link)
	// The answer carries the state to the provider: that is what it is for.
	resp, _ := v.send(http.MethodPost, started.GetUrl(), state)
	at, err := resp.Location()
	if err != nil {
		w.t.Fatalf("continuing answered %s without a redirect", resp.Status)
	}
	q := at.Query()
	w.scan.plantState(q.Get("state"))
	q.Set("sim_account", account())
	at.RawQuery = q.Encode()
	back, err := v.person.Get(at.String())
	if err != nil {
		w.t.Fatal(err)
	}
	_ = back.Body.Close()
	if at, err = back.Location(); err != nil {
		w.t.Fatalf("the provider answered %s without a redirect", back.Status)
	}
	v.callback = at.String()
	return v
}

func (w *world) plantLink(text string) {
	w.scan.plant(link, randomOf(text[strings.LastIndex(text, "/")+1:])) // its signature
}

func (v *visit) get(address string, but ...string) (*http.Response, []byte) {
	v.w.t.Helper()
	return v.send(http.MethodGet, address, but...)
}

func (v *visit) send(method, address string, but ...string) (*http.Response, []byte) {
	v.w.t.Helper()
	req, err := http.NewRequestWithContext(v.w.t.Context(), method, address, nil)
	if err != nil {
		v.w.t.Fatal(err)
	}
	return v.w.page(v.person, req, but...)
}

// finish follows the callback to the consent's page.
func (v *visit) finish() (*http.Response, []byte) {
	v.w.t.Helper()
	resp, body := v.get(v.callback)
	for resp.StatusCode == http.StatusSeeOther {
		at, err := resp.Location()
		if err != nil {
			v.w.t.Fatal(err)
		}
		resp, body = v.get(at.String())
	}
	return resp, body
}

// consent goes the whole way of a grant.
func (w *world) consent(a rig.App) *visit {
	w.t.Helper()
	v := w.toProvider(a)
	if resp, body := v.finish(); resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "Permission granted") {
		w.t.Fatalf("the consent ended with %s:\n%s", resp.Status, body)
	}
	return v
}

// everyPage opens every page of a consent that ended, and what goes wrong there.
func (w *world) everyPage() {
	w.t.Helper()
	v := w.consent(w.jira)
	base := "https://" + w.Where.HTTP
	v.get(v.callback)                                                  // again
	v.get(base + "/consents/" + v.link.GetConsentId())                 // its page
	v.get(v.link.GetUrl(), link)                                       // a used link
	v.send(http.MethodPost, v.link.GetUrl(), link)                     // pressed again
	v.send(http.MethodPut, v.link.GetUrl(), link)                      // a wrong method
	v.get(v.link.GetUrl()[:len(v.link.GetUrl())-5] + "AAAAA")          // a forged link
	v.get(strings.Replace(v.callback, "code=", "code=A", 1))           // another code for a used state
	v.get(v.callback + "&" + url.Values{"code": {"b"}}.Encode())       // two codes
	v.get(v.callback + "&iss=https%3A%2F%2Fevil.example")              // a foreign issuer
	v.get(strings.Replace(v.callback, "state=cns_", "state=cns_b", 1)) // a state of nobody

	stranger := *v
	stranger.person = w.Person(w.t)
	stranger.person.CheckRedirect = v.person.CheckRedirect
	stranger.finish()
	stranger.get(base + "/consents/" + v.link.GetConsentId())

	denied := w.toProvider(w.jira)
	at, err := url.Parse(denied.callback)
	if err != nil {
		w.t.Fatal(err)
	}
	q := at.Query()
	q.Set("error", "access_denied")
	q.Set("error_description", q.Get("code"))
	q.Del("code")
	at.RawQuery = q.Encode()
	denied.callback = at.String()
	denied.finish()

	wrong := w.toProvider(w.jira)
	wrong.callback = strings.Replace(wrong.callback, "code=", "code="+w.canary(code), 1)
	wrong.finish()

	for _, path := range []string{"/", "/healthz", "/readyz", "/metrics", "/debug/pprof/", "/debug/pprof/goroutine?debug=2", "/debug/vars",
		"/problems/internal", "/consents/x/confirm", "/oauth/callback", "/static/x/y", "/" + w.canary(planted)} {
		for _, host := range []string{base, "http://" + w.Where.Metrics} {
			resp, _ := v.get(host + path)
			if strings.HasPrefix(path, "/debug") && resp.StatusCode != http.StatusNotFound {
				w.t.Errorf("%s%s answered %s: what it shows has to be looked at by this test first", host, path, resp.Status)
			}
		}
	}
}
