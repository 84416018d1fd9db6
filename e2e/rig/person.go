package rig

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"testing"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// formAction finds the first form of a page. The pages are the product's and
// the test providers'; the tests with a browser show that people can use them.
var formAction = regexp.MustCompile(`<form[^>]*\saction="([^"]*)"`)

// Consent takes a person through a whole consent, without a browser: every page's
// first form is sent, with the account, until the broker says that it is done.
func (d *Deployment) Consent(t testing.TB, a App, subject, account string) {
	t.Helper()
	link, err := d.Consents.StartConsent(t.Context(), &holdfastv1.StartConsentRequest{Address: a.Address(subject)})
	if err != nil {
		t.Fatal(err)
	}
	d.follow(t, link.GetUrl(), account)
	got, err := d.Consents.GetConsent(t.Context(), &holdfastv1.GetConsentRequest{ConsentId: link.GetConsentId()})
	if err != nil {
		t.Fatal(err)
	}
	if status := got.GetConsent().GetStatus(); status != holdfastv1.ConsentStatus_CONSENT_STATUS_DONE {
		t.Fatalf("the consent of %s ended as %v (%s), want done", subject, status, got.GetConsent().GetDetail())
	}
}

// Person is a new person's browser without scripts and styles: it keeps cookies,
// and trusts the deployment's certificates.
func (d *Deployment) Person(t testing.TB) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	person := &http.Client{Jar: jar, Timeout: Patience, Transport: &http.Transport{TLSClientConfig: d.pki.client(t, "")}}
	t.Cleanup(person.CloseIdleConnections)
	return person
}

// follow opens a link and sends forms until a page has none.
func (d *Deployment) follow(t testing.TB, link, account string) {
	t.Helper()
	person := d.Person(t)
	// The simulator accepts without a page; this is how it is told who accepts.
	person.CheckRedirect = func(req *http.Request, _ []*http.Request) error {
		if q := req.URL.Query(); req.URL.Path == "/authorize" {
			q.Set("sim_account", account)
			req.URL.RawQuery = q.Encode()
		}
		return nil
	}
	const most = 6 // connect, log in, allow, and some in reserve
	ask := func() (*http.Response, error) { return person.Get(link) }
	for range most {
		resp, err := ask()
		if err != nil {
			t.Fatalf("consenting: %v", err)
		}
		page, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatalf("reading the page %s: %v", resp.Request.URL.Path, err)
		}
		form := formAction.FindSubmatch(page)
		if form == nil {
			return
		}
		action, err := resp.Request.URL.Parse(html.UnescapeString(string(form[1])))
		if err != nil {
			t.Fatal(err)
		}
		ask = func() (*http.Response, error) {
			return person.PostForm(action.String(), url.Values{"account": {account}})
		}
	}
	t.Fatalf("after %d forms the consent still shows another one", most)
}
