package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/holdfast-io/holdfast/broker/identity"
	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/cmd/holdfast/reload"
)

// callerNames finds the configured name of a client certificate: the first of
// its SAN URIs, SAN DNS names and common name, in this order, that is listed.
// The strongest kind of name goes first, since a CA checks it best.
func callerNames(callers []config.Caller) func(*x509.Certificate) (string, bool) {
	known := make(map[string]bool, len(callers))
	for _, c := range callers {
		known[c.Name] = true
	}
	return func(cert *x509.Certificate) (string, bool) {
		for _, u := range cert.URIs {
			if known[u.String()] {
				return u.String(), true
			}
		}
		for _, name := range cert.DNSNames {
			if known[name] {
				return name, true
			}
		}
		return cert.Subject.CommonName, known[cert.Subject.CommonName]
	}
}

// rpcTLS is mutual TLS with files that are read again when they change. A
// client without a certificate is turned away in the handshake ("certificate
// required"): whoever shows none must not be able to hold connections and streams.
func (n *Node) rpcTLS() (*tls.Config, error) {
	files := n.o.Config.TLS
	pair, err := reload.KeyPair(n.log, files.CertFile, files.KeyFile)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		ClientAuth:     tls.RequireAndVerifyClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair.Get(), nil },
	}, nil
}

// trust is whose identities are believed. It follows its files while the node
// runs: a change ends the identities that it does not vouch for any more.
func (n *Node) trust() (*identity.Trust, error) {
	c := n.o.Config
	pool, err := reload.Pool(n.log, c.TLS.ClientCAFile)
	if err != nil {
		return nil, err
	}
	roots := pool.Get()
	trust, err := identity.New(identity.Config{Roots: roots, Name: callerNames(c.Callers)})
	if err != nil {
		return nil, err
	}
	n.follow("trust watch", func(ctx context.Context) { followRoots(ctx, trust, roots, pool) })
	return trust, nil
}

// followRoots tells trust, which has last, of each new pool until ctx ends.
func followRoots(ctx context.Context, trust *identity.Trust, last *x509.CertPool, pool *reload.Value[*x509.CertPool]) {
	tick := time.NewTicker(reload.Interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if next := pool.Get(); next != last {
			last = next
			trust.SetRoots(next)
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
