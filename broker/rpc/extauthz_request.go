package rpc

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/holdfast-io/holdfast/broker"
	extauthzv1 "github.com/holdfast-io/holdfast/proto/holdfast/extauthz/v1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/storage"
)

// The keys of a route's context extensions, which its proxy's configuration sets. A
// request's own headers are never asked which grant it is for: whoever can make a
// service send a request of its choice would choose the grant as well, among all
// that the service may draw from.
const (
	extensionPrefix  = "holdfast."
	extensionGrant   = extensionPrefix + "grant"
	extensionSite    = extensionPrefix + "site"
	extensionScopes  = extensionPrefix + "scopes"
	extensionPurpose = extensionPrefix + "purpose"
)

// wanted is what a request asks for, once it was found to be in order.
type wanted struct {
	token broker.TokenRequest
	// host as the request names it, target its path and query.
	host, target string
}

func (s *authzService) wanted(req *extauthzv1.CheckRequest, requestID string) (*wanted, error) {
	http := req.GetAttributes().GetRequest().GetHttp()
	if http == nil {
		return nil, misused("attributes.request.http", "the proxy asks about something that is no HTTP request; use the filter envoy.filters.http.ext_authz")
	}
	if err := rightTarget(http.GetMethod(), http.GetPath()); err != nil {
		return nil, err
	}
	if host := http.GetHost(); !s.alias(host) && !slices.ContainsFunc(s.APIHosts, func(api string) bool { return sameHost(api, host) }) {
		return nil, misdirected(host, s.APIHosts)
	}
	asked, err := fromExtensions(req.GetAttributes().GetContextExtensions())
	if err != nil {
		return nil, err
	}
	if !plainlyValid(asked) {
		bad, err := invalid(s.edge.validator, asked, requestID)
		if bad != nil {
			bad.message = "the route's context_extensions are wrong: " + bad.message
			return nil, bad
		}
		if err != nil {
			return nil, err
		}
	}
	w := &wanted{token: tokenRequest(asked), host: http.GetHost(), target: http.GetPath()}
	w.token.NeedSite = true
	return w, nil
}

// fromExtensions makes the request of the contract that a route stands for, so that
// the contract's rules hold for it.
func fromExtensions(set map[string]string) (*holdfastv1.GetAccessTokenRequest, error) {
	r := &holdfastv1.GetAccessTokenRequest{}
	for key, value := range set {
		switch key {
		case extensionGrant:
			selector, err := selectorOf(value)
			if err != nil {
				return nil, err
			}
			r.Grant = selector
		case extensionSite:
			r.Site = value
		case extensionScopes:
			r.RequiredScopes = strings.Fields(value)
		case extensionPurpose:
			r.Purpose = value
		default:
			if strings.HasPrefix(key, extensionPrefix) { // a misspelt condition must not be no condition
				return nil, misused("context_extensions", fmt.Sprintf("the route's context_extensions have %q, which means nothing; use %s, %s, %s and %s",
					key, extensionGrant, extensionSite, extensionScopes, extensionPurpose))
			}
		}
	}
	if r.Grant == nil {
		return nil, misused("context_extensions", "the route names no grant: set "+extensionGrant+" in its context_extensions")
	}
	return r, nil
}

// selectorOf reads a grant as people write it: an address or an id.
func selectorOf(text string) (*holdfastv1.GrantSelector, error) {
	if !strings.Contains(text, "/") {
		return &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Id{Id: text}}, nil
	}
	a, err := storage.ParseAddress(text)
	if err != nil {
		return nil, misused("context_extensions", fmt.Sprintf("the route's %s is no grant: want tenant/subject/product, or a grant's id", extensionGrant))
	}
	return &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Address{Address: addressOut(a)}}, nil
}

// maxTarget in bytes: what proxies take for a header at most.
const maxTarget = 60 << 10

// rightTarget refuses what would be something else once it stands behind the site's
// base path, or leave it again, however a server decodes it.
func rightTarget(method, target string) error {
	const field = "attributes.request.http.path"
	if method == "CONNECT" || !strings.HasPrefix(target, "/") || strings.HasPrefix(target, "//") || len(target) > maxTarget {
		return misused(field, "want a path that begins with one /, and its query")
	}
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c >= 0x7f || c == '#' || c == '\\' {
			return misused(field, "the path or query holds a character that has to be percent-encoded")
		}
	}
	path, _, _ := strings.Cut(target, "?")
	// Twice, for servers behind servers that decode each for themselves.
	for range 3 {
		for segment := range strings.FieldsFuncSeq(path, func(r rune) bool { return r == '/' || r == '\\' }) {
			segment, _, _ = strings.Cut(segment, ";") // parameters, which servers in Java drop
			if segment == "." || segment == ".." {
				return misused(field, "the path leaves the site by a segment of dots")
			}
		}
		decoded, err := url.PathUnescape(path)
		if err != nil {
			return misused(field, "the path has a % that encodes nothing")
		}
		if strings.ContainsRune(decoded, 0) {
			return misused(field, "the path encodes a NUL")
		}
		if decoded == path {
			return nil
		}
		path = decoded
	}
	return misused(field, "the path is percent-encoded again and again")
}

// sameHost compares hosts as they stand in URLs and requests. A port that HTTP or
// HTTPS would take anyhow may be there or not: a request in the clear to a sidecar
// leaves by HTTPS.
func sameHost(a, b string) bool { return a != "" && plainHost(a) == plainHost(b) }

func plainHost(host string) string {
	host = strings.ToLower(host)
	if name, port, err := net.SplitHostPort(host); err == nil && (port == "443" || port == "80") {
		host = name
	}
	return strings.TrimSuffix(strings.Trim(host, "[]"), ".")
}

func (s *authzService) alias(host string) bool {
	return slices.ContainsFunc(s.Aliases, func(a string) bool { return strings.EqualFold(a, host) })
}

func misused(field, message string) error {
	return &broker.Error{Reason: broker.ReasonInvalidRequest, Field: field, Message: message}
}

func misdirected(host string, want []string) error {
	return misused("attributes.request.http.host", fmt.Sprintf(
		"the request goes to %q, and tokens go to the provider's API alone: %s; if that host is a proxy which passes on to it alone, an operator adds it to ext_authz.hosts",
		host, strings.Join(want, ", ")))
}
