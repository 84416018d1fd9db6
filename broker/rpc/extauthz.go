package rpc

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/broker"
	extauthzv1 "github.com/holdfast-io/holdfast/proto/holdfast/extauthz/v1"
)

// AuthzBroker is what Envoy's Authorization service asks of the broker.
type AuthzBroker interface {
	// Authorize is AccessToken for one request on its way to the provider's API.
	Authorize(ctx context.Context, c broker.Caller, r broker.TokenRequest) (*broker.TokenAnswer, error)
}

// ExtAuthz serves envoy.service.auth.v3 beside the contract: a proxy asks about
// each request on its way to the provider's API, and gets what to set on it.
// The zero value serves nothing.
type ExtAuthz struct {
	// Broker hands out the tokens; nil: the service is not served.
	Broker AuthzBroker
	// APIHosts are those of the provider's API, each a host or host:port as it stands
	// in a URL: the token goes nowhere else. Required.
	APIHosts []string
	// Aliases are further hosts that requests may name, under which proxies are called
	// that pass on to the provider's API alone.
	Aliases []string
	// Proxies whose word about their own clients is believed; nil: nobody's.
	Proxies []TrustedProxy
	// Listed reports whether the configuration lists a caller; nil: it lists nobody.
	Listed func(name string) bool
}

// TrustedProxy is a caller whose word is believed.
type TrustedProxy struct {
	// Name of the caller.
	Name string
	// Principals that it may name: whole names, or beginnings that end in "*".
	Principals []string
}

// names reports whether the proxy may speak for principal.
func (p *TrustedProxy) names(principal string) bool {
	return slices.ContainsFunc(p.Principals, func(pattern string) bool {
		if beginning, open := strings.CutSuffix(pattern, "*"); open {
			return strings.HasPrefix(principal, beginning)
		}
		return pattern == principal
	})
}

func (x *ExtAuthz) validate() error {
	if x.Broker == nil {
		return nil
	}
	if len(x.APIHosts) == 0 {
		return errors.New("rpc: ExtAuthz: APIHosts are required")
	}
	if x.Listed == nil {
		x.Listed = func(string) bool { return false }
	}
	return nil
}

// checkMethod is the one rpc of the service, by its full name.
const checkMethod = "/envoy.service.auth.v3.Authorization/Check"

// authzDesc is the service of Envoy's API, described by hand: its messages are those of
// the broker's own extract, which have the same bytes.
var authzDesc = grpc.ServiceDesc{
	ServiceName: "envoy.service.auth.v3.Authorization",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "Check", Handler: func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
		req := new(extauthzv1.CheckRequest)
		if err := decode(req); err != nil {
			return nil, err
		}
		info := &grpc.UnaryServerInfo{Server: srv, FullMethod: checkMethod}
		return interceptor(ctx, req, info, func(ctx context.Context, req any) (any, error) {
			return srv.(*authzService).check(ctx, req.(*extauthzv1.CheckRequest))
		})
	}}},
	Metadata: "envoy/service/auth/v3/external_auth.proto",
}

// authzService serves Check.
type authzService struct {
	ExtAuthz
	edge *edge
}

// answering is unary for servers with an authzService: a refused Check is an answer,
// too, since a proxy shows its client nothing of a failed one. Only calls whose proxy
// has left fail.
func (e *edge) answering(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	resp, err := e.unary(ctx, req, info, handler)
	if err == nil || info.FullMethod != checkMethod || ctx.Err() != nil {
		return resp, err
	}
	return denied(err), nil
}

// check answers Check.
func (s *authzService) check(ctx context.Context, req *extauthzv1.CheckRequest) (*extauthzv1.CheckResponse, error) {
	c, _ := ctx.Value(callKey{}).(*call)
	if c == nil {
		return nil, errors.New("a Check without the interceptor")
	}
	caller, err := s.speaksFor(c, req)
	if err != nil {
		return nil, s.edge.refused(caller, checkMethod, err)
	}
	want, err := s.wanted(req, caller.RequestID)
	if err != nil {
		return nil, s.edge.refused(caller, checkMethod, err)
	}
	answer, err := s.Broker.Authorize(ctx, caller, want.token)
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(answer.APIBaseURL)
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("the base URL of %s's API is none", answer.Address)
	}
	if !sameHost(base.Host, want.host) && !s.alias(want.host) {
		return nil, misdirected(want.host, []string{base.Host})
	}
	return allowed(answer.Token, base, want), nil
}

// speaksFor returns whom the proxy asks for: itself, or, if it is trusted, the peer
// that it names. A trusted proxy that names nobody gets nothing: it serves many, and
// what it may do itself must not become what anybody may do who reaches it.
func (s *authzService) speaksFor(c *call, req *extauthzv1.CheckRequest) (broker.Caller, error) {
	i := slices.IndexFunc(s.Proxies, func(p TrustedProxy) bool { return p.Name == c.caller.Name })
	if i < 0 {
		return c.caller, nil
	}
	principal := req.GetAttributes().GetSource().GetPrincipal()
	switch {
	case principal == "":
		return c.caller, unauthenticated("the proxy names no principal: its client has shown it no certificate, or the proxy does not verify those")
	case len(principal) > maxPrincipal:
		return c.caller, unauthenticated("the proxy names a principal that is too long")
	case !s.Proxies[i].names(principal):
		return c.caller, unauthenticated(fmt.Sprintf("the proxy %q may not speak for %q; an operator lists whom it may under ext_authz.trusted_proxies", c.caller.Name, principal))
	}
	id, err := s.edge.trust.Vouched(principal, s.Listed, c.caller)
	if err != nil {
		return c.caller, err
	}
	// The proxy has paid for the call already; each of those behind it pays for its own
	// share, without the proxy's connection being slowed down for all.
	own := &call{Context: c.Context, caller: id.Caller}
	return id.Caller, s.edge.limiter.take(own, req, s.edge.now())
}

// maxPrincipal in bytes, as in the contract's rule for a caller's name.
const maxPrincipal = 1024
