package holdfast

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Transport is an http.RoundTripper that sends each request with the source's
// access token. It is safe for concurrent use; do not change it after the first
// request.
//
// The token goes to allowed origins only, and a request to any other is refused. A
// redirect to another origin, allowed or not, is followed without the token, and so is
// all that it leads to, back as well: Atlassian redirects downloads to other hosts, by
// URLs that are signed. A 401 of theirs is the answer and says nothing about the token.
//
// When the API answers 401, the token's generation is reported to the broker,
// once, and if that brings a newer token the request is sent a second time,
// once, provided that it can be repeated: it has no body, or GetBody. In every
// other case the 401 is the answer.
//
// RoundTrip blocks for a token as TokenSource.TokenContext does, with the
// request's context, and then for the Base.
type Transport struct {
	// Source of the tokens. Required.
	Source *TokenSource
	// Base sends the requests; nil means http.DefaultTransport.
	Base http.RoundTripper
	// Origins that may see the token, as scheme://host[:port], e.g.
	// "https://api.atlassian.com". Empty: the origin of the API base URL that the
	// broker names for the site, and that one only.
	Origins []string
	// Relative allows request URLs without a host, such as
	// "/rest/api/3/myself": they are resolved under the site's API base URL.
	// Default false: such a request is an error.
	Relative bool
}

var _ http.RoundTripper = (*Transport)(nil)

// ErrOrigin is what a Transport's error wraps when a request would have taken the token
// to an origin that may not see it.
var ErrOrigin = errors.New("holdfast: refusing to send the token")

// RoundTrip implements http.RoundTripper. An *Error says why there is no token.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.roundTrip(req)
	if resp == nil && req.Body != nil {
		_ = req.Body.Close() // the contract of RoundTripper; closing twice is allowed
	}
	return resp, err
}

func (t *Transport) roundTrip(req *http.Request) (*http.Response, error) {
	if t.Source == nil {
		return nil, errors.New("holdfast: Transport.Source is not set")
	}
	if strayed(req) {
		return t.bare(req)
	}
	tok, err := t.Source.get(req.Context())
	if err != nil {
		return nil, err
	}
	target, err := t.resolve(req.URL, tok.apiBase)
	if err != nil {
		return nil, err
	}
	if !t.allowed(target, tok.apiBase) {
		if req.Response == nil { // not a redirect: somebody's mistake
			return nil, fmt.Errorf("%w to %s: allowed are %s; see Transport.Origins",
				ErrOrigin, origin(target), t.allowedText(tok.apiBase))
		}
		return t.bare(req)
	}
	resp, err := t.send(req, target, tok, req.Body)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	return t.retry(req, target, tok, resp)
}

// retry answers a 401: with the response to the same request under a newer
// token if there is one, with the 401 itself otherwise.
func (t *Transport) retry(req *http.Request, target *url.URL, tok *token, resp *http.Response) (*http.Response, error) {
	// Report even if the request cannot be repeated: the next one profits.
	newer := t.Source.newer(req.Context(), tok.generation, resp.StatusCode)
	if newer == nil || !t.allowed(target, newer.apiBase) { // a new consent can be for another site
		return resp, nil
	}
	body := req.Body
	if body != nil && body != http.NoBody {
		if req.GetBody == nil {
			return resp, nil
		}
		fresh, err := req.GetBody()
		if err != nil {
			return resp, nil //nolint:nilerr // the 401 is a true answer; that there is no second body is not the caller's concern
		}
		body = fresh
	}
	// Read the rest of a short answer, so that its connection can be used again.
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
	return t.send(req, target, newer, body)
}

// send sends a copy of req: a RoundTripper must not change the original, and a
// redirect copies the original's headers, which must not hold the token.
func (t *Transport) send(req *http.Request, target *url.URL, tok *token, body io.ReadCloser) (*http.Response, error) {
	out := req.Clone(req.Context())
	out.URL, out.Body = target, body
	if req.URL.Host == "" {
		out.Host = ""
	}
	out.Header.Set("Authorization", "Bearer "+tok.oauth.AccessToken)
	resp, err := t.base().RoundTrip(out)
	if resp == nil {
		return nil, err
	}
	// The caller gets its own request back, without the token, and strayed sees where it went.
	resp.Request = req
	if req.URL.Host == "" {
		whole := *req
		whole.URL, resp.Request = target, &whole
	}
	if location := resp.Header.Get("Location"); location != "" && req.URL.Host == "" {
		// http.Client would resolve it against the URL without a host.
		if u, perr := target.Parse(location); perr == nil {
			resp.Header.Set("Location", u.String())
		}
	}
	return resp, err
}

// strayed reports whether req follows redirects of which one led to another origin than
// that of the request before.
func strayed(req *http.Request) bool {
	for req.Response != nil {
		from := req.Response.Request
		if from == nil || origin(from.URL) != origin(req.URL) {
			return true
		}
		req = from
	}
	return false
}

// bare sends a copy of req that surely carries no credentials.
func (t *Transport) bare(req *http.Request) (*http.Response, error) {
	out := req.Clone(req.Context())
	out.Header.Del("Authorization")
	resp, err := t.base().RoundTrip(out)
	if resp != nil {
		resp.Request = req // whatever the Base says: strayed depends on it
	}
	return resp, err
}

func (t *Transport) base() http.RoundTripper {
	if t.Base != nil {
		return t.Base
	}
	return http.DefaultTransport
}

// resolve puts a URL without a host under the API base, if that was asked for.
func (t *Transport) resolve(u *url.URL, apiBase string) (*url.URL, error) {
	switch {
	case u.Host != "":
		return u, nil
	case !t.Relative:
		return nil, fmt.Errorf("holdfast: %q has no host; set Transport.Relative to resolve it under the site's API base URL", u.Path)
	case apiBase == "":
		return nil, errors.New("holdfast: the grant has no site or several, so there is no API base URL; choose one with the Site option")
	case slices.Contains(strings.Split(u.Path, "/"), ".."):
		return nil, fmt.Errorf("holdfast: %q leaves the site's API: remove the \"..\"", u.Path)
	}
	base, err := url.Parse(apiBase)
	if err != nil {
		return nil, fmt.Errorf("holdfast: parsing the API base URL: %w", err)
	}
	full := *u
	full.Scheme, full.Host, full.User = base.Scheme, base.Host, nil
	full.Path = base.Path + "/" + strings.TrimPrefix(u.Path, "/")
	full.RawPath = base.EscapedPath() + "/" + strings.TrimPrefix(u.EscapedPath(), "/")
	return &full, nil
}

// allowed reports whether the token may go to u.
func (t *Transport) allowed(u *url.URL, apiBase string) bool {
	want := origin(u)
	for _, o := range t.origins(apiBase) {
		if parsed, err := url.Parse(o); err == nil && parsed.Host != "" && origin(parsed) == want {
			return true
		}
	}
	return false
}

func (t *Transport) origins(apiBase string) []string {
	if len(t.Origins) > 0 {
		return t.Origins
	}
	if apiBase != "" {
		return []string{apiBase}
	}
	return nil
}

func (t *Transport) allowedText(apiBase string) string {
	origins := t.origins(apiBase)
	if len(origins) == 0 {
		return "none, since the grant has no site or several"
	}
	return strings.Join(origins, ", ")
}

// origin is scheme://host:port, all in lower case, the default port spelled out.
func origin(u *url.URL) string {
	scheme, port := strings.ToLower(u.Scheme), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[scheme]
	}
	return scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}
