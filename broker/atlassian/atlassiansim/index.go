package atlassiansim

import (
	"crypto/rand"
	"slices"
	"time"
)

// index holds the lookups over a state, so that no request has to search.
type index struct {
	refresh  map[string]*refreshToken // by hash
	access   map[string]*accessToken  // by hash
	codes    map[string]*code         // by hash
	families map[string]*family       // by id
	grants   map[grantKey]*grant
	// living are the families from a consent, by account; those that have
	// ended are dropped when the list is next read.
	living map[string][]*family
}

type grantKey struct{ client, account string }

// rebuild makes the lookups, the back references and what else an older
// state file does not hold.
func (s *state) rebuild() {
	s.index = index{
		refresh: map[string]*refreshToken{}, access: map[string]*accessToken{}, codes: map[string]*code{},
		families: map[string]*family{}, grants: map[grantKey]*grant{}, living: map[string][]*family{},
	}
	if s.Key == nil {
		s.Key = make([]byte, 32)
		_, _ = rand.Read(s.Key) // never fails: crypto/rand ends the program instead
	}
	for _, c := range s.Codes {
		s.codes[c.Hash] = c
	}
	for _, g := range s.Grants {
		s.grants[grantKey{g.Client, g.Account}] = g
	}
	recount := s.Counts == Counts{}
	for _, f := range s.Families {
		s.enter(f)
		s.enterTokens(f)
		if recount {
			f.Counts = count(f.Exchanges)
			s.Counts.add(f.Counts)
		}
	}
	if recount {
		s.Counts.add(count(s.Strays))
	}
}

// enter adds a family to the lookups.
func (s *state) enter(f *family) {
	s.families[f.ID] = f
	if f.GrantType == "authorization_code" {
		s.living[f.Account] = append(s.living[f.Account], f)
	}
}

func (s *state) enterTokens(f *family) {
	access, refresh := map[string]*accessToken{}, map[string]*refreshToken{}
	for _, t := range f.Access {
		t.family, s.access[t.Hash], access[t.ID] = f, t, t
	}
	for _, t := range f.Refresh {
		t.family, s.refresh[t.Hash], refresh[t.ID] = f, t, t
	}
	for _, t := range f.Refresh {
		t.companion, t.parent = access[t.Companion], refresh[t.Parent]
		switch {
		case !t.SpentAt.IsZero():
			if t.parent != nil {
				t.parent.superseded, t.parent = true, nil
			}
		case t.DeadWhy == "":
			f.unspent = append(f.unspent, t)
		}
	}
}

// grantOf returns the account's grant to the app, made if there is none.
func (s *state) grantOf(client, account string) *grant {
	key := grantKey{client, account}
	g := s.grants[key]
	if g == nil {
		g = &grant{Client: client, Account: account}
		s.Grants, s.grants[key] = append(s.Grants, g), g
	}
	return g
}

// dropGrants forgets the grants that match.
func (s *state) dropGrants(match func(*grant) bool) {
	s.Grants = slices.DeleteFunc(s.Grants, func(g *grant) bool {
		if !match(g) {
			return false
		}
		delete(s.grants, grantKey{g.Client, g.Account})
		return true
	})
}

// livingOf returns the account's families from consents that have not ended.
// The list may be read until the next call.
func (s *Sim) livingOf(account string, now time.Time) []*family {
	list := slices.DeleteFunc(s.st.living[account], func(f *family) bool {
		f.lapse(now, &s.behaviour)
		return !f.EndedAt.IsZero()
	})
	s.st.living[account] = list
	return list
}

// spend marks the first exchange of t: from it the leeway counts.
func (t *refreshToken) spend(now time.Time) {
	if !t.SpentAt.IsZero() {
		return
	}
	t.SpentAt = now
	if t.parent != nil {
		t.parent.superseded = true
		t.parent = nil // nobody asks again, and it must not hold a forgotten lineage
	}
	t.leaveUnspent()
}

// kill makes t refused from now on.
func (t *refreshToken) kill(why string) {
	t.DeadWhy = why
	t.leaveUnspent()
}

func (t *refreshToken) leaveUnspent() {
	f := t.family
	f.unspent = slices.DeleteFunc(f.unspent, func(o *refreshToken) bool { return o == t })
}
