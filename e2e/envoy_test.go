package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/e2e/rig"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// sidecar does with a request what Envoy does with its filter ext_authz: it asks, and
// sets what it is told to, or answers what it is told to.
type sidecar struct {
	t         *testing.T
	broker    authv3.AuthorizationClient
	principal string
	route     map[string]string
	upstream  string // the API, as an origin
}

func (s *sidecar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := s.broker.Check(r.Context(), &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source:            &authv3.AttributeContext_Peer{Principal: s.principal},
		ContextExtensions: s.route,
		Request: &authv3.AttributeContext_Request{Http: &authv3.AttributeContext_HttpRequest{
			Method: r.Method, Host: r.Host, Path: r.URL.RequestURI(), Headers: map[string]string{"authorization": r.Header.Get("Authorization")},
		}},
	}})
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	if d := answer.GetDeniedResponse(); d != nil {
		for _, h := range d.GetHeaders() {
			w.Header().Set(h.GetHeader().GetKey(), h.GetHeader().GetValue())
		}
		w.WriteHeader(int(d.GetStatus().GetCode()))
		_, _ = io.WriteString(w, d.GetBody())
		return
	}
	next, err := http.NewRequestWithContext(r.Context(), r.Method, s.upstream, r.Body)
	if err != nil {
		s.t.Error(err)
		return
	}
	next.Header, next.Host = r.Header.Clone(), r.Host
	for _, h := range answer.GetOkResponse().GetHeaders() {
		switch name, value := h.GetHeader().GetKey(), h.GetHeader().GetValue(); name {
		case ":path":
			next.URL.Path, next.URL.RawQuery, _ = strings.Cut(value, "?")
		case ":authority":
			next.Host = value
		default:
			next.Header.Set(name, value)
		}
	}
	resp, err := http.DefaultTransport.RoundTrip(next)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

func TestAServiceBehindASidecarNeedsNoCodeAndSeesNoToken(t *testing.T) {
	jira := rig.App{ID: "jira-client", Secret: "jira-secret", Product: "jira", Scopes: []string{"read:jira-work", "read:jira-user"}}
	where := rig.FreeAddresses(t)
	sim := rig.StartSim(t, where, jira)
	own := httptest.NewUnstartedServer(nil)
	defer own.Close()
	api, err := url.Parse(sim.URL)
	if err != nil {
		t.Fatal(err)
	}
	d := rig.Deploy(t, rig.Setup{
		Where: where, Provider: sim.Provider("", ""), Apps: []rig.App{jira}, Build: rig.Build{Plain: true},
		More: fmt.Sprintf("ext_authz: {enabled: true, hosts: [%q], trusted_proxies: [{name: gateway, principals: [integration]}]}\n", own.Listener.Addr().String()),
	})
	d.Serve(t)
	d.Consent(t, jira, "automation", atlassiansim.DefaultAccounts()[0].ID)

	side := &sidecar{
		t: t, broker: authv3.NewAuthorizationClient(d.Conn(t, "integration")), upstream: sim.URL,
		route: map[string]string{"holdfast.grant": "acme/automation/jira", "holdfast.purpose": "sidecar"},
	}
	own.Config.Handler = side
	own.Start()
	get := func(host, path string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, own.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			req.Host = host
		}
		req.Header.Set("Authorization", "Bearer the-workloads-own")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	refused := func(host, path string, status int, reason string) {
		t.Helper()
		got, body := get(host, path)
		var said struct{ Reason string }
		if err := json.Unmarshal([]byte(body), &said); got != status || err != nil || said.Reason != reason {
			t.Errorf("%s on %s: status %d, %s; want %d %s", path, host, got, body, status, reason)
		}
	}

	for _, host := range []string{"", api.Host} {
		if status, body := get(host, "/rest/api/3/myself?expand=groups"); status != http.StatusOK || !strings.Contains(body, "displayName") {
			t.Fatalf("by the host %q: status %d, %s", host, status, body)
		}
	}
	refused("evil.example", "/rest/api/3/myself", http.StatusBadRequest, "INVALID_REQUEST")
	refused("", "/../../other/rest/api/3/myself", http.StatusBadRequest, "INVALID_REQUEST")
	side.route["holdfast.grant"] = "other/automation/jira"
	refused("", "/rest/api/3/myself", http.StatusForbidden, "CALLER_NOT_ALLOWED")
	side.route["holdfast.grant"] = "acme/automation/jira"

	// A gateway that many share asks for those that it may speak for.
	side.broker = authv3.NewAuthorizationClient(d.Conn(t, "gateway"))
	refused("", "/rest/api/3/myself", http.StatusUnauthorized, "CALLER_UNAUTHENTICATED")
	side.principal = "operator"
	refused("", "/rest/api/3/myself", http.StatusUnauthorized, "CALLER_UNAUTHENTICATED")
	side.principal = "integration"
	if status, body := get("", "/rest/api/3/myself"); status != http.StatusOK {
		t.Errorf("through the gateway: status %d, %s", status, body)
	}

	if _, err := d.Admin.RevokeGrant(t.Context(), &holdfastv1.RevokeGrantRequest{Grant: jira.Grant("automation"), Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	refused("", "/rest/api/3/myself", http.StatusConflict, "GRANT_REVOKED")

	record, err := os.ReadFile(filepath.Join(d.Dir, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"caller":"integration","caller_kind":"x509","method":"envoy.service.auth.v3.Authorization/Check","action":"draw"`,
		`"caller":"integration","caller_kind":"proxy","via":"gateway","method":"envoy.service.auth.v3.Authorization/Check"`,
		`"purpose":"sidecar"`, `"outcome":"INVALID_REQUEST"`, `"outcome":"GRANT_REVOKED"`,
	} {
		if !strings.Contains(string(record), want) {
			t.Errorf("the audit record has no %s", want)
		}
	}
}
