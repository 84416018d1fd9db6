package atlassiansim

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Behaviour holds a switch for everything that is unknown about Atlassian, or
// that may change. Start from DefaultBehaviour: here a zero means zero.
type Behaviour struct {
	// LeewaySeconds during which a spent refresh token may be sent again,
	// counted from its first exchange; 0: every reuse is late.
	LeewaySeconds int `json:"leeway_seconds"`
	// Reuse says which spent tokens the leeway forgives: "previous" (only the
	// one whose successors are all unspent) or "any" (each one inside its leeway).
	Reuse string `json:"reuse"`
	// Siblings of one token, made inside the leeway: "both" live, or only the
	// "newest" refresh token of the family does.
	Siblings string `json:"siblings"`
	// LateReuse ends the "family", or everything of that account and "client".
	LateReuse string `json:"late_reuse"`
	// AccessGraceSeconds that an access token lives on after the exchange of the
	// refresh token it came with; -1: to its own expiry.
	AccessGraceSeconds int `json:"access_grace_seconds"`
	// AccessTTLSeconds is the life of an access token and its expires_in.
	AccessTTLSeconds int `json:"access_ttl_seconds"`
	// CodeTTLSeconds is the life of an authorization code.
	CodeTTLSeconds int `json:"code_ttl_seconds"`
	// IdleSeconds without an exchange end a family; 0: no such limit.
	IdleSeconds int `json:"idle_seconds"`
	// AbsoluteSeconds after its consent a family ends; 0: no such limit.
	AbsoluteSeconds int `json:"absolute_seconds"`
	// Refusal is the dialect of the 403 for a dead refresh token:
	// "unauthorized_client" or "invalid_grant".
	Refusal string `json:"refusal"`
	// BadClient is the answer to a wrong client id or secret: "access_denied"
	// (401), "invalid_client" (401) or "incorrect_parameters" (400).
	BadClient string `json:"bad_client"`
	// ExpiredAccess is the status that the Jira and Confluence stubs answer to a
	// dead access token: 401, 403 or 404. accessible-resources and /me answer 401.
	ExpiredAccess int `json:"expired_access"`
	// Revoke is what /oauth/revoke is: "absent" (404), "no_effect" (200),
	// "effective" (200, and the token's family ends) or "effective_account" (200,
	// and every family of the token's client and account ends).
	Revoke string `json:"revoke"`
	// Resources is what accessible-resources answers: "shuffled" (one entry a
	// site and product, in random order), "duplicated" (each entry twice, in random
	// order), "one_url" (every site under the URL of the first one), "empty" (an empty array) or "error" (an error object with status 200).
	Resources string `json:"resources"`
	// TokenBytes is the exact length of access and refresh tokens, 256 to 65536.
	TokenBytes int `json:"token_bytes"`
	// CodeBytes is the exact length of authorization codes, 256 to 8192.
	CodeBytes int `json:"code_bytes"`
	// SecondConsent of the same account and client (and site, for a
	// resource-level app): "independent" (the families do not touch each other),
	// "ends_first" (the consent ends the earlier families) or "refresh_ends_other"
	// (each exchange of one family ends the others).
	SecondConsent string `json:"second_consent"`
	// ConsentScopes says what the scopes of a second consent do to the earlier
	// families: "leave" (nothing), "override" (they get the new scopes and lose
	// their own) or "unite" (all get the union, the new family too). It shows from the
	// next exchange on; access tokens keep the scopes they were made with.
	ConsentScopes string `json:"consent_scopes"`
	// Uninstall of an app on a site "ends" every family that reaches the site,
	// or "removes_site": a family ends with its last one.
	Uninstall string `json:"uninstall"`
	// PasswordChange makes refresh tokens refused "until_back" (until the
	// password is changed back) or ends the families "for_good".
	PasswordChange string `json:"password_change"`
	// Deactivated is the answer to the refresh tokens of a deactivated account:
	// "refusal" (that of Refusal), "access_denied" (a 403 that says so) or "bare" (a
	// 403 that is not JSON).
	Deactivated string `json:"deactivated"`
	// RefreshTokenCap is how many live refresh tokens an account has, over all
	// apps; one more silently drops the oldest. 0: no cap. Auth0's is 200.
	RefreshTokenCap int `json:"refresh_token_cap"`
}

// DefaultBehaviour returns Atlassian Cloud as documented in 2026, and where
// nothing is documented the choice that Auth0, on which it was built, made.
func DefaultBehaviour() Behaviour {
	const day = 24 * 3600
	return Behaviour{
		LeewaySeconds:      600,
		Reuse:              "previous",
		Siblings:           "both",
		LateReuse:          "family",
		AccessGraceSeconds: 600,
		AccessTTLSeconds:   3600,
		CodeTTLSeconds:     300,
		IdleSeconds:        90 * day,
		AbsoluteSeconds:    365 * day,
		Refusal:            "unauthorized_client",
		BadClient:          "access_denied",
		ExpiredAccess:      401,
		Revoke:             "effective",
		Resources:          "shuffled",
		TokenBytes:         2048,
		CodeBytes:          1024,
		SecondConsent:      "independent",
		ConsentScopes:      "leave",
		Uninstall:          "ends",
		PasswordChange:     "until_back",
		Deactivated:        "refusal",
		RefreshTokenCap:    0,
	}
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

// validate reports all problems.
func (b Behaviour) validate() error {
	var errs []error
	oneOf := func(field, got string, want ...string) {
		if !slices.Contains(want, got) {
			errs = append(errs, fmt.Errorf("%s %q: want one of %q", field, got, want))
		}
	}
	within := func(field string, got, low, high int) {
		if got < low || got > high {
			errs = append(errs, fmt.Errorf("%s %d: want %d to %d", field, got, low, high))
		}
	}
	const years = 10 * 365 * 24 * 3600
	within("leeway_seconds", b.LeewaySeconds, 0, years)
	oneOf("reuse", b.Reuse, "previous", "any")
	oneOf("siblings", b.Siblings, "both", "newest")
	oneOf("late_reuse", b.LateReuse, "family", "client")
	within("access_grace_seconds", b.AccessGraceSeconds, -1, years)
	within("access_ttl_seconds", b.AccessTTLSeconds, 1, years)
	within("code_ttl_seconds", b.CodeTTLSeconds, 1, years)
	within("idle_seconds", b.IdleSeconds, 0, years)
	within("absolute_seconds", b.AbsoluteSeconds, 0, years)
	oneOf("refusal", b.Refusal, "unauthorized_client", "invalid_grant")
	oneOf("bad_client", b.BadClient, "access_denied", "invalid_client", "incorrect_parameters")
	if !slices.Contains([]int{401, 403, 404}, b.ExpiredAccess) {
		errs = append(errs, fmt.Errorf("expired_access %d: want 401, 403 or 404", b.ExpiredAccess))
	}
	oneOf("revoke", b.Revoke, "absent", "no_effect", "effective", "effective_account")
	oneOf("resources", b.Resources, "shuffled", "duplicated", "one_url", "empty", "error")
	within("token_bytes", b.TokenBytes, minTokenBytes, maxTokenBytes)
	within("code_bytes", b.CodeBytes, minTokenBytes, 8192)
	oneOf("second_consent", b.SecondConsent, "independent", "ends_first", "refresh_ends_other")
	oneOf("consent_scopes", b.ConsentScopes, "leave", "override", "unite")
	oneOf("uninstall", b.Uninstall, "ends", "removes_site")
	oneOf("password_change", b.PasswordChange, "until_back", "for_good")
	oneOf("deactivated", b.Deactivated, "refusal", "access_denied", "bare")
	within("refresh_token_cap", b.RefreshTokenCap, 0, 1_000_000)
	return errors.Join(errs...)
}
