package identity

import (
	"crypto/tls"
	"crypto/x509"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-io/holdfast/broker"
)

// UnmappedPrefix stands before the name of a caller whose certificate is
// verified but belongs to no configured caller, so that the name never equals a
// configured one and its calls are still recognised in the audit.
const UnmappedPrefix = "(unmapped) "

// Identity is who a caller is. It is immutable: calls share it.
type Identity struct {
	// Caller without a request id, which is a call's own.
	broker.Caller
	// Mapped is set if the configuration names the caller, its trust domain or its issuer.
	Mapped bool
}

// Peer is the identity of one connection that showed a certificate.
type Peer struct {
	trust *Trust
	chain []*x509.Certificate

	verified atomic.Pointer[verified]
	again    sync.Mutex // one verification at a time
}

// verified is the outcome of a verification: one of id and err.
type verified struct {
	epoch uint64
	id    *Identity
	err   error
}

// Server returns base changed so that a client's certificate is verified against
// t in the handshake. seen gets the peer then; it is not called if the client
// showed none, which fails the handshake if base demands one.
func (t *Trust) Server(base *tls.Config, seen func(*Peer)) *tls.Config {
	s := t.state.Load()
	c := base.Clone()
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS13
	}
	c.GetConfigForClient = nil // it would replace all of this
	// A resumed session would outlive the authority that vouched for it.
	c.SessionTicketsDisabled = true
	// A client that may show a token instead has no need of a certificate.
	required := c.ClientAuth >= tls.RequireAnyClientCert && !t.Tokens()
	switch {
	case len(t.domains.trusted) == 0:
		// TLS verifies by itself, and tells clients in its own words what was wrong.
		// Without roots nobody is believed: nil would mean the machine's own, under
		// which anybody can get a certificate.
		if c.ClientCAs = s.roots; s.roots == nil {
			c.ClientCAs = x509.NewCertPool()
		}
		if c.ClientAuth = tls.VerifyClientCertIfGiven; required {
			c.ClientAuth = tls.RequireAndVerifyClientCert
		}
	case required:
		c.ClientAuth = tls.RequireAnyClientCert
	default:
		c.ClientAuth = tls.RequestClientCert
	}
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return nil
		}
		v := &verified{epoch: s.epoch}
		if len(cs.VerifiedChains) > 0 && s.roots != nil {
			v.id = t.identify(cs.VerifiedChains)
		} else if v.id, v.err = t.verify(s, cs.PeerCertificates); v.err != nil {
			return v.err
		}
		p := &Peer{trust: t, chain: cs.PeerCertificates}
		p.verified.Store(v)
		seen(p)
		return nil
	}
	return c
}

// Identity returns who the peer is at now. The error is a *broker.Error that
// says why it is nobody any more. Without a change of trust it costs one atomic
// load and a comparison.
func (p *Peer) Identity(now time.Time) (*Identity, error) {
	v := p.verified.Load()
	if v.epoch != p.trust.Epoch() {
		v = p.verifyAgain()
	}
	if v.err != nil {
		return nil, v.err
	}
	if now.After(v.id.NotAfter) {
		return nil, refused("the client certificate ended at " + v.id.NotAfter.UTC().Format(time.RFC3339) +
			"; connect again with a valid one")
	}
	return v.id, nil
}

// verifyAgain verifies the chain of the handshake against what is believed now.
func (p *Peer) verifyAgain() *verified {
	p.again.Lock()
	defer p.again.Unlock()
	s := p.trust.state.Load()
	if v := p.verified.Load(); v.epoch == s.epoch {
		return v
	}
	v := &verified{epoch: s.epoch}
	v.id, v.err = p.trust.verify(s, p.chain)
	p.verified.Store(v)
	return v
}

// lastEnd returns when the last of the chains stops being valid: the chain's
// earliest end, since an expired issuer ends its certificates too.
func lastEnd(chains [][]*x509.Certificate) time.Time {
	var last time.Time
	for _, chain := range chains {
		end := chain[0].NotAfter
		for _, cert := range chain[1:] {
			if cert.NotAfter.Before(end) {
				end = cert.NotAfter
			}
		}
		if end.After(last) {
			last = end
		}
	}
	return last
}

// ownName is what a certificate calls itself: URI, DNS name or common name.
func ownName(cert *x509.Certificate) string {
	switch {
	case len(cert.URIs) > 0:
		return cert.URIs[0].String()
	case len(cert.DNSNames) > 0:
		return cert.DNSNames[0]
	case cert.Subject.CommonName != "":
		return cert.Subject.CommonName
	}
	return "serial " + cert.SerialNumber.String()
}
