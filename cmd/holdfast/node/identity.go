package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/holdfast-io/holdfast/broker/identity"
	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/cmd/holdfast/reload"
)

// rpcTLS is mutual TLS with files that are read again when they change, or with
// the document that the Workload API renews. A client without a certificate is
// turned away in the handshake ("certificate required") unless tokens are
// accepted: whoever shows nothing must not be able to hold connections and streams.
func (n *Node) rpcTLS(w *identity.Workload) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequireAndVerifyClientCert}
	if n.o.Config.Identity.SPIFFE.ServeSVID {
		c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return w.Certificate() }
		return c, nil
	}
	files := n.o.Config.TLS
	pair, err := reload.KeyPair(n.log, files.CertFile, files.KeyFile)
	if err != nil {
		return nil, err
	}
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.Get(), nil }
	return c, nil
}

// trust is whose identities are believed. It follows its files, the Workload
// API and the issuers of tokens while the node runs: a change ends the
// identities that are not vouched for any more. The Workload is nil if none is configured.
func (n *Node) trust(ctx context.Context) (*identity.Trust, *identity.Workload, error) {
	c := n.o.Config
	t := identity.Config{SPIFFE: c.Identity.SPIFFE.Trust(), Log: n.log}
	var err error
	if t.Name, err = naming(c); err != nil {
		return nil, nil, err
	}
	if t.Issuers, err = n.issuers(); err != nil {
		return nil, nil, err
	}
	f := &trustFiles{}
	if c.TLS.ClientCAFile != "" {
		if f.pool, err = reload.Pool(n.log, c.TLS.ClientCAFile); err != nil {
			return nil, nil, err
		}
		f.last = f.pool.Get()
		t.Roots = f.last
	}
	if f.bundles, err = n.bundles(); err != nil {
		return nil, nil, err
	}
	trust, err := identity.New(t)
	if err != nil {
		return nil, nil, err
	}
	f.tell(trust)
	n.follow("trust watch", func(ctx context.Context) { f.follow(ctx, trust) })
	if trust.Tokens() {
		n.follow("issuers' keys", trust.Run)
	}
	w, err := n.workload(ctx, trust)
	return trust, w, err
}

// workload opens the configured Workload API, if any, and has trust follow it.
func (n *Node) workload(ctx context.Context, trust *identity.Trust) (*identity.Workload, error) {
	addr := n.o.Config.Identity.SPIFFE.WorkloadAPI
	if addr == "" {
		return nil, nil
	}
	w, err := identity.OpenWorkload(ctx, addr, n.log)
	if err != nil {
		return nil, err
	}
	n.stack.Push("SPIFFE Workload API", smallGrace, func(context.Context) error { return w.Close() })
	w.Feed(trust)
	n.follow("SPIFFE Workload API's bundles", func(ctx context.Context) { w.Follow(ctx, trust) })
	return w, nil
}

// naming is how certificates are mapped to callers.
func naming(c *config.Config) (identity.Naming, error) {
	if c.Identity.X509.Name != "" {
		return identity.FromCertificate(c.Identity.X509.Name)
	}
	names := c.CallerNames()
	for _, proxy := range c.ExtAuthz.TrustedProxies {
		names = append(names, proxy.Name)
	}
	return identity.Listed(names), nil
}

// bundles are the files of trust domains.
func (n *Node) bundles() ([]*reload.Value[identity.Bundle], error) {
	var all []*reload.Value[identity.Bundle]
	for _, b := range n.o.Config.Identity.SPIFFE.Bundles {
		v, err := reload.New(n.log, func(contents [][]byte) (identity.Bundle, error) {
			bundle, err := identity.ParseBundle(b.TrustDomain, contents[0])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", b.File, err)
			}
			return bundle, nil
		}, b.File)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// trustFiles are the files that say whose certificates are believed.
type trustFiles struct {
	pool    *reload.Value[*x509.CertPool] // nil: none
	last    *x509.CertPool                // that trust was told
	bundles []*reload.Value[identity.Bundle]
}

// tell gives trust what the files hold now, if it is news.
func (f *trustFiles) tell(trust *identity.Trust) {
	if f.pool != nil {
		if next := f.pool.Get(); next != f.last {
			f.last = next
			trust.SetRoots(next)
		}
	}
	if len(f.bundles) > 0 {
		bundles := make([]identity.Bundle, len(f.bundles))
		for i, b := range f.bundles {
			bundles[i] = b.Get()
		}
		trust.SetBundles(bundles...)
	}
}

// follow tells trust of each change until ctx ends.
func (f *trustFiles) follow(ctx context.Context, trust *identity.Trust) {
	tick := time.NewTicker(reload.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.tell(trust)
		}
	}
}

// follow runs f, which returns when its context ends, until the node stops.
func (n *Node) follow(name string, f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	n.stack.Serve(name, smallGrace, func() error { f(ctx); return nil }, func(context.Context) error {
		cancel()
		return nil
	})
}

// webTLS is what browsers see: http's own certificate, or that of tls.
func (n *Node) webTLS() (*tls.Config, error) {
	c := n.o.Config
	certFile, keyFile := c.HTTP.CertFile, c.HTTP.KeyFile
	if certFile == "" {
		certFile, keyFile = c.TLS.CertFile, c.TLS.KeyFile
	}
	pair, err := reload.KeyPair(n.log, certFile, keyFile)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.Get(), nil },
	}, nil
}
