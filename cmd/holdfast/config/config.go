// Package config owns the configuration file of `holdfast serve`: its shape,
// its strict decoding and its validation, which reports all problems at once
// with their lines. It opens no listener and no store; package node does.
//
// The file names secret files, never secrets. Relative paths count from the
// directory of the configuration file. Durations are texts with a unit, "30s".
package config

import (
	"net/url"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/family"
)

// Defaults of fields that may be left out.
const (
	DefaultGRPCListen    = ":7443"
	DefaultHTTPListen    = ":7080"
	DefaultMetricsListen = "127.0.0.1:7090"
	DefaultLogLevel      = "info"
	DefaultLogFormat     = "text"
)

// Config is one decoded and validated file. Paths in it are absolute, or
// relative to the working directory if the file's own path was.
type Config struct {
	// Environment that the store belongs to, e.g. "production". Required: a
	// store of one environment refuses to be opened in another.
	Environment string `yaml:"environment"`
	// PublicURL is where browsers reach the connect page. Required, https, without a path.
	PublicURL string `yaml:"public_url"`

	Store    Store    `yaml:"store"`
	Keys     Keys     `yaml:"keys"`
	GRPC     GRPC     `yaml:"grpc"`
	HTTP     HTTP     `yaml:"http"`
	Metrics  Metrics  `yaml:"metrics"`
	TLS      TLS      `yaml:"tls"`
	Provider Provider `yaml:"provider"`
	// Apps are the OAuth client registrations; at least one.
	Apps []App `yaml:"apps"`
	// Callers are the services that may do anything at all; all others are denied.
	Callers []Caller `yaml:"callers"`
	// Identity says how they show who they are. Default: by client certificates.
	Identity Identity `yaml:"identity"`
	// Policy adds Cedar policies to what callers lists.
	Policy Policy `yaml:"policy"`
	Limits Limits `yaml:"limits"`
	// ExtAuthz serves Envoy's external authorization; default: it is not served.
	ExtAuthz ExtAuthz `yaml:"ext_authz"`
	// Retention of grants that have ended; default: for ever.
	Retention Retention `yaml:"retention"`
	Audit     Audit     `yaml:"audit"`
	Log       Log       `yaml:"log"`
	// ReturnURLs are the origins, e.g. "https://portal.example.com", that the
	// last page of a consent may link back to. Default: none.
	ReturnURLs []string `yaml:"return_urls"`
}

// GRPC is the listener of the contract.
type GRPC struct {
	// Listen address; default ":7443".
	Listen string `yaml:"listen"`
}

// HTTP is the listener of the connect page, /healthz and /readyz.
type HTTP struct {
	// Listen address; default ":7080".
	Listen string `yaml:"listen"`
	// BehindProxy makes the listener plain: a proxy in front ends TLS. Default false.
	BehindProxy bool `yaml:"behind_proxy"`
	// CertFile and KeyFile are the certificate that browsers see; default: that of tls.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// Metrics is the plain listener of /metrics, and of a /readyz with the reasons.
type Metrics struct {
	// Listen address; default "127.0.0.1:7090".
	Listen string `yaml:"listen"`
}

// TLS of the gRPC listener; the files are read again when they change.
type TLS struct {
	// CertFile and KeyFile are required, unless identity.spiffe.serve_svid takes
	// their place and the connect page does not need them either.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
	// ClientCAFile holds the certificates that sign callers' certificates.
	// Required, unless all callers come by identity.spiffe or identity.jwt.
	ClientCAFile string `yaml:"client_ca_file"`
}

// Provider is the authorization server and the timing of rotations against it.
type Provider struct {
	// Profile is the name of a built-in profile: atlassian, atlassian-gov or oauth2. Default "atlassian".
	Profile string `yaml:"profile"`
	// Overrides replaces fields of the profile, e.g. token_url; the names are
	// those of atlassian.Profile.
	Overrides Overrides `yaml:"overrides"`
	// ProxyURL of the egress proxy, http or https; default: none (the environment is not asked).
	ProxyURL string `yaml:"proxy_url"`
	// ProxyURLFile holds the URL instead, for a proxy that wants a password.
	ProxyURLFile string `yaml:"proxy_url_file"`
	// CAFile replaces the system's certificates for calls to the provider and its proxy; default: the system's.
	CAFile string `yaml:"ca_file"`
	// HTTPTimeout bounds one call to the provider; default 20s.
	HTTPTimeout time.Duration `yaml:"http_timeout"`
	// Lease is the exclusive right to attempt; default 60s.
	Lease time.Duration `yaml:"lease"`
	// ClockMargin is how far clocks may differ; default 10s.
	ClockMargin time.Duration `yaml:"clock_margin"`
	// Rate is how many refresh tokens are spent a second for each app, 1 to 100000;
	// default 10. Burst is how many of them may come at once after a pause, 2 to
	// 100000, default 20. Concurrency is how many may be under way, 2 to 1000,
	// default 16: each has its room in the spill file, 256 KiB.
	Rate        int `yaml:"rate"`
	Burst       int `yaml:"burst"`
	Concurrency int `yaml:"concurrency"`
	// InDoubt says what an attempt of unknown outcome becomes at a provider
	// without leeway: "lapse" or "last_try". Required there, ignored elsewhere.
	InDoubt string `yaml:"in_doubt"`

	// Resolved is the profile with its overrides, Timing what follows from all
	// of this section. Both are set by validation.
	Resolved atlassian.Profile `yaml:"-"`
	Timing   family.Timing     `yaml:"-"`
}

// Overrides are fields of the profile by their names, kept as they stand in the
// file until the profile is known. The zero value overrides nothing.
type Overrides struct{ node ast.Node }

// App is one OAuth client registration.
type App struct {
	// ID that grants remember. Required, unique, never changed afterwards.
	ID string `yaml:"id"`
	// Products: jira, confluence. More than one makes it a shared app.
	Products []string `yaml:"products"`
	// Default makes it the app for its products if several apps have them.
	Default  bool   `yaml:"default"`
	ClientID string `yaml:"client_id"`
	// ClientSecretFiles: one, or two while a secret is being changed; tried in
	// this order, read again when they change.
	ClientSecretFiles []string `yaml:"client_secret_files"`
	// LeaveAtProvider: a revoked grant is not revoked at the provider, where that may
	// end other grants of the account. Default false.
	LeaveAtProvider bool `yaml:"leave_at_provider"`
	// Scopes asked for, by product; offline_access is added by itself.
	Scopes map[string][]string `yaml:"scopes"`
}

// Caller gives rights to one caller.
type Caller struct {
	// Name in the certificate: a SAN URI, a SAN DNS name or the common name; or
	// what identity makes of a certificate or token, e.g. a SPIFFE ID.
	Name string `yaml:"name"`
	// Grants that it may draw tokens from: patterns such as acme/*/jira.
	Grants []string `yaml:"grants"`
	// Consents that it may start: patterns of the same form.
	Consents []string `yaml:"consents"`
	// Admin allows the whole AdminService and every consent, but no token. Default false.
	Admin bool `yaml:"admin"`
}

// Log of the process, to standard error.
type Log struct {
	// Level: debug, info, warn or error. Default info.
	Level string `yaml:"level"`
	// Format: text or json. Default text.
	Format string `yaml:"format"`
}

// Public returns PublicURL parsed. It must not be called on a file that was not validated.
func (c *Config) Public() *url.URL {
	u, err := url.Parse(c.PublicURL)
	if err != nil {
		panic("public_url was not validated: " + err.Error())
	}
	return u
}

// applyDefaults fills the fields that may be left out.
func (c *Config) applyDefaults() {
	c.Limits.applyDefaults()
	c.Store.applyDefaults()
	for _, d := range []struct {
		field *string
		value string
	}{
		{&c.GRPC.Listen, DefaultGRPCListen},
		{&c.HTTP.Listen, DefaultHTTPListen},
		{&c.Metrics.Listen, DefaultMetricsListen},
		{&c.Provider.Profile, DefaultProfile},
		{&c.Log.Level, DefaultLogLevel},
		{&c.Log.Format, DefaultLogFormat},
	} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	for _, d := range []struct {
		field *int
		value int
	}{
		{&c.Provider.Rate, broker.DefaultLoadRate},
		{&c.Provider.Burst, broker.DefaultLoadBurst},
		{&c.Provider.Concurrency, broker.DefaultLoadConcurrency},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.Provider.HTTPTimeout, DefaultHTTPTimeout},
		{&c.Provider.Lease, DefaultLease},
		{&c.Provider.ClockMargin, DefaultClockMargin},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
}
