package e2e

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// evil is another website, which a person is lured to.
type evil struct {
	url      string
	mu       sync.Mutex
	referers []string
}

// startEvil serves a page with a form that posts to the target, one that frames
// it, and notes from where people come.
func startEvil(t *testing.T, target string) *evil {
	t.Helper()
	e := &evil{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		e.referers = append(e.referers, r.URL.Path+" "+r.Referer())
		e.mu.Unlock()
		w.Header().Set("Content-Type", "text/html")
		switch r.URL.Path {
		case "/post":
			_, _ = fmt.Fprintf(w, `<form method="post" action="%s"><button>A nice thing</button></form>`, html.EscapeString(target))
		case "/frame":
			_, _ = fmt.Fprintf(w, `<h1>frames</h1><iframe src="%s"></iframe>`, html.EscapeString(target))
		default:
			_, _ = fmt.Fprint(w, `<h1>here</h1>`)
		}
	}))
	t.Cleanup(server.Close)
	// Another site to a browser than the broker's 127.0.0.1.
	e.url = strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	return e
}

// What the headers and cookies promise is kept by a browser: the pages run no
// script, are in no frame, take no post from elsewhere, and tell nobody of the link.
func TestABrowserHoldsOtherWebsitesOffThePages(t *testing.T) {
	_, b, server := startWithLog(t)
	br := startBrowser(t)
	link := b.startConsent(t, jira)
	site := startEvil(t, link.GetUrl())
	heading := chromedp.CSS("h1")

	// A page that a browser shows asks for its style sheet; before, since later it has that.
	frame := chromedp.Poll[bool](`document.readyState === "complete"`)
	br.do(t, "another website's frame", chromedp.Navigate(site.url+"/frame"), chromedp.WaitVisible(heading))
	if _, err := chromedp.Run(br.ctx, frame); err != nil {
		t.Fatal(err)
	}
	if said := server.Output(); !strings.Contains(said, "GET /connect/{link}") || strings.Contains(said, "GET /static/") {
		t.Error("another website's frame did not ask for the connect page, or showed it")
	}

	br.do(t, "another website's form", chromedp.Navigate(site.url+"/post"), chromedp.Click(chromedp.CSS("button")), chromedp.WaitVisible(heading))
	if text := br.text(t); !strings.Contains(text, "This request came from a different website") {
		t.Errorf("another website's post was answered with\n%s", text)
	}
	got, err := b.Consents.GetConsent(t.Context(), &holdfastv1.GetConsentRequest{ConsentId: link.GetConsentId()})
	if err != nil || got.GetConsent().GetStatus() != holdfastv1.ConsentStatus_CONSENT_STATUS_PENDING {
		t.Errorf("after another website's post the consent is %v, %v", got.GetConsent().GetStatus(), err)
	}

	br.do(t, "the connect page", chromedp.Navigate(link.GetUrl()), chromedp.WaitVisible(heading))
	if !strings.Contains(server.Output(), "GET /static/") {
		t.Error("a page that is shown asked for no style sheet; the look at the frame has shown nothing")
	}
	for _, attempt := range []string{
		`let s = document.createElement("script"); s.textContent = "window.ran = true"; document.head.append(s)`,
		`let i = document.createElement("img"); i.setAttribute("onerror", "window.ran = true"); i.src = "data:,x"; document.body.append(i)`,
		`let a = document.createElement("a"); a.href = "javascript:window.ran = true"; document.body.append(a); a.click()`,
	} {
		br.do(t, "a script on the page", chromedp.Evaluate[chromedp.Void]("{"+attempt+"}"))
	}
	if ran := ask[bool](t, br, "window.ran === true"); ran {
		t.Error("a script in the page ran")
	}
	br.do(t, "leaving the page", chromedp.Evaluate[chromedp.Void](fmt.Sprintf("location = %q", site.url+"/left")), chromedp.WaitVisible(chromedp.CSS("h1")))
	br.do(t, "being there", chromedp.Navigate(site.url+"/after"))
	site.mu.Lock()
	defer site.mu.Unlock()
	for _, r := range site.referers {
		if strings.Contains(r, b.Where.HTTP) {
			t.Errorf("another website was told where the person came from: %s", r)
		}
	}
	if !strings.Contains(strings.Join(site.referers, "\n"), "/left ") {
		t.Errorf("the browser did not leave the page: %q", site.referers)
	}
}

func TestTheCookieOfAConsentIsForThisHostAloneAndNotForScripts(t *testing.T) {
	_, b := start(t)
	br := startBrowser(t)
	b.consent(t, br, jira, "ada")
	if seen := ask[string](t, br, "document.cookie"); seen != "" {
		t.Errorf("scripts see the cookie %.20q", seen)
	}
	cookies, err := chromedp.Run(br.ctx, func(ctx context.Context, s *chromedp.Target) (network.GetCookiesResult, error) {
		return cdp.Call(ctx, s, network.GetCookies, network.GetCookiesParams{URLs: []string{"https://" + b.Where.HTTP}})
	})
	if err != nil {
		t.Fatal(err)
	}
	ours := 0
	for _, c := range cookies.Cookies {
		if !strings.Contains(c.Name, "holdfast") {
			continue // the provider's: cookies know no ports
		}
		ours++
		if !strings.HasPrefix(c.Name, "__Host-holdfast-consent-") || !c.Secure || !c.HTTPOnly || c.Path != "/" || c.SameSite != network.CookieSameSiteLax {
			t.Errorf("the cookie %s has Secure %t, HttpOnly %t, path %q, SameSite %q", c.Name, c.Secure, c.HTTPOnly, c.Path, c.SameSite)
		}
	}
	if ours != 1 {
		t.Errorf("the browser holds %d of the broker's cookies, want 1", ours)
	}
	if address := ask[string](t, br, "location.href"); strings.ContainsAny(address, "?#") {
		t.Errorf("the last page's address still holds what the provider sent: %s", address)
	}
	if n := ask[int](t, br, `performance.getEntriesByType("resource").filter(e => !e.name.startsWith(location.origin)).length`); n != 0 {
		t.Errorf("the page loaded %d things from elsewhere", n)
	}
}

// ask evaluates an expression in the page.
func ask[T any](t *testing.T, b *browser, expression string) T {
	t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return v
}
