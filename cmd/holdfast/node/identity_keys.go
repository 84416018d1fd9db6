package node

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/broker/identity"
	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/cmd/holdfast/reload"
	"github.com/holdfast-io/holdfast/secret"
)

// issuers are the configured issuers of tokens, each with the client that reads its keys.
func (n *Node) issuers() ([]identity.Issuer, error) {
	var all []identity.Issuer
	for i := range n.o.Config.Identity.JWT {
		j := &n.o.Config.Identity.JWT[i]
		reader, err := n.keyReader(j)
		if err != nil {
			return nil, err
		}
		one := j.Trust()
		one.Client = &http.Client{
			Transport: reader,
			// Where the keys are is configured; a redirect could take the token along.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		all = append(all, one)
	}
	return all, nil
}

// keyReader is the transport to one issuer. Its files are read again when they
// change; it keeps no connections, since keys are read every few minutes.
type keyReader struct {
	host  string                         // that sees the token
	roots *reload.Value[*x509.CertPool]  // nil: the system's
	token *reload.Value[[]secret.String] // nil: none

	mu        sync.Mutex // guards all below
	pool      *x509.CertPool
	transport *http.Transport
}

func (n *Node) keyReader(j *config.JWT) (*keyReader, error) {
	at := j.JWKSURL
	if at == "" {
		at = j.Issuer
	}
	u, err := url.Parse(at)
	if err != nil {
		return nil, err
	}
	k := &keyReader{host: u.Host}
	if j.CAFile != "" {
		if k.roots, err = reload.Pool(n.log, j.CAFile); err != nil {
			return nil, err
		}
	}
	if j.BearerTokenFile != "" {
		if k.token, err = reload.Secrets(n.log, j.BearerTokenFile); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// RoundTrip implements http.RoundTripper.
func (k *keyReader) RoundTrip(req *http.Request) (*http.Response, error) {
	if k.token != nil && req.URL.Host == k.host && req.URL.Scheme == "https" {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", "Bearer "+k.token.Get()[0].Reveal())
	}
	return k.with().RoundTrip(req)
}

// with returns the transport for the present certificates.
func (k *keyReader) with() *http.Transport {
	var pool *x509.CertPool
	if k.roots != nil {
		pool = k.roots.Get()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.transport == nil || k.pool != pool {
		k.pool = pool
		k.transport = &http.Transport{
			TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool},
			DisableKeepAlives:     true,
			TLSHandshakeTimeout:   5 * time.Second,
			ResponseHeaderTimeout: 5 * time.Second,
		}
	}
	return k.transport
}
