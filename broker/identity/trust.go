package identity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"

	"github.com/holdfast-io/holdfast/broker"
)

// Config of a Trust. Its zero value believes nobody.
type Config struct {
	// Roots sign the certificates of callers of the kind x509; nil: there are none.
	Roots *x509.CertPool
	// Name finds the caller's name in a certificate that Roots vouch for; nil:
	// such a certificate belongs to no configured caller. Without ok the name goes
	// on behind UnmappedPrefix, or the certificate's own if it is empty.
	Name Naming
	// SPIFFE trust domains; nil: none. SetBundles says what vouches for them.
	SPIFFE *SPIFFE
	// Issuers of bearer tokens; Run keeps their keys.
	Issuers []Issuer
	// Log gets what goes wrong with the issuers' keys; nil: slog.Default().
	Log *slog.Logger
	// Now is the clock for verifications; nil: time.Now.
	Now func() time.Time
}

// Trust is what identities are verified against. It is safe for concurrent use.
type Trust struct {
	name    Naming
	domains *domains
	issuers []*issuer
	cache   cache // of tokens
	now     func() time.Time

	state   atomic.Pointer[state]
	changed *Broadcast
	change  sync.Mutex // one change at a time; readers load state
}

// state is what is believed in one epoch, the issuers' keys aside; immutable.
type state struct {
	epoch   uint64
	roots   *x509.CertPool
	bundles *x509bundle.Set
}

// New returns a Trust in its first epoch. The error reports all problems at once.
func New(c Config) (*Trust, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Name == nil {
		c.Name = func(*x509.Certificate) (string, bool) { return "", false }
	}
	t := &Trust{name: c.Name, now: c.Now, changed: NewBroadcast()}
	var spiffe, issuers error
	t.domains, spiffe = c.SPIFFE.compile()
	t.issuers, issuers = compile(c.Issuers)
	if err := errors.Join(spiffe, issuers); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	for _, i := range t.issuers {
		i.keys = newKeys(i, c.Log, c.Now, func() { t.advance(func(*state) {}) })
	}
	t.state.Store(&state{epoch: 1, roots: c.Roots, bundles: x509bundle.NewSet()})
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

// verify verifies the chain that a client showed, leaf first, against s. What
// says that it is of a trusted domain is verified against that domain's bundle
// only, so that no other authority can speak for it.
func (t *Trust) verify(s *state, chain []*x509.Certificate) (*Identity, error) {
	if t.domains.claims(chain[0]) {
		return t.domains.identify(s, chain, x509svid.WithTime(t.now()))
	}
	if s.roots == nil {
		return nil, refused("the client certificate is of no trust domain that the broker is configured for; ask an operator which identity to show")
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

// identify makes the identity of a certificate that the roots vouch for.
func (t *Trust) identify(chains [][]*x509.Certificate) *Identity {
	leaf := chains[0][0]
	id := &Identity{Caller: broker.Caller{Kind: broker.CallerX509, NotAfter: lastEnd(chains)}}
	id.Name, id.Mapped = t.name(leaf)
	if id.Mapped = id.Mapped && id.Name != "" && !t.reserved(id.Name); id.Mapped {
		return id
	}
	if id.Name == "" {
		id.Name = ownName(leaf)
	}
	id.Name = UnmappedPrefix + id.Name
	return id
}

// reserved reports whether a name is one that only a trust domain or an issuer
// gives: an authority of certificates must not speak for them.
func (t *Trust) reserved(name string) bool {
	for _, i := range t.issuers {
		if i.reserves(name) {
			return true
		}
	}
	return strings.HasPrefix(name, UnmappedPrefix) || t.domains.reserves(name)
}

func refused(message string) *broker.Error {
	return &broker.Error{Reason: broker.ReasonCallerUnauthenticated, Message: message}
}
