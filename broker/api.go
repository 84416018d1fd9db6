package broker

import (
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

// Caller is an authenticated service. The zero value is nobody and is always denied.
type Caller struct {
	// Name as the audit record shows it: unique among callers of all kinds.
	Name string
	// Kind is how the caller proved who it is.
	Kind CallerKind
	// Via is the proxy that vouches for a caller of the kind CallerProxy; else empty.
	Via string
	// Groups that the identity's trust domain or issuer says it belongs to, sorted.
	// It must not be changed: calls of one identity share it.
	Groups []string
	// NotAfter ends the identity (the certificate's end); zero: no end.
	NotAfter time.Time
	// RequestID of the call, for audit and logs.
	RequestID string
}

// CallerKind is how a caller proves who it is.
type CallerKind string

// The kinds of callers. The audit record and the policy show these words.
const (
	CallerX509   CallerKind = "x509"
	CallerSPIFFE CallerKind = "spiffe"
	CallerJWT    CallerKind = "jwt"
	// CallerProxy is known by the word of a trusted proxy.
	CallerProxy CallerKind = "proxy"
)

// TokenRequest asks for an access token.
type TokenRequest struct {
	// Grant by id, or by Address if ID is empty.
	ID      string
	Address storage.Address
	// Site is a cloud id or a site's URL; empty: none is chosen, and the
	// answer names the site only if the grant has exactly one.
	Site string
	// NeedSite refuses the request if no site comes of that.
	NeedSite       bool
	RequiredScopes []string
	// MinTTL that the token must still have; 0 to the access grace.
	MinTTL time.Duration
	// IfNotGeneration: the caller saw that generation rejected; 0: none.
	IfNotGeneration uint64
	Purpose         string
}

// TokenAnswer is an access token and what to know about it. It is shared
// between calls: never change one.
type TokenAnswer struct {
	GrantID         string
	Address         storage.Address
	Token           secret.String
	Generation      uint64
	ExpiresAt       time.Time
	GuaranteedUntil time.Time
	RefreshAfter    time.Time
	ServerTime      time.Time
	Scopes          []string
	// Site is nil if none was asked for and the grant has not exactly one.
	Site *storage.Site
	// APIBaseURL is the ready base of the product's API for Site, without a
	// trailing slash; empty without a site.
	APIBaseURL string
}

// TokenResult is one answer of a batch: exactly one field is set.
type TokenResult struct {
	Answer *TokenAnswer
	Err    error
}

// RejectionReport says that the provider's API refused an access token.
type RejectionReport struct {
	ID         string
	Address    storage.Address
	Generation uint64
	HTTPStatus int
}

// RejectionVerdict is the broker's answer to a report. The words are the contract's.
type RejectionVerdict string

// The verdicts on a reported access token.
const (
	// VerdictAccepted: the provider still accepts the token; the cause lies elsewhere.
	VerdictAccepted RejectionVerdict = "TOKEN_ACCEPTED"
	// VerdictRejected: the provider refused it with a 401; a newer one is being fetched.
	VerdictRejected RejectionVerdict = "TOKEN_REJECTED"
	// VerdictStale: the grant already has a newer generation.
	VerdictStale RejectionVerdict = "GENERATION_STALE"
	// VerdictUnverified: the provider gave no clear answer, or this grant was checked moments ago.
	VerdictUnverified RejectionVerdict = "UNVERIFIED"
)

// ConsentRequest starts a consent.
type ConsentRequest struct {
	Address storage.Address
	// App id; empty: the one app configured for the product.
	App string
	// Scopes; empty: the app's configured ones. offline_access is always added.
	Scopes []string
	// ReturnURL, if set, is offered as a link on the last page. Its origin must be configured.
	ReturnURL string
}

// ConsentLink is a started consent.
type ConsentLink struct {
	ID        string
	URL       string
	ExpiresAt time.Time
	Scopes    []string
	// Warning, if set, says what a shared app risks.
	Warning string
}

// ConsentInfo is where a consent stands.
type ConsentInfo struct {
	ID        string
	Address   storage.Address
	App       string
	Status    storage.ConsentStatus
	Detail    string
	ExpiresAt time.Time
	GrantID   string // set once Status is DONE
}

// GrantInfo is a grant without its secrets.
type GrantInfo struct {
	ID              string
	Address         storage.Address
	App             string
	Account         string
	Phase           family.Phase
	Lapse           family.LapseReason
	Generation      uint64
	Scopes          []string
	Sites           []storage.Site
	CreatedAt       time.Time
	ConsentedAt     time.Time
	LastExchange    time.Time
	AccessExpiresAt time.Time
	InDoubt         bool
	AttemptRunning  bool
	NextAttempt     time.Time
	// Deadlines by which the provider ends the family, and where their limits are
	// known from; zero: unknown.
	IdleDeadline, AbsoluteDeadline time.Time
	IdleSource, AbsoluteSource     family.Source
	// Related are the ids of other grants of the account at the same client, at
	// most 100; only Broker.Grant fills it.
	Related []string
}

// GrantFilter narrows ListGrants.
type GrantFilter struct {
	Tenant, Product string
	Phase           family.Phase
	// PageSize 1 to 1000; 0 means 100.
	PageSize  int
	PageToken string
}

// Status of this broker.
type Status struct {
	Version, Environment, Provider, StoreID string
	StartedAt, Now                          time.Time
	Ready                                   bool
	// Reasons says, one a line, why it is not ready.
	Reasons  []string
	Families map[family.Phase]int
	// CountedAt is when the counting of Families began: before Now where that takes
	// long, and where it was not possible just now. Zero: nobody has counted yet.
	CountedAt time.Time
	// OpenSettlements counts new tokens that could not be stored yet.
	OpenSettlements int
	Apps            []AppStatus
	// Clock is what the provider's newest answer said about this machine's
	// clock; its At is zero if there was none yet.
	Clock atlassian.Clock
	// StoreFinding is what speaks for it that the store is a copy or out of date; empty: nothing.
	StoreFinding string
	// Warnings are what somebody should look at although the broker does its
	// work, one sentence each.
	Warnings []string
	// Damaged are the ids of grants whose records do not open.
	Damaged []string
	// KeyRotation is the newest rotation of the data keys; nil: none was begun.
	KeyRotation *KeyRotation
	// AuditCheckpoint is the newest of this process; empty: there is none yet.
	AuditCheckpoint string
}

// AppStatus is one app as configured and as it fares.
type AppStatus struct {
	ID       string
	Products []string
	// Paused says why nothing is spent for this app; empty: it is not paused.
	Paused string
	Shared bool
	// PausedByOperator: it does not resume by itself.
	PausedByOperator bool
	// VerdictsHeld: no family is declared lapsed, since too many are refused at once.
	VerdictsHeld bool
	// RecentAttempts of the last 5 minutes, on all replicas, and RecentRefusals among them.
	RecentAttempts, RecentRefusals uint64
	// CircuitOpen: the provider fails for the app, and few grants are tried.
	CircuitOpen bool
	// Events are the newest, newest first. Apps fills it, Status does not.
	Events []storage.AppEvent
}
