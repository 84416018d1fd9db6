package rpc

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"time"

	"google.golang.org/grpc/credentials"
)

// UnmappedPrefix stands before the name of a caller whose certificate is
// verified but belongs to no configured caller, so that the name never equals a
// configured one and its calls are still recognised in the audit.
const UnmappedPrefix = "(unmapped) "

// identity is who a connection speaks for. It is computed once per connection
// and then only read.
type identity struct {
	credentials.TLSInfo
	// name is empty if the client showed no certificate.
	name string
	// notAfter is when the first certificate of the verified chain ends.
	notAfter time.Time
	// mapped is set if the certificate belongs to a configured caller.
	mapped bool
}

// handshaker is TLS credentials that also compute the caller's identity.
type handshaker struct {
	credentials.TransportCredentials
	callerName func(*x509.Certificate) (name string, ok bool)
}

func newHandshaker(config *tls.Config, callerName func(*x509.Certificate) (string, bool)) *handshaker {
	config = config.Clone()
	if config.MinVersion == 0 {
		config.MinVersion = tls.VersionTLS13
	}
	if config.ClientAuth == tls.NoClientCert {
		// Without a certificate the handshake succeeds and every call is refused
		// with a sentence; a failed handshake would tell people nothing.
		config.ClientAuth = tls.VerifyClientCertIfGiven
	}
	return &handshaker{credentials.NewTLS(config), callerName}
}

// ServerHandshake implements credentials.TransportCredentials.
func (h *handshaker) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := h.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	id := &identity{}
	if t, ok := info.(credentials.TLSInfo); ok {
		id.TLSInfo = t
		h.identify(id, t.State.VerifiedChains)
	}
	return conn, id, nil
}

// Clone implements credentials.TransportCredentials.
func (h *handshaker) Clone() credentials.TransportCredentials {
	return &handshaker{h.TransportCredentials.Clone(), h.callerName}
}

// identify fills in who the verified chains speak for. A certificate that the
// TLS package did not verify is no identity, whatever the configuration says.
func (h *handshaker) identify(id *identity, chains [][]*x509.Certificate) {
	if len(chains) == 0 || len(chains[0]) == 0 {
		return
	}
	leaf := chains[0][0]
	id.notAfter = lastEnd(chains)
	id.name, id.mapped = h.callerName(leaf)
	if id.mapped = id.mapped && id.name != ""; id.mapped {
		return
	}
	if id.name == "" {
		id.name = ownName(leaf)
	}
	id.name = UnmappedPrefix + id.name
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
