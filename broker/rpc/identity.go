package rpc

import (
	"crypto/tls"
	"errors"
	"net"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/holdfast-io/holdfast/broker/door"
	"github.com/holdfast-io/holdfast/broker/identity"
)

// connection is what is known of one connection.
type connection struct {
	credentials.TLSInfo
	// peer is nil if the client showed no certificate.
	peer identifier
	// wire is the connection in the clear; nil in tests that have none.
	wire *wire
	// stranger is nil unless the client showed none and may bring tokens.
	stranger *stranger
}

// identifier says who somebody is at a time; the error is a *broker.Error.
// Usually it is an *identity.Peer.
type identifier interface {
	Identity(now time.Time) (*identity.Identity, error)
}

// handshaker is TLS credentials under which a connection knows whom it speaks for.
type handshaker struct {
	credentials.TransportCredentials // all but the server's handshake
	config                           *tls.Config
	trust                            *identity.Trust
	flow                             *inflow
	// takePlace is for a client that has shown a certificate; the error says why there is none.
	takePlace func(identifier, *wire) error
}

func newHandshaker(config *tls.Config, trust *identity.Trust, flow *inflow, takePlace func(identifier, *wire) error) *handshaker {
	return &handshaker{credentials.NewTLS(config), config, trust, flow, takePlace}
}

// ServerHandshake implements credentials.TransportCredentials. Each handshake
// has a configuration of its own, so that its certificate is verified against
// what is believed at that moment.
func (h *handshaker) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c := &connection{}
	config := h.trust.Server(h.config, func(p *identity.Peer) { c.peer = p })
	conn, info, err := credentials.NewTLS(config).ServerHandshake(raw)
	if err != nil {
		return nil, nil, err
	}
	if t, ok := info.(credentials.TLSInfo); ok {
		c.TLSInfo = t
	}
	place, _ := raw.(*door.Conn)
	c.wire = h.flow.watch(conn, place)
	switch {
	case c.peer != nil:
		if err := h.takePlace(c.peer, c.wire); err != nil {
			return nil, nil, errors.Join(err, c.wire.Close())
		}
	case h.trust.Tokens():
		c.stranger = newStranger(c.wire)
		return c.stranger, c, nil
	}
	return c.wire, c, nil
}

// Clone implements credentials.TransportCredentials.
func (h *handshaker) Clone() credentials.TransportCredentials {
	return &handshaker{h.TransportCredentials.Clone(), h.config, h.trust, h.flow, h.takePlace}
}
