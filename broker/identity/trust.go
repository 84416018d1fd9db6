package identity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-io/holdfast/broker"
)

// Config of a Trust. Fields without a stated zero value are required.
type Config struct {
	// Roots sign the certificates of callers of the kind x509; nil: there are none.
	Roots *x509.CertPool
	// Name finds the caller's name in a certificate that Roots vouch for. Without
	// ok it belongs to no configured caller: the name then goes on behind
	// UnmappedPrefix, or the certificate's own if it is empty.
	Name func(*x509.Certificate) (name string, ok bool)
	// Now is the clock for verifications; nil: time.Now.
	Now func() time.Time
}

// Trust is what identities are verified against. It is safe for concurrent use.
type Trust struct {
	name func(*x509.Certificate) (string, bool)
	now  func() time.Time

	state   atomic.Pointer[state]
	changed *Broadcast
	change  sync.Mutex // one change at a time; readers load state
}

// state is what is believed in one epoch; immutable.
type state struct {
	epoch uint64
	roots *x509.CertPool
}

// New returns a Trust in its first epoch.
func New(c Config) (*Trust, error) {
	if c.Roots != nil && c.Name == nil {
		return nil, errors.New("identity: Name is required with Roots: it says whom a certificate speaks for")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	t := &Trust{name: c.Name, now: c.Now, changed: NewBroadcast()}
	t.state.Store(&state{epoch: 1, roots: c.Roots})
	return t, nil
}

// Epoch counts the changes of what is believed. It does not block.
func (t *Trust) Epoch() uint64 { return t.state.Load().epoch }

// Changed returns a channel that is closed when the next epoch begins.
func (t *Trust) Changed() <-chan struct{} { return t.changed.Next() }

// SetRoots begins a new epoch with other authorities of x509 callers. Callers
// whose chain they do not vouch for end at their next call.
func (t *Trust) SetRoots(pool *x509.CertPool) {
	t.advance(func(s *state) { s.roots = pool })
}

// advance begins a new epoch.
func (t *Trust) advance(change func(*state)) {
	t.change.Lock()
	next := *t.state.Load()
	next.epoch++
	change(&next)
	t.state.Store(&next)
	t.change.Unlock()
	t.changed.Announce()
}

// verify verifies the chain that a client showed, leaf first, against s.
func (t *Trust) verify(s *state, chain []*x509.Certificate) (*Identity, error) {
	if s.roots == nil {
		return nil, refused("client certificates of this kind are not accepted here; ask an operator which identity to show")
	}
	intermediates := x509.NewCertPool()
	for _, cert := range chain[1:] {
		intermediates.AddCert(cert)
	}
	chains, err := chain[0].Verify(x509.VerifyOptions{
		Roots: s.roots, Intermediates: intermediates, CurrentTime: t.now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, refused(fmt.Sprintf("the client certificate is not believed (%v); connect again with one that the broker's client CA signed", err))
	}
	return t.identify(chains), nil
}

// identify makes the identity of a certificate that was verified.
func (t *Trust) identify(chains [][]*x509.Certificate) *Identity {
	leaf := chains[0][0]
	id := &Identity{Caller: broker.Caller{Kind: broker.CallerX509, NotAfter: lastEnd(chains)}}
	id.Name, id.Mapped = t.name(leaf)
	if id.Mapped = id.Mapped && id.Name != ""; id.Mapped {
		return id
	}
	if id.Name == "" {
		id.Name = ownName(leaf)
	}
	id.Name = UnmappedPrefix + id.Name
	return id
}

func refused(message string) *broker.Error {
	return &broker.Error{Reason: broker.ReasonCallerUnauthenticated, Message: message}
}
