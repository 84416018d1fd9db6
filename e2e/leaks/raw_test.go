package leaks

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/e2e/rig"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// status of the visit's consent, as the one who started it sees it.
func (v *visit) status() holdfastv1.ConsentStatus {
	v.w.t.Helper()
	got, err := v.w.Consents.GetConsent(v.w.t.Context(), &holdfastv1.GetConsentRequest{ConsentId: v.link.GetConsentId()})
	if err != nil {
		v.w.t.Fatal(err)
	}
	return got.GetConsent().GetStatus()
}

// State fixation, replay and injection, with a whole callback that is real: a
// thief has begun a consent and sends where it would end to somebody else.
func TestRawCallbacksOfStrangersChangeNothing(t *testing.T) {
	w := newWorld(t, "text", "", "")
	w.serve()
	thief, victim := w.toProvider(w.jira), w.toProvider(w.wiki)
	const waiting = holdfastv1.ConsentStatus_CONSENT_STATUS_AT_PROVIDER
	posts := func() int { return w.sim.Ledger(t).TokenPosts }
	before := posts()

	query := func(callback, name string) string {
		u, err := url.Parse(callback)
		if err != nil {
			t.Fatal(err)
		}
		return u.Query().Get(name)
	}
	base := "https://" + w.Where.HTTP + "/oauth/callback?"
	for name, target := range map[string]string{
		"the thief's whole callback":         thief.callback,
		"the thief's state, the own code":    base + url.Values{"state": {query(thief.callback, "state")}, "code": {query(victim.callback, "code")}}.Encode(),
		"a state of nobody":                  base + "state=cns_none.x&code=y",
		"the own consent with another state": base + "code=y&state=" + victim.link.GetConsentId() + ".AAAAAAAAAAAAAAAAAAAAAAAAAA",
		"two states":                         victim.callback + "&state=x",
		"no state":                           base + "code=y",
		"two issuers":                        victim.callback + "&iss=a&iss=b",
	} {
		asked := &visit{w: w, person: victim.person, link: victim.link, callback: target}
		if resp, _ := asked.finish(); resp.StatusCode < 400 {
			t.Errorf("%s: the victim's browser got %s", name, resp.Status)
		}
	}
	if thief.status() != waiting || victim.status() != waiting || posts() != before {
		t.Fatalf("foreign callbacks made the consents %v and %v, with %d token requests", thief.status(), victim.status(), posts()-before)
	}

	if resp, _ := victim.finish(); resp.StatusCode != http.StatusOK {
		t.Fatalf("the rightful callback ended with %s", resp.Status)
	}
	after := posts()
	victim.finish()
	replay := &visit{w: w, person: thief.person, link: victim.link, callback: victim.callback}
	if resp, body := replay.finish(); resp.StatusCode < 400 || strings.Contains(string(body), "acme") {
		t.Errorf("a replay in another browser got %s", resp.Status)
	}
	if posts() != after || after != before+1 {
		t.Errorf("one consent and two replays made %d token requests, want 1", posts()-before)
	}
}

// raw sends bytes as they are and reads one answer; nil: the connection was closed.
func (w *world) raw(request string) *http.Response {
	w.t.Helper()
	config := w.Person(w.t).Transport.(*http.Transport).TLSClientConfig.Clone()
	conn, err := tls.Dial("tcp", w.Where.HTTP, config)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(rig.Patience)) // of an open connection
	_, _ = io.WriteString(conn, request)               // it may be refused before all of it is sent
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp
}

func TestRawRequestsThatAreNoRequestsAreRefused(t *testing.T) {
	w := newWorld(t, "text", "", "")
	w.serve()
	v := w.toProvider(w.jira)
	at, err := url.Parse(v.link.GetUrl())
	if err != nil {
		t.Fatal(err)
	}
	own := fmt.Sprintf(" HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", w.Where.HTTP)
	const evil = "evil.example"
	for _, row := range []struct {
		name, request string
		codes         []int // 0: no answer
	}{
		{"a post of another website", "POST " + at.Path + own + "Origin: https://" + evil + "\r\nContent-Length: 0\r\n\r\n", []int{403}},
		{"a post that a browser calls foreign", "POST " + at.Path + own + "Sec-Fetch-Site: cross-site\r\nContent-Length: 0\r\n\r\n", []int{403}},
		{"a post of a sandboxed frame", "POST " + at.Path + own + "Origin: null\r\nContent-Length: 0\r\n\r\n", []int{403}},
		{"a method that is not there", "TRACE " + at.Path + own + "\r\n", []int{405}},
		{"a method of nobody", "STEAL /oauth/callback" + own + "\r\n", []int{405}},
		{"a tunnel", "CONNECT " + evil + ":443" + own + "\r\n", []int{400, 404, 405}},
		{"new lines in a parameter", "GET /oauth/callback?state=x%0d%0aSet-Cookie:%20a=b&code=%0d%0aLocation:%20https://" + evil + own + "\r\n", []int{303, 400}},
		{"new lines in a path", "GET /consents/x%0d%0aSet-Cookie:%20a=b" + own + "\r\n", []int{404}},
		{"two slashes", "GET //" + evil + "/%2e%2e" + own + "\r\n", []int{301, 307, 404}},
		{"a backslash", "GET /\\" + evil + "/.." + own + "\r\n", []int{301, 307, 400, 404}},
		{"a whole address", "GET https://" + evil + "/problems/internal" + own + "\r\n", []int{500}},
		{"a header of a megabyte", "GET /" + own + "X-A: " + strings.Repeat("a", 1<<20) + "\r\n\r\n", []int{0, 431}},
		{"an address of 100 KiB", "GET /oauth/callback?state=" + strings.Repeat("a", 100<<10) + own + "\r\n", []int{414, 431}},
		{"a body of a megabyte", "POST /consents/x/confirm" + own + "Content-Length: 1048576\r\n\r\n" + strings.Repeat("a", 1<<20), []int{0, 403}},
		{"no host", "GET / HTTP/1.1\r\n\r\n", []int{400}},
		{"no request", "\x16\x03\x01 GET\r\n\r\n", []int{400}},
	} {
		resp, got := w.raw(row.request), 0
		if resp != nil {
			got = resp.StatusCode
			if location := resp.Header.Get("Location"); strings.HasPrefix(location, "//") || strings.HasPrefix(location, "/\\") || strings.Contains(location, "://") {
				t.Errorf("%s: leads to %s", row.name, location)
			}
			if len(resp.Header.Values("Set-Cookie")) > 0 {
				t.Errorf("%s: sets a cookie", row.name)
			}
		}
		found := false
		for _, code := range row.codes {
			found = found || code == got
		}
		if !found {
			t.Errorf("%s: answered %d, want one of %d", row.name, got, row.codes)
		}
	}
	// A name in the Host header, which a proxy may pass on, decides nothing.
	resp := w.raw("POST " + at.Path + " HTTP/1.1\r\nHost: " + evil + "\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	if resp == nil || resp.StatusCode != http.StatusSeeOther || strings.Contains(resp.Header.Get("Location"), evil) ||
		!strings.Contains(resp.Header.Get("Location"), url.QueryEscape(w.Where.Callback())) {
		t.Errorf("with another host the person is sent elsewhere: %v", resp)
	}
	if resp != nil {
		w.checkHeaders(resp)
	}
}

// checkHeaders checks what every answer of the pages must carry.
func (w *world) checkHeaders(resp *http.Response) {
	w.t.Helper()
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'", "X-Frame-Options": "DENY", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
		"Strict-Transport-Security": "max-age=", "X-Content-Type-Options": "nosniff",
	} {
		if got := resp.Header.Get(name); !strings.HasPrefix(got, want) {
			w.t.Errorf("the header %s is %q, want %q", name, got, want)
		}
	}
	for _, c := range resp.Cookies() {
		if !strings.HasPrefix(c.Name, "__Host-") || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" {
			w.t.Errorf("the cookie %s is %+v", c.Name, c)
		}
	}
}
