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
	// light is what the texts of one request may take, in bytes. A caller may say
	// a hundred scopes and have hundreds of groups; requests that take more than
	// light share mostHeavy bytes, and one that finds no room is not remembered.
	light     = 1 << 10
	mostHeavy = 16 << 20
)

// memory remembers decisions of one set. It takes no lock: a place holds a few
// immutable entries, and a new one takes the place of an old one. Entries are
// found by a hash and then compared in full, since a hash that collides must
// not decide who gets a token.
type memory struct {
	seed  maphash.Seed
	table [places][ways]atomic.Pointer[remembered]
	// heavy is how many bytes the requests take that are not light.
	heavy atomic.Int64
}

type remembered struct {
	view     *view
	request  Request
	decision Decision
	// heavy is its part of memory.heavy.
	heavy int64
}

func newMemory() *memory { return &memory{seed: maphash.MakeSeed()} }

// about reports whether a request is about a grant.
func about(r *Request) bool { return r.Address != (storage.Address{}) }

// hash is of what is read only. It is spelt out: a loop over a table of facts
// costs twice as much, and this is on the path of every call.
func (m *memory) hash(v *view, reads facts, r *Request) uint64 {
	h := v.number + uint64(r.Action.number())
	if reads&factName != 0 {
		h = m.mix(h, r.Caller)
	}
	if reads&factKind != 0 {
		h = m.mix(h, r.Kind)
	}
	if reads&factTenant != 0 {
		h = m.mix(h, r.Address.Tenant)
	}
	if reads&factSubject != 0 {
		h = m.mix(h, r.Address.Subject)
	}
	if reads&factProduct != 0 {
		h = m.mix(h, r.Address.Product)
	}
	if reads&factGrantName != 0 {
		h = m.mix(h, r.Address.Name)
	}
	if reads&(factPurpose|factSite|factGroups|factScopes) == 0 {
		return m.mix(h, "")
	}
	return m.hashMore(h, reads, r)
}

// hashMore goes on with what few sets read.
func (m *memory) hashMore(h uint64, reads facts, r *Request) uint64 {
	if reads&factPurpose != 0 {
		h = m.mix(h, r.Purpose)
	}
	if reads&factSite != 0 {
		h = m.mix(h, r.Site)
	}
	if reads&factGroups != 0 {
		for _, g := range r.Groups {
			h = m.mix(h, g)
		}
	}
	if reads&factScopes != 0 {
		for _, s := range r.Scopes {
			h = m.mix(h, s)
		}
	}
	return m.mix(h, "")
}

func (m *memory) mix(h uint64, text string) uint64 {
	return (h^h>>29)*0x9e3779b97f4a7c15 + maphash.String(m.seed, text)
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
	if size := e.request.size(); size > light {
		if e.heavy = size; m.heavy.Add(size) > mostHeavy {
			m.heavy.Add(-size)
			return
		}
	}
	place := &m.table[h>>32%places]
	for i := range place {
		if place[i].CompareAndSwap(nil, e) {
			return
		}
	}
	m.heavy.Add(-place[h%ways].Swap(e).heavy) // a way that was taken stays taken
}

// size is what the texts of a request take, in bytes, with their headers in lists.
func (r *Request) size() int64 {
	const header = 16
	a := &r.Address
	n := len(r.Caller) + len(a.Tenant) + len(a.Subject) + len(a.Product) + len(a.Name) + len(r.Purpose) + len(r.Site)
	for _, list := range [...][]string{r.Groups, r.Scopes} {
		for _, text := range list {
			n += header + len(text)
		}
	}
	return int64(n)
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
