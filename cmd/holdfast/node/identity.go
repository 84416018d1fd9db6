package node

import (
	"crypto/tls"
	"crypto/x509"

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
	pool, err := reload.Pool(n.log, files.ClientCAFile)
	if err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{
				MinVersion:   tls.VersionTLS13,
				ClientAuth:   tls.RequireAndVerifyClientCert,
				ClientCAs:    pool.Get(),
				Certificates: []tls.Certificate{*pair.Get()},
				// A resumed session would outlive the CA that vouched for it.
				SessionTicketsDisabled: true,
			}, nil
		},
	}, nil
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
