package policy

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/holdfast-io/holdfast/storage"
)

const (
	// ways is how many decisions share one place of the memory.
	ways = 4
	// places bounds the memory: 32768 decisions, of some 300 bytes each.
	places = 1 << 13
)

// memory remembers decisions of one set. It takes no lock: a place holds a few
// immutable entries, and a new one takes the place of an old one. Entries are
// found by a hash and then compared in full, since a hash that collides must
// not decide who gets a token.
type memory struct {
	seed  maphash.Seed
	table [places][ways]atomic.Pointer[remembered]
}

type remembered struct {
	view     *view
	request  Request
	decision Decision
}

func newMemory() *memory { return &memory{seed: maphash.MakeSeed()} }

// about reports whether a request is about a grant.
func about(r *Request) bool { return r.Address != (storage.Address{}) }

func (m *memory) hash(v *view, reads facts, r *Request) uint64 {
	h := maphash.Comparable(m.seed, v) ^ uint64(r.Action.number())
	mix := func(text string) { h = h*0x9e3779b97f4a7c15 + maphash.String(m.seed, text) }
	for _, f := range [...]struct {
		fact facts
		text string
	}{
		{factName, r.Caller}, {factKind, r.Kind}, {factTenant, r.Address.Tenant}, {factSubject, r.Address.Subject},
		{factProduct, r.Address.Product}, {factGrantName, r.Address.Name}, {factPurpose, r.Purpose}, {factSite, r.Site},
	} {
		if reads&f.fact != 0 {
			mix(f.text)
		}
	}
	if reads&factGroups != 0 {
		for _, g := range r.Groups {
			mix(g)
		}
	}
	if reads&factScopes != 0 {
		for _, s := range r.Scopes {
			mix(s)
		}
	}
	return h
}

// same reports whether two requests differ in nothing that is read.
func same(reads facts, a, b *Request) bool {
	return a.Action == b.Action && about(a) == about(b) &&
		(reads&factName == 0 || a.Caller == b.Caller) &&
		(reads&factKind == 0 || a.Kind == b.Kind) &&
		(reads&factTenant == 0 || a.Address.Tenant == b.Address.Tenant) &&
		(reads&factSubject == 0 || a.Address.Subject == b.Address.Subject) &&
		(reads&factProduct == 0 || a.Address.Product == b.Address.Product) &&
		(reads&factGrantName == 0 || a.Address.Name == b.Address.Name) &&
		(reads&factPurpose == 0 || a.Purpose == b.Purpose) &&
		(reads&factSite == 0 || a.Site == b.Site) &&
		(reads&factGroups == 0 || slices.Equal(a.Groups, b.Groups)) &&
		(reads&factScopes == 0 || slices.Equal(a.Scopes, b.Scopes))
}

func (m *memory) find(h uint64, v *view, reads facts, r *Request) (Decision, bool) {
	place := &m.table[h>>32%places]
	for i := range place {
		if e := place[i].Load(); e != nil && e.view == v && same(reads, &e.request, r) {
			return e.decision, true
		}
	}
	return Decision{}, false
}

// keep remembers a decision in a free way of its place, or in one that the hash
// chooses, driving out what was there.
func (m *memory) keep(h uint64, v *view, reads facts, r Request, d Decision) {
	e := &remembered{view: v, decision: d, request: r.kept(reads)}
	place := &m.table[h>>32%places]
	for i := range place {
		if place[i].CompareAndSwap(nil, e) {
			return
		}
	}
	place[h%ways].Store(e)
}

// kept is a copy of what counts: the original may belong to a message or to an identity.
func (r Request) kept(reads facts) Request {
	out := Request{Action: r.Action, Address: r.Address}
	if reads&factAddress != 0 {
		out.Address = storage.Address{
			Tenant: strings.Clone(r.Address.Tenant), Subject: strings.Clone(r.Address.Subject),
			Product: strings.Clone(r.Address.Product), Name: strings.Clone(r.Address.Name),
		}
	}
	if reads&factName != 0 {
		out.Caller = strings.Clone(r.Caller)
	}
	if reads&factKind != 0 {
		out.Kind = r.Kind
	}
	if reads&factPurpose != 0 {
		out.Purpose = strings.Clone(r.Purpose)
	}
	if reads&factSite != 0 {
		out.Site = strings.Clone(r.Site)
	}
	if reads&factGroups != 0 {
		out.Groups = cloneAll(r.Groups)
	}
	if reads&factScopes != 0 {
		out.Scopes = cloneAll(r.Scopes)
	}
	return out
}

func cloneAll(texts []string) []string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = strings.Clone(t)
	}
	return out
}
