package leaks

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
)

// The kinds of secrets.
const (
	refreshToken = "refresh token"
	accessToken  = "access token"
	clientSecret = "client secret"
	code         = "authorization code"
	verifier     = "PKCE verifier"
	state        = "state"
	cookie       = "consent cookie"
	link         = "connect link"
	kek          = "KEK"
	privateKey   = "private key"
	misplaced    = "secret in the wrong place"
	planted      = "planted by a caller"
	bearerToken  = "bearer token of a caller"
	vaultToken   = "token of Vault"
	rootKey      = "root key of the store"
	foreignText  = "text of a key provider"
	panicValue   = "value of a panic"
)

// tap stands between everybody and the provider, and makes every secret that
// comes by known to the scanner.
type tap struct {
	URL string
	// hostile is how the token endpoint answers in the provider's place.
	hostile atomic.Pointer[echo]
	// sites, unless nil, is what accessible-resources answers in the provider's place.
	sites atomic.Pointer[string]
}

// echo is an answer that repeats what it was sent.
type echo struct {
	status int
	header http.Header
	// body has a %s for the request's body, in a form that fits a text of JSON.
	body string
}

func newTap(t *testing.T, s *scanner, provider string) *tap {
	t.Helper()
	tapped := new(tap)
	to, err := url.Parse(provider)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) },
		ModifyResponse: func(resp *http.Response) error {
			if at, err := resp.Location(); err == nil {
				s.plant(code, randomOf(at.Query().Get("code")))
			}
			if !strings.HasPrefix(resp.Request.URL.Path, "/oauth/") {
				return nil
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body = io.NopCloser(bytes.NewReader(body))
			s.plantFields(body)
			return err
		},
		// A fault of the simulator cuts the connection; so is it here.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.plantState(r.URL.Query().Get("state"))
		if r.Body != nil {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			s.plantFields(body)
			if e := tapped.hostile.Load(); e != nil && strings.HasPrefix(r.URL.Path, "/oauth/token") && r.Method == http.MethodPost {
				e.answer(w, body)
				return
			}
		}
		if sites := tapped.sites.Load(); sites != nil && strings.HasSuffix(r.URL.Path, "/accessible-resources") {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, *sites) // whom it does not reach need not hear it
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	tapped.URL = server.URL
	return tapped
}

func (e *echo) answer(w http.ResponseWriter, sent []byte) {
	text := strings.ReplaceAll(string(sent), `"`, "'")
	for name, values := range e.header {
		w.Header().Set(name, strings.ReplaceAll(values[0], "%s", url.QueryEscape(text)))
	}
	w.WriteHeader(e.status)
	_, _ = w.Write([]byte(strings.ReplaceAll(e.body, "%s", text))) // whom it does not reach need not hear it
}

// plantFields takes the secrets out of a request to or an answer of the token endpoint.
func (s *scanner) plantFields(body []byte) {
	fields := map[string]any{}
	if json.Unmarshal(body, &fields) != nil {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return
		}
		for k := range form {
			fields[k] = form.Get(k)
		}
	}
	for name, kind := range map[string]string{
		"refresh_token": refreshToken, "access_token": accessToken, "token": refreshToken, "code": code, "code_verifier": verifier,
	} {
		text, _ := fields[name].(string)
		s.plant(kind, randomOf(text))
	}
}

// plantState makes a state known, of which the consent's id is no secret.
func (s *scanner) plantState(text string) {
	_, random, _ := strings.Cut(text, ".")
	s.plant(state, random)
}

// randomOf is the random part of a token: of the simulator's, which look like a
// JWT, the last one; the others say what its ledger says as well.
func randomOf(token string) string { return token[strings.LastIndex(token, ".")+1:] }
