package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/audit"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

// Products that a grant can be for.
const (
	ProductJira       = "jira"
	ProductConfluence = "confluence"
)

// App is one OAuth client registration.
type App struct {
	ID       string
	ClientID string
	// Default makes it the app of a consent that names none, where several apps
	// have the product.
	Default bool
	// Products: more than one makes it a shared app, whose consents may
	// override one another at the provider.
	Products []string
	// LeaveAtProvider: a revocation is not sent to the provider, where it may end
	// other grants of the account.
	LeaveAtProvider bool
	// Scopes asked for by default, by product; the profile adds its own
	// (offline_access, the account scope).
	Scopes map[string][]string
	// Secrets returns the client secrets that are valid in turn, one or two.
	// It is called at each spend and must not block on the network.
	Secrets func() ([]secret.String, error)
}

// Shared reports whether families of several products live under the app.
func (a *App) Shared() bool { return len(a.Products) > 1 }

// Config of a Broker. The zero value of a field means what its comment says;
// fields without such a word are required.
type Config struct {
	Version, Environment string

	Store    *storage.Store
	Provider *atlassian.Provider
	Apps     []App
	Timing   family.Timing
	// Load bounds what is asked of the provider for each app; the zero value
	// means the defaults.
	Load Load
	// Limits of draws; the zero value means the defaults.
	Limits Limits

	// Retention of grants that have ended; the zero value keeps them for ever.
	Retention Retention

	// Policy decides who may do what, Audit records it. Together they are the
	// funnel that every method passes; see gate.go.
	Policy *policy.Engine
	Audit  *audit.Log

	// PublicURL is the base of the connect page's links; the callback is
	// PublicURL + "/oauth/callback".
	PublicURL *url.URL
	// ReturnOrigins are the origins that a consent's return URL may have; none by default.
	ReturnOrigins []string
	// LinkTTL of a connect link; 0 means 30 minutes.
	LinkTTL time.Duration
	// ConsentTTL from "continue" to the callback; 0 means 15 minutes.
	ConsentTTL time.Duration

	// ServeStaleFor is how long valid tokens are served from memory while a store
	// that several replicas share does not answer: the longer, the more is
	// available, and the later a revocation on another replica binds. It is never
	// longer than the provider's access grace. 0 means 5 minutes, negative: not at
	// all. A store that belongs to this process does not need it.
	ServeStaleFor time.Duration

	// SweepEvery is how often due grants are looked for; 0 means 2 s, negative: never.
	SweepEvery time.Duration
	// Now is the wall clock; nil means time.Now.
	Now func() time.Time
	// Log; nil means slog.Default().
	Log *slog.Logger
	// Observe is told of every spend's outcome; nil: nobody is.
	Observe Observer
}

// Attempt is a spend that has ended, for counting.
type Attempt struct {
	// App id.
	App string
	// Reason why it was begun, and Kind of it.
	Reason family.Reason
	Kind   family.AttemptKind
	// Class of its outcome.
	Class family.Class
	// Took is how long the provider took to answer, or not to.
	Took time.Duration
	// Stored: the outcome is durable; ToSettle is how long that took from the announcement.
	Stored   bool
	ToSettle time.Duration
	// Overtaken: it had lost its lease by then, so that a pair became an
	// alternate at the most.
	Overtaken bool
}

// Observer counts what the broker does; rpc-level figures are the rpc package's.
// Its methods must not block.
type Observer interface {
	Attempt(a Attempt)
	HotHit()
	HotMiss()
	// Death is the end of a family of the app.
	Death(app string, reason family.LapseReason)
	// Purged is the deletion of an ended grant of the app; why is "request" or "retention".
	Purged(app, why string)
	// Security is an UNEXPLAINED_REFUSAL, an INTERFERENCE or a FOREIGN_USE.
	Security(event family.EventType)
}

func (c *Config) validate() error {
	var errs []error
	require := func(ok bool, what string) {
		if !ok {
			errs = append(errs, fmt.Errorf("broker configuration: %s is missing", what))
		}
	}
	require(c.Store != nil, "Store")
	if c.Store != nil && c.Store.MustQuarantine() {
		errs = append(errs, fmt.Errorf("the store may be a copy or out of date (%s): quarantine its grants before a broker is made over it", c.Store.Finding()))
	}
	require(c.Provider != nil, "Provider")
	require(len(c.Apps) > 0, "Apps")
	require(c.PublicURL != nil, "PublicURL")
	require(c.Policy != nil, "Policy")
	require(c.Audit != nil, "Audit")
	errs = append(errs, c.Timing.Validate(), c.Load.validate(), c.Limits.applyDefaults(), c.Retention.validate())
	return errors.Join(errs...)
}

// nobody is the Observer that is told nothing.
type nobody struct{}

func (nobody) Attempt(Attempt)                  {}
func (nobody) HotHit()                          {}
func (nobody) HotMiss()                         {}
func (nobody) Death(string, family.LapseReason) {}
func (nobody) Purged(string, string)            {}
func (nobody) Security(family.EventType)        {}

// applyDefaults fills in what may be left out.
func (c *Config) applyDefaults() {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Observe == nil {
		c.Observe = nobody{}
	}
	if c.LinkTTL == 0 {
		c.LinkTTL = 30 * time.Minute
	}
	if c.ConsentTTL == 0 {
		c.ConsentTTL = 15 * time.Minute
	}
	if c.SweepEvery == 0 {
		c.SweepEvery = defaultSweepEvery
	}
}
