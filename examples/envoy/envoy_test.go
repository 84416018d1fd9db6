// Package envoy holds an example configuration of Envoy, and tests that it is one.
package envoy

import (
	"os"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extauthzv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3" // named by the example
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3" // named by the example
	"github.com/goccy/go-yaml"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// load reads the example as Envoy reads it: strictly, with all that lies inside.
func load(t *testing.T) *bootstrapv3.Bootstrap {
	t.Helper()
	text, err := os.ReadFile("envoy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	object, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	b := new(bootstrapv3.Bootstrap)
	if err := protojson.Unmarshal(object, b); err != nil {
		t.Fatal(err)
	}
	return b
}

// unpack returns the message in an Any, which must be of type M.
func unpack[M proto.Message](t *testing.T, a *anypb.Any) M {
	t.Helper()
	m, err := a.UnmarshalNew()
	if err != nil {
		t.Fatal(err)
	}
	typed, ok := m.(M)
	if !ok {
		t.Fatalf("%T, want %T", m, typed)
	}
	return typed
}

func TestTheExampleKeepsEnvoysRules(t *testing.T) {
	b := load(t)
	valid := func(m any) {
		if err := m.(interface{ ValidateAll() error }).ValidateAll(); err != nil {
			t.Errorf("%T: %v", m, err)
		}
	}
	valid(b)
	found := 0
	var look func(m protoreflect.Message) error
	look = func(m protoreflect.Message) error {
		return protorange.Range(m, func(v protopath.Values) error {
			one, ok := v.Index(-1).Value.Interface().(protoreflect.Message)
			if !ok {
				return nil
			}
			packed, ok := one.Interface().(*anypb.Any)
			if !ok {
				return nil
			}
			inner, err := packed.UnmarshalNew()
			if err != nil {
				return err
			}
			found++
			valid(inner)
			return look(inner.ProtoReflect())
		})
	}
	if err := look(b.ProtoReflect()); err != nil {
		t.Fatal(err)
	}
	if found < 8 {
		t.Errorf("%d messages were looked at inside of others, want all 8 or more", found)
	}
}

func TestTheExampleLetsNoTokenGoAstray(t *testing.T) {
	b := load(t)
	listener := b.GetStaticResources().GetListeners()[0]
	if at := listener.GetAddress().GetSocketAddress().GetAddress(); at != "127.0.0.1" {
		t.Errorf("the listener is on %s: whoever reaches it acts as the service", at)
	}
	hcm := unpack[*hcmv3.HttpConnectionManager](t, listener.GetFilterChains()[0].GetFilters()[0].GetTypedConfig())
	authz := unpack[*extauthzv3.ExtAuthz](t, hcm.GetHttpFilters()[0].GetTypedConfig())
	if authz.GetFailureModeAllow() || authz.GetClearRouteCache() || authz.GetWithRequestBody() != nil {
		t.Error("the filter lets requests go on unasked, routes them anew, or sends bodies to the broker")
	}
	clusters := map[string]bool{}
	for _, route := range hcm.GetRouteConfig().GetVirtualHosts()[0].GetRoutes() {
		clusters[route.GetRoute().GetCluster()] = true
		checkRoute(t, route)
	}
	for _, c := range b.GetStaticResources().GetClusters() {
		tls := unpack[*tlsv3.UpstreamTlsContext](t, c.GetTransportSocket().GetTypedConfig())
		names := tls.GetCommonTlsContext().GetValidationContext().GetMatchTypedSubjectAltNames()
		host := c.GetLoadAssignment().GetEndpoints()[0].GetLbEndpoints()[0].GetEndpoint().GetAddress().GetSocketAddress().GetAddress()
		if len(names) != 1 || names[0].GetMatcher().GetExact() != host || tls.GetSni() != host {
			t.Errorf("the cluster %s goes to %s and does not verify that it is", c.GetName(), host)
		}
		if clusters[c.GetName()] && host != "api.atlassian.com" {
			t.Errorf("requests with tokens go to %s", host)
		}
		if own := len(tls.GetCommonTlsContext().GetTlsCertificates()) > 0; own == clusters[c.GetName()] {
			t.Errorf("the cluster %s shows a certificate: %v; the broker alone is to see it", c.GetName(), own)
		}
	}
	if len(clusters) != 1 {
		t.Errorf("requests go to the clusters %v, want one", clusters)
	}
}

// checkRoute wants a grant and nothing that the broker does not know.
func checkRoute(t *testing.T, route *routev3.Route) {
	t.Helper()
	per := unpack[*extauthzv3.ExtAuthzPerRoute](t, route.GetTypedPerFilterConfig()["envoy.filters.http.ext_authz"])
	if per.GetDisabled() {
		t.Error("a route is not asked about")
	}
	set := per.GetCheckSettings().GetContextExtensions()
	if strings.Count(set["holdfast.grant"], "/") != 2 {
		t.Errorf("the grant of a route is %q", set["holdfast.grant"])
	}
	for key := range set {
		if strings.HasPrefix(key, "holdfast.") && !strings.Contains(" holdfast.grant holdfast.site holdfast.scopes holdfast.purpose ", " "+key+" ") {
			t.Errorf("a route sets %s, which the broker refuses", key)
		}
	}
}
