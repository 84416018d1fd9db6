package rpc

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/identity"
)

func (f *fakeBroker) Authorize(ctx context.Context, c broker.Caller, r broker.TokenRequest) (*broker.TokenAnswer, error) {
	return f.answer(), f.enter(ctx, c, r)
}

// gateway is a caller whose word the rig's server believes about team-a's workloads.
const gateway = "gateway.example.com"

func newAuthzRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	names := map[string]bool{mapped: true, gateway: true, "team-a.reports": true, "team-b.reports": true}
	return newNamedRig(t, identity.Listed(slices.Collect(maps.Keys(names))), append([]func(*Config){func(c *Config) {
		c.ExtAuthz = ExtAuthz{
			Broker: c.Tokens.(*fakeBroker), APIHosts: []string{"api.example"}, Aliases: []string{"127.0.0.1:10080"},
			Proxies: []TrustedProxy{{Name: gateway, Principals: []string{"team-a.*", "stranger"}}},
			Listed:  func(name string) bool { return names[name] },
		}
	}}, change...)...)
}

// aboutRequest is what a sidecar asks about an ordinary request.
func aboutRequest(change ...func(*authv3.AttributeContext)) *authv3.CheckRequest {
	a := &authv3.AttributeContext{
		Source: &authv3.AttributeContext_Peer{},
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: "GET", Host: "api.example", Path: "/rest/api/3/myself?expand=groups", Scheme: "http",
			Headers: map[string]string{"authorization": "Bearer of-the-workload", "holdfast.grant": "evil/x/jira", "x-holdfast-grant": "evil/x/jira"},
		}},
		ContextExtensions: map[string]string{"holdfast.grant": "acme/automation/jira", "holdfast.purpose": "reports", "another.filter": "its own"},
	}
	for _, c := range change {
		c(a)
	}
	return &authv3.CheckRequest{Attributes: a}
}

func extension(key, value string) func(*authv3.AttributeContext) {
	return func(a *authv3.AttributeContext) { a.ContextExtensions[key] = value }
}

func check(t testing.TB, r *rig, as string, req *authv3.CheckRequest) *authv3.CheckResponse {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	resp, err := authv3.NewAuthorizationClient(r.dial(as)).Check(ctx, req)
	if err != nil {
		t.Fatalf("Check: %v", err)
	}
	return resp
}

// headersSet are the headers of an answer that passes the request on; nil: it does not.
func headersSet(t testing.TB, resp *authv3.CheckResponse) map[string]string {
	t.Helper()
	if resp.GetOkResponse() == nil || resp.GetStatus().GetCode() != int32(codes.OK) {
		return nil
	}
	set := map[string]string{}
	for _, h := range resp.GetOkResponse().GetHeaders() {
		if h.GetAppendAction().String() != "OVERWRITE_IF_EXISTS_OR_ADD" {
			t.Errorf("%s does not replace what the workload sent: %v", h.GetHeader().GetKey(), h.GetAppendAction())
		}
		set[h.GetHeader().GetKey()] = h.GetHeader().GetValue()
	}
	return set
}

func TestARequestGetsTheTokenAndTheSitesBasePath(t *testing.T) {
	r := newAuthzRig(t)
	resp := check(t, r, mapped, aboutRequest(extension("holdfast.site", "c-1"), extension("holdfast.scopes", "read:jira-work write:jira-work")))
	want := map[string]string{"authorization": "Bearer access-token", ":path": "/ex/jira/c-1/rest/api/3/myself?expand=groups"}
	if diff := cmp.Diff(want, headersSet(t, resp)); diff != "" {
		t.Fatalf("headers (-want +got)\n%s", diff)
	}
	if len(resp.GetOkResponse().GetHeadersToRemove()) > 0 {
		t.Error("headers are removed after they are set, the token's with them")
	}
	_, caller, args := r.broker.last()
	request := broker.TokenRequest{Address: acme, Site: "c-1", NeedSite: true, RequiredScopes: []string{"read:jira-work", "write:jira-work"}, Purpose: "reports"}
	if diff := cmp.Diff([]any{request}, args); diff != "" {
		t.Errorf("asked of the broker (-want +got)\n%s", diff)
	}
	if caller.Name != mapped || caller.Kind != broker.CallerX509 || caller.Via != "" {
		t.Errorf("caller %+v, want the peer of the connection", caller)
	}
}

func TestTheProxysWordIsBelievedFromTrustedProxiesAlone(t *testing.T) {
	r := newAuthzRig(t)
	for name, c := range map[string]struct {
		peer, principal string
		want            string // the caller and the proxy, or the refusal
	}{
		"a workload's own sidecar":                {mapped, "", mapped},
		"a sidecar that names another":            {mapped, "team-a.reports", mapped},
		"a trusted proxy":                         {gateway, "team-a.reports", "team-a.reports via " + gateway},
		"a trusted proxy that names nobody":       {gateway, "", "401 CALLER_UNAUTHENTICATED"},
		"a trusted proxy about another team":      {gateway, "team-b.reports", "401 CALLER_UNAUTHENTICATED"},
		"a trusted proxy about itself":            {gateway, gateway, "401 CALLER_UNAUTHENTICATED"},
		"a name that nobody listed":               {gateway, "team-a.unlisted", "401 CALLER_UNAUTHENTICATED"},
		"a name that stands for who is not known": {gateway, "(unmapped) team-a.reports", "401 CALLER_UNAUTHENTICATED"},
		"a peer that nobody listed":               {"stranger.example.com", "team-a.reports", "403 CALLER_NOT_ALLOWED"},
		"a name without end":                      {gateway, "team-a." + strings.Repeat("x", 2000), "401 CALLER_UNAUTHENTICATED"},
	} {
		t.Run(name, func(t *testing.T) {
			resp := check(t, r, c.peer, aboutRequest(func(a *authv3.AttributeContext) { a.Source.Principal = c.principal }))
			got := refusalOf(resp)
			if headersSet(t, resp) != nil {
				_, caller, _ := r.broker.last()
				if got = caller.Name; caller.Kind == broker.CallerProxy {
					got += " via " + caller.Via
				}
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// refusalOf is the HTTP status and reason of a denied request.
func refusalOf(resp *authv3.CheckResponse) string {
	d := resp.GetDeniedResponse()
	if d == nil {
		return ""
	}
	var body denial
	if json.Unmarshal([]byte(d.GetBody()), &body) != nil {
		return "no JSON: " + d.GetBody()
	}
	return strings.TrimSpace(strings.Join([]string{strconv.Itoa(int(d.GetStatus().GetCode())), body.Reason}, " "))
}

func TestARequestThatIsNotInOrderGetsNoToken(t *testing.T) {
	http := func(change func(*authv3.AttributeContext_HttpRequest)) func(*authv3.AttributeContext) {
		return func(a *authv3.AttributeContext) { change(a.Request.Http) }
	}
	path := func(p string) func(*authv3.AttributeContext) {
		return http(func(h *authv3.AttributeContext_HttpRequest) { h.Path = p })
	}
	host := func(name string) func(*authv3.AttributeContext) {
		return http(func(h *authv3.AttributeContext_HttpRequest) { h.Host = name })
	}
	r := newAuthzRig(t)
	for name, change := range map[string]func(*authv3.AttributeContext){
		"no request":             func(a *authv3.AttributeContext) { a.Request = nil },
		"no HTTP":                func(a *authv3.AttributeContext) { a.Request.Http = nil },
		"another host":           host("evil.example"),
		"no host":                host(""),
		"the API in a subdomain": host("api.example.evil.example"),
		"another port":           host("api.example:8443"),
		"user in front":          host("api.example@evil.example"),
		"the alias's other port": host("127.0.0.1:10081"),
		"no path":                path(""),
		"the server as a whole":  path("*"),
		"a whole URL":            path("http://evil.example/"),
		"two slashes":            path("//evil.example/rest"),
		"up":                     path("/rest/../../c-2/rest"),
		"up at the end":          path("/rest/.."),
		"up, encoded":            path("/rest/%2e%2E/%2e./x"),
		"up behind slashes":      path("/a%2f..%2fb"),
		"up, encoded twice":      path("/%252e%252e/x"),
		"up with parameters":     path("/..;x=1/rest"),
		"backslashes":            path(`/a\..\b`),
		"encoded backslashes":    path("/a%5c..%5cb"),
		"encoded without end":    path("/%25252525252541"),
		"a bare percent":         path("/a%zz"),
		"NUL":                    path("/a%00b"),
		"a line's end":           path("/a\r\nx: y"),
		"a space":                path("/a b"),
		"a fragment":             path("/a#b"),
		"bytes above ASCII":      path("/\xc3\xa4"),
		"too long":               path("/" + strings.Repeat("a", 70_000)),
		"a tunnel":               http(func(h *authv3.AttributeContext_HttpRequest) { h.Method = "CONNECT" }),
		"no grant":               func(a *authv3.AttributeContext) { a.ContextExtensions = nil },
		"a grant by a header":    func(a *authv3.AttributeContext) { delete(a.ContextExtensions, "holdfast.grant") },
		"a grant that is none":   extension("holdfast.grant", "acme//jira"),
		"an id that is none":     extension("holdfast.grant", "grt_x"),
		"a misspelt condition":   extension("holdfast.scope", "read:jira-work"),
		"a scope that is none":   extension("holdfast.scopes", `a "b`),
		"a purpose that is none": extension("holdfast.purpose", "Reports!"),
		"a site without end":     extension("holdfast.site", strings.Repeat("s", 600)),
	} {
		t.Run(name, func(t *testing.T) {
			before, _, _ := r.broker.last()
			resp := check(t, r, mapped, aboutRequest(change))
			if got := refusalOf(resp); got != "400 INVALID_REQUEST" {
				t.Errorf("got %q %v, want 400 INVALID_REQUEST", got, headersSet(t, resp))
			}
			if after, _, _ := r.broker.last(); after != before {
				t.Error("the broker was asked for a token")
			}
		})
	}
	if resp := check(t, r, mapped, &authv3.CheckRequest{}); refusalOf(resp) != "400 INVALID_REQUEST" {
		t.Errorf("an empty question got %v", resp)
	}
	want := mapped + " x509 " + checkName + " INVALID_REQUEST "
	if diff := cmp.Diff([]string{want}, r.broker.refusals()); diff != "" {
		t.Errorf("on record (-want +got)\n%s", diff)
	}
}

const checkName = "envoy.service.auth.v3.Authorization/Check"

func TestPathsAndHostsThatGoOn(t *testing.T) {
	r := newAuthzRig(t)
	for name, c := range map[string]struct{ host, path, want, authority string }{
		"the root":                  {"api.example", "/", "/ex/jira/c-1/", ""},
		"a query alone":             {"api.example", "/?a=/../b", "/ex/jira/c-1/?a=/../b", ""},
		"dots in names":             {"api.example", "/a..b/...;x", "/ex/jira/c-1/a..b/...;x", ""},
		"an encoded slash":          {"api.example", "/prop/a%2Fb", "/ex/jira/c-1/prop/a%2Fb", ""},
		"the whole base":            {"api.example", "/ex/jira/c-1/rest", "/ex/jira/c-1/rest", ""},
		"the base and a query":      {"api.example", "/ex/jira/c-1?x", "/ex/jira/c-1?x", ""},
		"the base of another site":  {"api.example", "/ex/jira/c-12/rest", "/ex/jira/c-1/ex/jira/c-12/rest", ""},
		"a host in capitals":        {"API.Example.", "/", "/ex/jira/c-1/", "api.example"},
		"the port of HTTPS":         {"api.example:443", "/", "/ex/jira/c-1/", "api.example"},
		"the port of HTTP":          {"api.example:80", "/", "/ex/jira/c-1/", "api.example"},
		"the sidecar's own address": {"127.0.0.1:10080", "/", "/ex/jira/c-1/", "api.example"},
	} {
		t.Run(name, func(t *testing.T) {
			got := headersSet(t, check(t, r, mapped, aboutRequest(func(a *authv3.AttributeContext) {
				a.Request.Http.Host, a.Request.Http.Path = c.host, c.path
			})))
			if got[":path"] != c.want || got[":authority"] != c.authority {
				t.Errorf("path %q and authority %q, want %q and %q", got[":path"], got[":authority"], c.want, c.authority)
			}
		})
	}
}

func TestRefusalsSayToTheWorkloadWhatToDo(t *testing.T) {
	for _, c := range []struct {
		err        *broker.Error
		want       string
		retryAfter string
	}{
		{&broker.Error{Reason: broker.ReasonConsentRequired, Metadata: map[string]string{"link": "https://x/connect", "why": "IDLE"}}, "409 CONSENT_REQUIRED", ""},
		{&broker.Error{Reason: broker.ReasonGrantNotFound}, "404 GRANT_NOT_FOUND", ""},
		{&broker.Error{Reason: broker.ReasonCallerNotAllowed}, "403 CALLER_NOT_ALLOWED", ""},
		{&broker.Error{Reason: broker.ReasonSiteAmbiguous}, "409 SITE_AMBIGUOUS", ""},
		{&broker.Error{Reason: broker.ReasonProviderUnavailable, RetryAfter: 1500 * time.Millisecond}, "503 PROVIDER_UNAVAILABLE", "2"},
		{&broker.Error{Reason: broker.ReasonProviderRateLimited, RetryAfter: time.Minute}, "429 PROVIDER_RATE_LIMITED", "60"},
		{&broker.Error{Reason: broker.ReasonInternal, Message: "the cause"}, "500 INTERNAL", ""},
	} {
		t.Run(string(c.err.Reason), func(t *testing.T) {
			r := newAuthzRig(t)
			r.broker.hook = func(context.Context) error { return c.err }
			resp := check(t, r, mapped, aboutRequest())
			if got := refusalOf(resp); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			body, headers := resp.GetDeniedResponse().GetBody(), map[string]string{}
			for _, h := range resp.GetDeniedResponse().GetHeaders() {
				headers[h.GetHeader().GetKey()] = h.GetHeader().GetValue()
			}
			if headers["retry-after"] != c.retryAfter || headers["x-holdfast-reason"] != string(c.err.Reason) || headers["content-type"] != "application/json" {
				t.Errorf("headers %v", headers)
			}
			if link := c.err.Metadata["link"]; !strings.Contains(body, link) || strings.Contains(body, "the cause") || strings.Contains(resp.String(), "access-token") {
				t.Errorf("body %s, want the link %q and no cause", body, link)
			}
		})
	}
}

func TestACheckIsHeldToItsLimitsAndMayBeAbandoned(t *testing.T) {
	r := newAuthzRig(t, func(c *Config) {
		c.Limits = Limits{Callers: map[string]Rate{"team-a.reports": {PerSecond: 1, Burst: 100}}}
	})
	asGateway := aboutRequest(func(a *authv3.AttributeContext) { a.Source.Principal = "team-a.reports" })
	conn := authv3.NewAuthorizationClient(r.dial(gateway))
	var last string
	for range 101 {
		resp, err := conn.Check(t.Context(), asGateway)
		if err != nil {
			t.Fatal(err)
		}
		last = refusalOf(resp)
	}
	if last != "429 CALLER_RATE_LIMITED" {
		t.Errorf("beyond the rate of who is behind the proxy: %q", last)
	}
	if got := refusalOf(check(t, r, mapped, aboutRequest())); got != "" {
		t.Errorf("another caller pays for it: %q", got)
	}

	entered := make(chan struct{})
	r.broker.hook = func(ctx context.Context) error {
		close(entered)
		<-ctx.Done()
		return ctx.Err()
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	if _, err := conn.Check(ctx, aboutRequest(func(a *authv3.AttributeContext) { a.Source.Principal = "team-a.other" })); err != nil {
		t.Errorf("a refusal before the broker: %v", err)
	}
	if _, err := authv3.NewAuthorizationClient(r.dial(mapped)).Check(ctx, aboutRequest()); status.Code(err) != codes.Canceled {
		t.Errorf("a Check that its proxy gave up: %v, want Canceled", err)
	}
}

func TestExtAuthzIsNotServedUnasked(t *testing.T) {
	r := newRig(t)
	if _, err := authv3.NewAuthorizationClient(r.dial(mapped)).Check(t.Context(), aboutRequest()); status.Code(err) != codes.Unimplemented {
		t.Errorf("got %v, want Unimplemented", err)
	}
}

func FuzzTargetsStayOnTheSite(f *testing.F) {
	for _, seed := range []string{"/", "/rest?x=1", "/a%2f..%2fb", "/..;/x", "//x", `/\..`, "/%252e%252e/", "/a/./b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, target string) {
		if rightTarget("GET", target) != nil {
			return
		}
		on := onSite("/ex/jira/c-1", target)
		if !strings.HasPrefix(on, "/ex/jira/c-1") || strings.ContainsAny(on, " \r\n\t\\#\x00") {
			t.Fatalf("%q became %q", target, on)
		}
		path, _, _ := strings.Cut(on, "?")
		for range 3 { // as the most careless of servers resolves it
			depth := 0
			for _, s := range strings.FieldsFunc(strings.ToLower(path), func(r rune) bool { return r == '/' || r == '\\' }) {
				switch s, _, _ = strings.Cut(s, ";"); s {
				case "..":
					depth--
				case ".":
				default:
					depth++
				}
				if depth < 0 || s == ".." {
					t.Fatalf("%q leaves the site as %q", target, path)
				}
			}
			path = strings.NewReplacer("%2e", ".", "%2f", "/", "%5c", `\`, "%3b", ";", "%25", "%").Replace(path)
		}
	})
}
