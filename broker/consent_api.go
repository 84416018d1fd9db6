package broker

import (
	"time"

	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

// ConnectView is what the connect page says before a person goes to the provider.
type ConnectView struct {
	ConsentID string
	// Product is the address's segment, e.g. "jira"; ProductName is for people.
	Product, ProductName  string
	Tenant, Subject, Name string
	App                   string
	ProviderName          string
	Scopes                []string
	// Warning says what a shared app risks; empty for an app of its own.
	Warning string
	// HasSites is set if a consent at this provider is for one site.
	HasSites bool
	// Reconsent is set if the grant exists already.
	Reconsent bool
	ExpiresAt time.Time
	// Status is PENDING, or where the consent already stands.
	Status storage.ConsentStatus
}

// ConsentStart sends a browser to the provider.
type ConsentStart struct {
	ConsentID   string
	RedirectURL string
	// Cookie binds the consent to this browser.
	Cookie    secret.String
	ExpiresAt time.Time
}

// Callback is what the provider's redirect brought.
type Callback struct {
	State string
	Code  secret.String
	// Error is the OAuth error code, e.g. "access_denied"; never shown as it is.
	Error string
	// Issuer is what the redirect says who made it (RFC 9207); empty: nothing.
	Issuer string
	// Cookie returns the browser's cookie of a consent; empty: none.
	Cookie func(consentID string) secret.String
}

// ConsentOutcome is where a consent stands for the person in front of the browser.
type ConsentOutcome struct {
	ConsentID   string
	Address     storage.Address
	ProductName string
	Status      storage.ConsentStatus
	Detail      string
	// Account that consented at the provider, by its id; empty until it is known.
	Account string
	Sites   []storage.Site
	// LostScopes and LostSites are set for NEEDS_CONFIRMATION.
	LostScopes []string
	LostSites  []storage.Site
	ReturnURL  string
}
