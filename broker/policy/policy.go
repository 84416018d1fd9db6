// Package policy owns the decision who may do what: a set of rules, one per
// caller, each with patterns of grant addresses, default deny. It reads no
// certificate and no header (package rpc makes the caller) and writes no
// record (package audit does).
package policy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/holdfast-io/holdfast/storage"
)

// Action is what a caller wants to do, one per family of rpcs.
type Action string

// The actions that a set decides about.
const (
	Draw    Action = "draw"    // get a token, report one rejected, learn that the grant exists
	Consent Action = "consent" // start and follow a consent
	Read    Action = "read"    // AdminService: list and look at grants, apps, status
	Operate Action = "operate" // revoke, let consent again, refresh, pause
	// Maintain is to end a quarantine, purge, rotate keys; Investigate to ask who
	// had a token and why a call is allowed.
	Maintain    Action = "maintain"
	Investigate Action = "investigate"
	// Admin is all of AdminService.
	Admin Action = "admin"
)

// Decision of a set.
type Decision struct {
	Allow bool
	// Rule names what decided, for the audit; empty for the default deny.
	Rule string
}

// Rule gives rights to one caller.
type Rule struct {
	// Caller is the name of its certificate.
	Caller string
	// Grants that it may draw from: patterns "tenant/subject/product[/name]",
	// each segment literal or with * for any run of characters. A pattern of
	// three segments covers the default name only.
	Grants []string
	// Consents that it may start: patterns of the same form.
	Consents []string
	// Admin allows everything of AdminService, and every consent. It does not
	// allow to draw tokens.
	Admin bool
}

// Set is an immutable set of rules, safe for concurrent use.
type Set struct{ callers map[string]*rights }

type rights struct {
	rule           string
	draw, consents []pattern
	admin          bool
}

// New compiles the rules. It reports all problems at once.
func New(rules []Rule) (*Set, error) {
	set := &Set{callers: make(map[string]*rights, len(rules))}
	var errs []error
	for i, r := range rules {
		if r.Caller == "" {
			errs = append(errs, fmt.Errorf("callers[%d]: name is missing", i))
			continue
		}
		if _, twice := set.callers[r.Caller]; twice {
			errs = append(errs, fmt.Errorf("callers[%d]: %q is listed twice; merge the two", i, r.Caller))
			continue
		}
		at := fmt.Sprintf("callers[%s]", r.Caller)
		c := &rights{rule: at, admin: r.Admin}
		var err error
		if c.draw, err = compileAll(at+".grants", r.Grants); err != nil {
			errs = append(errs, err)
		}
		if c.consents, err = compileAll(at+".consents", r.Consents); err != nil {
			errs = append(errs, err)
		}
		set.callers[r.Caller] = c
	}
	return set, errors.Join(errs...)
}

// Decide answers for one caller, action and grant. For actions that are not
// about one grant the address is zero; only Admin allows those. It allocates nothing.
func (s *Set) Decide(caller string, action Action, a storage.Address) Decision {
	c := s.callers[caller]
	if c == nil {
		return Decision{}
	}
	allow := false
	switch action {
	case Draw:
		allow = anyMatch(c.draw, a)
	case Consent:
		allow = c.admin || anyMatch(c.consents, a)
	case Admin, Read, Operate, Maintain, Investigate:
		allow = c.admin
	}
	if !allow {
		return Decision{}
	}
	return Decision{Allow: true, Rule: c.rule}
}

// Knows reports whether the set has any rule for the caller.
func (s *Set) Knows(caller string) bool { return s.callers[caller] != nil }

type pattern [4]string

func compileAll(at string, texts []string) ([]pattern, error) {
	var errs []error
	out := make([]pattern, 0, len(texts))
	for i, t := range texts {
		p, err := compile(t)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s[%d]: %w", at, i, err))
			continue
		}
		out = append(out, p)
	}
	return out, errors.Join(errs...)
}

func compile(text string) (pattern, error) {
	parts := strings.Split(text, "/")
	if len(parts) == 3 {
		parts = append(parts, storage.DefaultName)
	}
	if len(parts) != 4 {
		return pattern{}, fmt.Errorf("pattern %q: want tenant/subject/product or tenant/subject/product/name, * for any", text)
	}
	// A pattern is valid if it is an address once its stars are letters.
	plain := make([]string, 4)
	for i, p := range parts {
		plain[i] = strings.ReplaceAll(p, "*", "x")
	}
	if err := (storage.Address{Tenant: plain[0], Subject: plain[1], Product: plain[2], Name: plain[3]}).Validate(); err != nil {
		return pattern{}, fmt.Errorf("pattern %q: %w", text, err)
	}
	return pattern(parts), nil
}

func anyMatch(ps []pattern, a storage.Address) bool {
	for i := range ps {
		p := &ps[i]
		if match(p[0], a.Tenant) && match(p[1], a.Subject) && match(p[2], a.Product) && match(p[3], a.Name) {
			return true
		}
	}
	return false
}

// match is a glob with * only: linear in len(text) per star, no recursion, so
// that no pattern can make it slow.
func match(glob, text string) bool {
	star, mark := -1, 0
	g, t := 0, 0
	for t < len(text) {
		switch {
		case g < len(glob) && glob[g] == '*':
			star, mark = g, t
			g++
		case g < len(glob) && glob[g] == text[t]:
			g++
			t++
		case star >= 0:
			mark++
			g, t = star+1, mark
		default:
			return false
		}
	}
	for g < len(glob) && glob[g] == '*' {
		g++
	}
	return g == len(glob)
}
