package atlassiansim

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/secret"
)

// Config of a simulator. Apps is the one required field.
type Config struct {
	// Apps that are registered with the simulated provider; at least one.
	Apps []App
	// Accounts that can consent; nil: DefaultAccounts.
	Accounts []Account
	// Sites that can be chosen; nil: DefaultSites.
	Sites []Site
	// Now is the clock underneath; nil: time.Now. Advance and SetNow shift what
	// the simulator makes of it.
	Now func() time.Time
	// AutoConsent makes /authorize accept at once, as the first account that
	// has a fitting site, without showing a page; false: it asks a person. One
	// request overrides it with sim_consent=accept|deny|ask.
	AutoConsent bool
	// Behaviour is how the provider behaves where Atlassian's own behaviour is
	// unknown or may change; nil: DefaultBehaviour.
	Behaviour *Behaviour
	// Faults that are armed from the start; none by default.
	Faults []Fault
	// Seed of everything left to chance (faults by percentage, the order of
	// accessible-resources); 0 is as good a seed as any other.
	Seed uint64
	// KeepExchanges is how many exchanges of each family the ledger keeps, and
	// how many strays: the newest so many, and whatever Ledger.LateReuses and
	// OldReuses return, which with Posts, LostFamilies and all Counts stay exact. Tokens
	// that have expired, or are spent for longer than the leeway, are forgotten too and
	// answered as before, and so are the families of the client credentials grant
	// with their token; neither a longer leeway nor a clock that is set back revives them.
	// 0: all are kept, and memory grows with each exchange. Set it for
	// simulations of a million exchanges.
	KeepExchanges int
	// StateFile keeps families, tokens and the clock's offset over restarts.
	// It is replaced atomically and synced before each answer leaves, so that it survives
	// SIGKILL; tokens stand in it as hashes only. Its directory must exist, and
	// one simulator at a time may use it. The whole file is written each time:
	// it is meant for the few grants of one developer. Empty: nothing is kept.
	StateFile string
}

// App is one OAuth client registration.
type App struct {
	// ClientID as sent to the endpoints.
	ClientID string
	// Secrets that are accepted; two while a secret is being rotated.
	Secrets []secret.String
	// Name shown on the consent page; empty: the client id.
	Name string
	// CallbackURL must match redirect_uri exactly.
	CallbackURL string
	// Scopes the app may ask for. offline_access is no scope of the console and
	// is always allowed.
	Scopes []string
	// Level of the app's grants; empty: AccountLevel.
	Level Level
	// ServiceAccount is the account id that client credentials stand for;
	// empty: this app may not use the client credentials grant.
	ServiceAccount string
}

// Level says how far one consent reaches.
type Level string

const (
	// AccountLevel apps have one grant per account, to which each consent adds a site.
	AccountLevel Level = "account"
	// ResourceLevel apps get only the site chosen in that very consent.
	ResourceLevel Level = "resource"
)

// Account of a person (or service) at the provider.
type Account struct {
	// ID is the stable account_id.
	ID string `json:"account_id"`
	// Name to show.
	Name string `json:"name"`
	// Email address; it may change and identifies nobody.
	Email string `json:"email"`
	// Sites (cloud ids) that the account may use; empty: all.
	Sites []string `json:"sites,omitempty"`
}

// Site is a customer's cloud site.
type Site struct {
	// CloudID is the resource id in API paths.
	CloudID string `json:"cloud_id"`
	// Name to show.
	Name string `json:"name"`
	// URL of the site itself.
	URL string `json:"url"`
	// Products installed on it: "jira", "confluence".
	Products []string `json:"products"`
}

// DefaultAccounts returns two accounts that may use every site.
func DefaultAccounts() []Account {
	return []Account{
		{ID: "712020:5c1e6a52-0001-4f6b-9a57-automation01", Name: "Acme Automation", Email: "automation@acme.example"},
		{ID: "712020:5c1e6a52-0002-4f6b-9a57-adalovelace2", Name: "Ada Lovelace", Email: "ada@acme.example"},
	}
}

// DefaultSites returns two sites with both products and one with Jira only.
func DefaultSites() []Site {
	return []Site{
		{CloudID: "11111111-aaaa-4bbb-8ccc-000000000001", Name: "acme", URL: "https://acme.atlassian.net", Products: []string{"jira", "confluence"}},
		{CloudID: "11111111-aaaa-4bbb-8ccc-000000000002", Name: "acme-sandbox", URL: "https://acme-sandbox.atlassian.net", Products: []string{"jira", "confluence"}},
		{CloudID: "11111111-aaaa-4bbb-8ccc-000000000003", Name: "acme-support", URL: "https://acme-support.atlassian.net", Products: []string{"jira"}},
	}
}

// withDefaults fills the documented zero values in; c itself stays unchanged.
func (c Config) withDefaults() Config {
	if c.Accounts == nil {
		c.Accounts = DefaultAccounts()
	}
	if c.Sites == nil {
		c.Sites = DefaultSites()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Behaviour == nil {
		b := DefaultBehaviour()
		c.Behaviour = &b
	}
	c.Apps = slices.Clone(c.Apps)
	for i := range c.Apps {
		a := &c.Apps[i]
		if a.Name == "" {
			a.Name = a.ClientID
		}
		if a.Level == "" {
			a.Level = AccountLevel
		}
	}
	return c
}

// validate reports all problems of a configuration whose defaults are filled in.
func (c Config) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Apps) == 0 {
		bad("apps: none given; the simulator needs at least one app")
	}
	apps := map[string]bool{}
	for i, a := range c.Apps {
		for _, err := range c.appProblems(a) {
			bad("apps[%d] (%s): %w", i, a.ClientID, err)
		}
		if apps[a.ClientID] {
			bad("apps[%d] (%s): client id given twice", i, a.ClientID)
		}
		apps[a.ClientID] = true
	}
	if c.KeepExchanges < 0 {
		bad("keep exchanges %d: want no negative number", c.KeepExchanges)
	}
	errs = append(errs, c.dataProblems()...)
	if err := c.Behaviour.validate(); err != nil {
		bad("behaviour: %w", err)
	}
	for i, f := range c.Faults {
		if err := f.validate(); err != nil {
			bad("faults[%d]: %w", i, err)
		}
	}
	return errors.Join(errs...)
}

func (c Config) appProblems(a App) (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if a.ClientID == "" {
		bad("client id is empty")
	}
	if err := checkSecrets(a.Secrets); err != nil {
		bad("%w", err)
	}
	if u, err := url.Parse(a.CallbackURL); err != nil || !u.IsAbs() || u.Host == "" || u.Fragment != "" {
		bad("callback URL %q: want an absolute URL without a fragment", a.CallbackURL)
	}
	if err := checkScopes(a.Scopes); err != nil {
		bad("%w", err)
	}
	if a.Level != AccountLevel && a.Level != ResourceLevel {
		bad("level %q: want %q or %q", a.Level, AccountLevel, ResourceLevel)
	}
	if a.ServiceAccount != "" && !slices.ContainsFunc(c.Accounts, func(x Account) bool { return x.ID == a.ServiceAccount }) {
		bad("service account %q is none of the accounts", a.ServiceAccount)
	}
	return errs
}

func checkSecrets(secrets []secret.String) error {
	if len(secrets) == 0 || slices.ContainsFunc(secrets, secret.String.Empty) {
		return errors.New("secrets: want at least one, and none of them empty")
	}
	return nil
}

func checkScopes(scopes []string) error {
	if len(scopes) == 0 {
		return errors.New("scopes: none given")
	}
	var errs []error
	for _, sc := range scopes {
		if sc == "" || strings.ContainsAny(sc, " \t\n") {
			errs = append(errs, fmt.Errorf("scope %q: want one scope without spaces", sc))
		}
	}
	return errors.Join(errs...)
}

func (c Config) dataProblems() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	sites := map[string]bool{}
	for i, s := range c.Sites {
		if s.CloudID == "" || strings.Contains(s.CloudID, "/") || sites[s.CloudID] {
			bad("sites[%d]: cloud id %q is empty, given twice or has a slash", i, s.CloudID)
		}
		sites[s.CloudID] = true
		for _, p := range s.Products {
			if p != productJira && p != productConfluence {
				bad("sites[%d]: product %q: want %q or %q", i, p, productJira, productConfluence)
			}
		}
	}
	accounts := map[string]bool{}
	for i, a := range c.Accounts {
		if a.ID == "" || accounts[a.ID] {
			bad("accounts[%d]: account id %q is empty or given twice", i, a.ID)
		}
		accounts[a.ID] = true
		for _, id := range a.Sites {
			if !sites[id] {
				bad("accounts[%d]: site %q is none of the sites", i, id)
			}
		}
	}
	return errs
}
