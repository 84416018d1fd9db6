package atlassian

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

//go:embed profiles/*.yaml
var profileFiles embed.FS

// BodyFormat is how the token endpoint wants its request.
type BodyFormat string

// The formats of a token request.
const (
	BodyJSON BodyFormat = "json"
	BodyForm BodyFormat = "form"
)

// RevokeMode says what the provider's revocation endpoint is worth.
type RevokeMode string

// The worth of a revocation endpoint.
const (
	// RevokeNone: there is none; nothing is sent.
	RevokeNone RevokeMode = "none"
	// RevokeUnverified: there is one, but what it ends is not documented. It is
	// asked, and its success is not believed.
	RevokeUnverified RevokeMode = "unverified"
	// RevokeEffective: RFC 7009 as written; a 200 ends the token.
	RevokeEffective RevokeMode = "effective"
)

// Profile is all that this package knows about one provider. Every field can be
// overridden by configuration, by its yaml name; [New] validates the result.
type Profile struct {
	// Name of the profile, as [LoadProfile] takes it.
	Name string `yaml:"name"`
	// Title is the provider's name for people.
	Title string `yaml:"title"`

	// AuthorizeURL, TokenURL and AccountURL are required.
	AuthorizeURL string `yaml:"authorize_url"`
	TokenURL     string `yaml:"token_url"`
	// AccountURL tells whose token it is (/me, or OpenID Connect's userinfo).
	AccountURL string `yaml:"account_url"`
	// ResourcesURL lists the sites a token reaches; empty: the provider has no sites.
	ResourcesURL string `yaml:"resources_url"`
	// RevokeURL is required unless Revoke is "none".
	RevokeURL string     `yaml:"revoke_url"`
	Revoke    RevokeMode `yaml:"revoke"`
	// PlainHTTP permits http URLs to hosts other than this machine; default
	// false. For tests only: secrets would cross the network in the clear.
	PlainHTTP bool `yaml:"plain_http"`

	// Issuer is what the callback's iss must say (RFC 9207); empty: iss is not
	// looked at. A provider that sends it says so in its metadata, as
	// authorization_response_iss_parameter_supported.
	Issuer string `yaml:"issuer"`

	// AuthorizeParams are added to the authorize URL, e.g. audience and prompt.
	AuthorizeParams map[string]string `yaml:"authorize_params"`
	// Body of token requests, json or form. The client secret is always in it.
	Body BodyFormat `yaml:"body"`
	// PKCE sends an S256 challenge (RFC 7636) with each consent.
	PKCE bool `yaml:"pkce"`
	// OfflineScope is what yields a refresh token; empty: none is needed.
	OfflineScope string `yaml:"offline_scope"`
	// AccountScope is what AccountURL needs; empty: none is needed.
	AccountScope string `yaml:"account_scope"`
	// AccountIDField and AccountNameField name the fields of AccountURL's
	// answer. The id must be stable for ever; the name is for people, may be empty.
	AccountIDField   string `yaml:"account_id_field"`
	AccountNameField string `yaml:"account_name_field"`

	// Leeway is how long reuse of a spent refresh token is forgiven; 0: never.
	Leeway time.Duration `yaml:"leeway"`
	// AccessGrace is how long the old access token lives on after a rotation.
	AccessGrace time.Duration `yaml:"access_grace"`
	// IdleLimit ends a family that long after its last exchange; 0: unknown.
	IdleLimit time.Duration `yaml:"idle_limit"`
	// AbsoluteLimit ends a family that long after its consent; 0: unknown.
	AbsoluteLimit time.Duration `yaml:"absolute_limit"`
	// AssumedLife is the life taken for an access token whose expires_in is
	// missing or unusable. It must be longer than AccessGrace, or such a token
	// would be due for rotation the moment it arrives.
	AssumedLife time.Duration `yaml:"assumed_life"`
	// AllowMissingRefresh keeps the old refresh token as the current one when
	// a refresh returns none (RFC 6749 section 6 permits it). False: such an
	// answer is in doubt.
	AllowMissingRefresh bool `yaml:"allow_missing_refresh_token"`

	// Products by name; empty: the provider has no products, and every scope
	// and site counts for whatever product a grant names.
	Products map[string]Product `yaml:"products"`
	// Errors of the token endpoint; the first row that matches counts.
	Errors []ErrorRow `yaml:"errors"`
}

// Product of a provider.
type Product struct {
	// ScopeWords mean this product where they are a word of a scope
	// ("read:jira-work" has the word "jira"); empty: every scope does.
	ScopeWords []string `yaml:"scope_words"`
	// APIBase is the root of its API, without a trailing slash; {cloudid}
	// stands for the site's id.
	APIBase string `yaml:"api_base"`
}

// ErrorRow is one listed error of the token endpoint. All fields that are set
// must match. A row without Error and DescriptionContains matches any body.
type ErrorRow struct {
	// Status, 400 to 499; 0: any of these. Nothing else can be listed: after a
	// 5xx the token may have been spent.
	Status int `yaml:"status"`
	// GrantType is refresh_token or authorization_code; empty: both.
	GrantType string `yaml:"grant_type"`
	// Error is the exact OAuth error code; empty: any.
	Error string `yaml:"error"`
	// DescriptionContains is a part of error_description, lower case, compared
	// without regard to case; empty: any.
	DescriptionContains string `yaml:"description_contains"`
	// Class is refused, misconfigured or transient.
	Class ErrorClass `yaml:"class"`
	// Code is the short fixed word that logs, events and metrics show.
	Code string `yaml:"code"`
}

// Profiles returns the names of the embedded profiles, sorted.
func Profiles() []string {
	files, err := fs.Glob(profileFiles, "profiles/*.yaml")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	names := make([]string, 0, len(files))
	for _, f := range files {
		names = append(names, strings.TrimSuffix(strings.TrimPrefix(f, "profiles/"), ".yaml"))
	}
	slices.Sort(names)
	return names
}

// LoadProfile returns the embedded profile of that name. The profile oauth2
// becomes valid only once configuration has given it its URLs.
func LoadProfile(name string) (Profile, error) {
	if !slices.Contains(Profiles(), name) {
		return Profile{}, fmt.Errorf("profile %q: there is none of that name; choose one of %s", name, strings.Join(Profiles(), ", "))
	}
	data, err := profileFiles.ReadFile("profiles/" + name + ".yaml")
	if err != nil {
		return Profile{}, fmt.Errorf("reading profile %q: %w", name, err)
	}
	p, err := Profile{}.Override(data)
	if err != nil {
		return Profile{}, fmt.Errorf("profile %q: %w", name, err)
	}
	return p, nil
}

// Override returns p with the fields set that the YAML document names. An
// unknown key is an error with its line. Maps and lists replace p's whole; p and
// the result share those that were not named.
func (p Profile) Override(document []byte) (Profile, error) {
	out := p
	err := yaml.NewDecoder(bytes.NewReader(document), yaml.Strict()).Decode(&out)
	if errors.Is(err, io.EOF) {
		return p, nil // nothing but comments
	}
	return out, err
}

// ConsentScopes returns scopes and, if they are missing, the ones that every
// consent at this provider needs, in that order.
func (p Profile) ConsentScopes(scopes []string) []string {
	out := make([]string, 0, len(scopes)+2)
	for _, s := range append(slices.Clone(scopes), p.AccountScope, p.OfflineScope) {
		if s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
