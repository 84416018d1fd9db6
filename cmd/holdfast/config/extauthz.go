package config

import (
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfast-io/holdfast/broker/rpc"
)

// ExtAuthz serves Envoy's external authorization on the gRPC listener, so that a
// sidecar sets the token on its service's requests. The zero value: it is not served.
type ExtAuthz struct {
	// Enabled serves it. Default false.
	Enabled bool `yaml:"enabled"`
	// Hosts, besides those of the provider's API, that a request may name: addresses
	// of sidecars that pass on to that API alone, e.g. "127.0.0.1:10080". Default: none.
	Hosts []string `yaml:"hosts"`
	// TrustedProxies are believed when they say who their own client is
	// (source.principal). Default: nobody; each peer asks for itself.
	TrustedProxies []TrustedProxy `yaml:"trusted_proxies"`
}

// TrustedProxy is a proxy that many services share.
type TrustedProxy struct {
	// Name in its certificate, as in callers; it need not stand there. Required.
	Name string `yaml:"name"`
	// Principals that it may speak for: names of callers, or beginnings of such
	// followed by *. Required.
	Principals []string `yaml:"principals"`
}

// ExtAuthzRPC returns the section in the terms of the server, which has to be given a broker.
func (c *Config) ExtAuthzRPC() rpc.ExtAuthz {
	listed := map[string]bool{}
	for _, name := range c.CallerNames() {
		listed[name] = true
	}
	x := rpc.ExtAuthz{APIHosts: c.Provider.APIHosts(), Aliases: c.ExtAuthz.Hosts, Listed: func(name string) bool { return listed[name] }}
	for _, p := range c.ExtAuthz.TrustedProxies {
		x.Proxies = append(x.Proxies, rpc.TrustedProxy{Name: p.Name, Principals: p.Principals})
	}
	return x
}

// CallerNames are the names that callers and the groups of policy list.
func (c *Config) CallerNames() []string {
	var names []string
	for _, one := range c.Callers {
		names = append(names, one.Name)
	}
	for _, members := range c.Policy.Groups {
		names = append(names, members...)
	}
	return names
}

// APIHosts are the hosts of the provider's API, sorted.
func (p *Provider) APIHosts() []string {
	var hosts []string
	for _, product := range p.Resolved.Products {
		if u, err := url.Parse(product.APIBase); err == nil && u.Host != "" {
			hosts = append(hosts, u.Host)
		}
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}

func (c *Config) validateExtAuthz(r *report) {
	const path = "ext_authz"
	x := &c.ExtAuthz
	if !x.Enabled {
		if len(x.Hosts)+len(x.TrustedProxies) > 0 && !r.broken(path) {
			r.warn(path, "is not served: enabled is not true")
		}
		return
	}
	if len(c.Provider.APIHosts()) == 0 && !r.broken("provider") {
		r.add(path, "the profile %q names no API (products with api_base), so no request could get a token", c.Provider.Profile)
	}
	for i, host := range x.Hosts {
		at := path + ".hosts[" + strconv.Itoa(i) + "]"
		if name, _, err := net.SplitHostPort(host); !r.broken(at) && (host == "" || strings.ContainsAny(host, "/@* ") || err == nil && name == "") {
			r.add(at, "%q: want a host or host:port, as requests name it", host)
		}
	}
	seen := map[string]bool{}
	for i, p := range x.TrustedProxies {
		at := path + ".trusted_proxies[" + strconv.Itoa(i) + "]"
		if r.required(at+".name", p.Name, "give the name of its certificate") && seen[p.Name] {
			r.add(at+".name", "%q is listed twice; merge the two", p.Name)
		}
		seen[p.Name] = true
		if len(p.Principals) == 0 && !r.broken(at) {
			r.add(at+".principals", `missing; list whom it may speak for, or "*" for every caller`)
		}
		for j, principal := range p.Principals {
			if k := strings.IndexByte(principal, '*'); principal == "" || k >= 0 && k != len(principal)-1 {
				r.add(at+".principals["+strconv.Itoa(j)+"]", "%q: want a name, or the beginning of names followed by *", principal)
			}
		}
	}
}
