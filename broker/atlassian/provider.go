package atlassian

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/holdfast-io/holdfast/secret"
)

// DefaultHTTPTimeout bounds a whole exchange with the provider, from the name
// look-up to the last byte of the body. With Atlassian's leeway of 600 s it
// leaves room for three attempts, which family.Timing demands.
const DefaultHTTPTimeout = 20 * time.Second

// Options of a Provider. The zero value is usable.
type Options struct {
	// HTTPTimeout of each exchange as a whole; 0 means DefaultHTTPTimeout.
	HTTPTimeout time.Duration
	// ProxyURL (http or https, perhaps with user and password) of the egress
	// proxy; nil: none. The environment's proxy variables are never used. The
	// proxy is asked for a tunnel (CONNECT) for every URL, http ones too.
	ProxyURL *url.URL
	// RootCAs to trust for provider and proxy; nil: the system's.
	RootCAs *x509.CertPool
	// Now is the wall clock, for Retry-After and Date; nil means time.Now.
	Now func() time.Time
	// Dial makes every connection; nil means a net.Dialer. For tests.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Provider talks to one provider. It is safe for concurrent use.
type Provider struct {
	profile Profile
	timeout time.Duration
	now     func() time.Time
	dialer  dialer
	// reads serves everything that may be repeated: resources, account,
	// revocation. Tokens are never spent through it.
	reads *http.Client
	// clock is what the newest answer's Date header said.
	clock atomic.Pointer[Clock]
}

// New returns a Provider, or all problems of profile and options.
func New(p Profile, o Options) (*Provider, error) {
	if err := p.Validate(); err != nil {
		return nil, fmt.Errorf("provider profile %q:\n%w", p.Name, err)
	}
	if o.HTTPTimeout < 0 {
		return nil, fmt.Errorf("HTTP timeout %s: want more than 0", o.HTTPTimeout)
	}
	if o.HTTPTimeout == 0 {
		o.HTTPTimeout = DefaultHTTPTimeout
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	if u := o.ProxyURL; u != nil && (u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "") {
		return nil, fmt.Errorf("proxy URL: want http://host:port or https://host:port")
	}
	d := dialer{dial: o.Dial, proxy: o.ProxyURL, roots: o.RootCAs}
	return &Provider{
		profile: p, timeout: o.HTTPTimeout, now: o.Now, dialer: d,
		reads: readClient(d, o.HTTPTimeout),
	}, nil
}

// Profile returns the profile that the Provider was made with. Do not change
// its maps and lists.
func (p *Provider) Profile() Profile { return p.profile }

// Close releases idle connections. No call may be under way.
func (p *Provider) Close() { p.reads.CloseIdleConnections() }

// Credentials of an app at the provider.
type Credentials struct {
	ClientID string
	Secret   secret.String
}
