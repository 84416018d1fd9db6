package atlassian

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Validate reports all that is wrong with the profile, one problem a line.
func (p Profile) Validate() error {
	v := validation{plainHTTP: p.PlainHTTP}
	v.url("authorize_url", p.AuthorizeURL, true)
	v.url("token_url", p.TokenURL, true)
	v.url("account_url", p.AccountURL, true)
	v.url("resources_url", p.ResourcesURL, false)
	v.url("issuer", p.Issuer, false)
	v.oneOf("revoke", string(p.Revoke), string(RevokeNone), string(RevokeUnverified), string(RevokeEffective))
	v.url("revoke_url", p.RevokeURL, p.Revoke == RevokeUnverified || p.Revoke == RevokeEffective)
	v.oneOf("body", string(p.Body), string(BodyJSON), string(BodyForm))
	v.check(p.Name != "", "name: missing; logs and records call the provider by it")
	v.check(p.AccountIDField != "", "account_id_field: missing; the first consent pins the account by it")
	v.params(p.AuthorizeParams)
	v.durations(p)
	for _, name := range slices.Sorted(maps.Keys(p.Products)) {
		v.product(name, p.Products[name])
	}
	for i, row := range p.Errors {
		v.row(fmt.Sprintf("errors[%d]", i), row)
	}
	return errors.Join(v.problems...)
}

type validation struct {
	plainHTTP bool
	problems  []error
}

func (v *validation) check(ok bool, format string, args ...any) {
	if !ok {
		v.problems = append(v.problems, fmt.Errorf(format, args...))
	}
}

func (v *validation) oneOf(field, value string, allowed ...string) {
	v.check(slices.Contains(allowed, value), "%s: %q; want one of %s", field, value, strings.Join(allowed, ", "))
}

func (v *validation) url(field, value string, required bool) {
	if value == "" {
		v.check(!required, "%s: missing; give the provider's URL", field)
		return
	}
	u, err := url.Parse(value)
	if err != nil || u.Host == "" {
		v.check(false, "%s: %q is no absolute URL", field, value)
		return
	}
	v.check(u.User == nil && u.Fragment == "", "%s: a user or a fragment does not belong here", field)
	if u.Scheme == "http" {
		v.check(v.plainHTTP || isLoopback(u.Hostname()),
			"%s: http would send secrets in the clear; use https (plain_http permits it, for tests only)", field)
		return
	}
	v.check(u.Scheme == "https", "%s: scheme %q; want https", field, u.Scheme)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// ownParams are what AuthorizeURL itself sets: a profile may not say otherwise.
var ownParams = []string{"client_id", "redirect_uri", "response_type", "scope", "state", "code_challenge", "code_challenge_method"}

func (v *validation) params(params map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(params)) {
		v.check(!slices.Contains(ownParams, name), "authorize_params: %s is set by each consent; remove it here", name)
	}
}

func (v *validation) durations(p Profile) {
	v.check(p.Leeway >= 0, "leeway: %s; want 0 or more", p.Leeway)
	v.check(p.AccessGrace >= 0, "access_grace: %s; want 0 or more", p.AccessGrace)
	v.check(p.IdleLimit >= 0, "idle_limit: %s; want 0 (unknown) or more", p.IdleLimit)
	v.check(p.AbsoluteLimit >= 0, "absolute_limit: %s; want 0 (unknown) or more", p.AbsoluteLimit)
	v.check(p.AssumedLife > p.AccessGrace && p.AssumedLife <= maxLife,
		"assumed_life: %s; want more than access_grace (%s) and at most %s", p.AssumedLife, p.AccessGrace, maxLife)
}

func (v *validation) product(name string, p Product) {
	field := "products." + name
	v.url(field+".api_base", strings.ReplaceAll(p.APIBase, "{cloudid}", "x"), false)
	v.check(!strings.HasSuffix(p.APIBase, "/"), "%s.api_base: remove the trailing slash", field)
	for _, w := range p.ScopeWords {
		v.check(slices.Equal(words(w), []string{w}), "%s.scope_words: %q; want one lower-case word of letters and digits", field, w)
	}
}

func (v *validation) row(field string, r ErrorRow) {
	v.check(r.Status == 0 || r.Status >= 400 && r.Status <= 499,
		"%s.status: %d; only 400 to 499 can be listed, after anything else the token may have been spent", field, r.Status)
	v.check(r.Status != 0 || r.Error != "" || r.DescriptionContains != "",
		"%s: matches every answer; name a status, an error or a part of the description", field)
	v.oneOf(field+".grant_type", r.GrantType, "", grantRefresh, grantCode)
	v.oneOf(field+".class", string(r.Class), string(ErrorRefused), string(ErrorMisconfigured), string(ErrorTransient))
	v.check(r.DescriptionContains == strings.ToLower(r.DescriptionContains), "%s.description_contains: want lower case", field)
	v.check(isCode(r.Code), "%s.code: %q; want 1 to 64 of a-z 0-9 _", field, r.Code)
}

func isCode(s string) bool {
	ok := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_' }
	return s != "" && len(s) <= 64 && strings.IndexFunc(s, func(r rune) bool { return !ok(r) }) < 0
}
