package rpc

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/broker"
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

// authzService serves Check.
type authzService struct {
	authv3.UnimplementedAuthorizationServer
	ExtAuthz
	edge *edge
}

// answering is unary for servers with an authzService: a refused Check is an answer,
// too, since a proxy shows its client nothing of a failed one. Only calls whose proxy
// has left fail.
func (e *edge) answering(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	resp, err := e.unary(ctx, req, info, handler)
	if err == nil || info.FullMethod != authv3.Authorization_Check_FullMethodName || ctx.Err() != nil {
		return resp, err
	}
	return denied(err), nil
}

// Check implements authv3.AuthorizationServer.
func (s *authzService) Check(ctx context.Context, req *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	c, _ := ctx.Value(callKey{}).(*call)
	if c == nil {
		return nil, errors.New("a Check without the interceptor")
	}
	caller, err := s.speaksFor(c, req)
	if err != nil {
		return nil, s.edge.refused(caller, authv3.Authorization_Check_FullMethodName, err)
	}
	want, err := s.wanted(req, caller.RequestID)
	if err != nil {
		return nil, s.edge.refused(caller, authv3.Authorization_Check_FullMethodName, err)
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
func (s *authzService) speaksFor(c *call, req *authv3.CheckRequest) (broker.Caller, error) {
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
