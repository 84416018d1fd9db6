package web

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// FuzzPages sends whatever a browser may send to the pages: no answer is a fault of the
// broker's own, and none leads anywhere but to this origin or the provider.
func FuzzPages(f *testing.F) {
	for _, path := range []string{"/connect/" + testLink, "/connect/x", "/oauth/callback", "/consents/cns_1", "/consents/cns_1/confirm", "/", "/static/x.css", "//evil.example/%2e%2e"} {
		f.Add(false, path, "state=s&code=c", "__Host-holdfast_cns_1=x", "accept=yes", "https://evil.example")
		f.Add(true, path, "error=access_denied&state=s", "a=b; a=c", "accept=no&return=https://evil.example", "null")
	}
	for _, query := range []string{`\`, "#%"} {
		f.Add(false, "/.", query, "", "", "")
	}
	h, _ := handlerAt(f, "https://holdfast.example.com", "https://auth.example.com")
	f.Fuzz(func(t *testing.T, post bool, path, query, cookie, body, origin string) {
		method := http.MethodGet
		if post {
			method = http.MethodPost
		}
		target, err := url.ParseRequestURI(path + "?" + query)
		if err != nil || !strings.HasPrefix(path, "/") {
			return // net/http refuses it
		}
		r := httptest.NewRequest(method, "https://holdfast.example.com/", strings.NewReader(body))
		r.URL = target
		r.Header.Set("Cookie", cookie)
		r.Header.Set("Origin", origin)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%s %q?%q: status %d", method, path, query, w.Code)
		}
		if to := w.Header().Get("Location"); to != "" {
			where, _, _ := strings.Cut(to, "?") // what follows, a browser reads as no part of the way
			u, err := url.Parse(where)
			if err != nil || u.Host != "" && u.Host != "holdfast.example.com" && u.Host != "auth.example.com" || strings.HasPrefix(where, "//") || strings.Contains(where, "\\") {
				t.Errorf("%s %q?%q leads to %q", method, path, query, to)
			}
		}
	})
}
