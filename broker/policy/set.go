package policy

import (
	"iter"
	"slices"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/holdfast-io/holdfast/storage"
)

// Set is an immutable set of policies with a memory of its decisions, safe for
// concurrent use. Make one with Load.
type Set struct {
	version string
	// rules in order of loading.
	rules []*rule
	// callers are those that a rule's head or a configured group names; all other
	// callers share others.
	callers  map[string]*view
	others   *view
	memory   *memory
	evaluate func(v *view, r Request) verdict // evaluate, but for tests
}

// rule is one policy and what is known of it beforehand.
type rule struct {
	id     string
	policy *cedar.Policy
	permit bool
	reads  facts
	// caller that its head names; empty: any.
	caller string
	// group that its head demands; empty: none.
	group string
	// about are the actions that its head lets through.
	about [len(actions)]bool
}

func newRule(id string, p *cedar.Policy) *rule {
	tree := (*ast.Policy)(p.AST())
	r := &rule{id: id, policy: p, permit: p.Effect() == cedar.Permit, reads: readsOf(tree)}
	switch s := tree.Principal.(type) {
	case ast.ScopeTypeEq:
		if s.Entity.Type == typeCaller {
			r.caller = string(s.Entity.ID)
		}
	case ast.ScopeTypeIn:
		r.demand(s.Entity)
	case ast.ScopeTypeIsIn:
		r.demand(s.Entity)
	}
	for i, a := range actions {
		r.about[i] = letsThrough(tree.Action, a)
	}
	return r
}

func (r *rule) demand(uid types.EntityUID) {
	if uid.Type == typeGroup {
		r.group = string(uid.ID)
	}
}

func letsThrough(scope ast.IsActionScopeNode, a Action) bool {
	covers := func(uid types.EntityUID) bool {
		return uid == actionUID(a) || uid == adminAction && a != Draw && a != Consent
	}
	switch s := scope.(type) {
	case ast.ScopeTypeEq:
		return s.Entity == actionUID(a)
	case ast.ScopeTypeIn:
		return covers(s.Entity)
	case ast.ScopeTypeInSet:
		return slices.ContainsFunc(s.Entities, covers)
	}
	return true
}

// view is what can concern one caller: a rule whose head names another one is
// not looked at, so that a decision costs the same among many callers.
type view struct {
	rules []*rule
	// number tells views apart in a hash.
	number uint64
	// groups of the configuration.
	groups []string
	// reads is what the rules about an action read, by its number.
	reads [len(actions)]facts
	// bars are the forbids among rules that read of nothing but the caller, as a
	// view of their own: what they decide on one grant they decide on all. Nil: none.
	bars *view
}

// someGrant stands for any: who asks with it asks rules that do not look at it.
var someGrant = storage.Address{Tenant: "x", Subject: "x", Product: "x", Name: "x"}

func newSet(rules []*rule, groups map[string][]string, version string) *Set {
	s := &Set{version: version, rules: rules, callers: map[string]*view{}, memory: newMemory()}
	s.evaluate = evaluate
	for _, r := range rules {
		if r.caller != "" && s.callers[r.caller] == nil {
			s.callers[r.caller] = &view{}
		}
	}
	for group, names := range groups {
		for _, name := range names {
			if s.callers[name] == nil {
				s.callers[name] = &view{}
			}
			s.callers[name].groups = append(s.callers[name].groups, group)
		}
	}
	s.others = &view{}
	s.others.fill(rules, "")
	next := uint64(1)
	for name, v := range s.callers {
		slices.Sort(v.groups)
		v.number = uint64(len(actions)) * next
		next++
		v.fill(rules, name)
	}
	return s
}

func (v *view) fill(rules []*rule, name string) {
	for _, r := range rules {
		if r.caller != "" && r.caller != name {
			continue
		}
		v.add(r)
		if !r.permit && r.reads&^factPrincipal == 0 {
			if v.bars == nil {
				v.bars = &view{number: v.number, groups: v.groups}
			}
			v.bars.add(r)
		}
	}
}

func (v *view) add(r *rule) {
	v.rules = append(v.rules, r)
	for i := range actions {
		if r.about[i] {
			v.reads[i] |= r.reads
		}
	}
}

// All implements cedar.PolicyIterator.
func (v *view) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, r := range v.rules {
			if !yield(cedar.PolicyID(r.id), r.policy) {
				return
			}
		}
	}
}

func (s *Set) view(caller string) *view {
	if v := s.callers[caller]; v != nil {
		return v
	}
	return s.others
}

// Version changes whenever the set's text does: 16 hexadecimal digits.
func (s *Set) Version() string { return s.version }

// Decide answers for one call. A decision that is remembered allocates nothing.
func (s *Set) Decide(r *Request) Decision { return s.decide(r, true) }

// Peek is Decide for one of many grants in a listing: what depends on the
// address is not remembered, or a listing would drive out what is hot.
func (s *Set) Peek(r *Request) Decision { return s.decide(r, false) }

func (s *Set) decide(r *Request, hot bool) Decision {
	if r.Action.number() < 0 || r.Caller == "" {
		return Decision{}
	}
	return s.ask(s.view(r.Caller), r, hot)
}

// ask is decide by the rules of v, for a request of somebody for one of the actions.
func (s *Set) ask(v *view, r *Request, hot bool) Decision {
	reads := v.reads[r.Action.number()]
	if reads&factTime != 0 {
		return s.evaluate(v, *r).decision()
	}
	h := s.memory.hash(v, reads, r)
	if d, known := s.memory.find(h, v, reads, r); known {
		return d
	}
	d := s.evaluate(v, *r).decision()
	if hot || reads&factAddress == 0 {
		s.memory.keep(h, v, reads, *r, d)
	}
	return d
}

// Ever reports whether some grant may be there for which the request would be
// allowed: a permit's head lets caller and action through, and no forbid holds
// that reads of nothing but the caller. It does not look at the request's address
// and context, so it says nothing about any one grant. It allocates nothing once
// it is remembered.
func (s *Set) Ever(r *Request) bool {
	i := r.Action.number()
	if i < 0 || r.Caller == "" {
		return false
	}
	v := s.view(r.Caller)
	for _, rule := range v.rules {
		if rule.permit && rule.about[i] &&
			(rule.group == "" || slices.Contains(r.Groups, rule.group) || slices.Contains(v.groups, rule.group)) {
			return !s.barred(v, r)
		}
	}
	return false
}

// barred reports whether a forbid keeps who makes the request from every grant.
func (s *Set) barred(v *view, r *Request) bool {
	if v.bars == nil {
		return false
	}
	all := Request{Caller: r.Caller, Kind: r.Kind, Groups: r.Groups, Action: r.Action, Address: someGrant}
	return s.ask(v.bars, &all, true).Rule != "" // there is no permit that could have decided
}

// Knows reports whether some action may be allowed to who makes the request, as Ever does.
func (s *Set) Knows(r *Request) bool {
	for _, a := range actions {
		other := *r
		other.Action = a
		if s.Ever(&other) {
			return true
		}
	}
	return false
}
