package atlassiansim

import (
	"fmt"
	"slices"
	"time"
)

// stateVersion is the format of the state file. Version 1: the JSON of state.
const stateVersion = 1

// state is the one ground truth, and the content of the state file.
type state struct {
	Version int           `json:"version"`
	Offset  time.Duration `json:"clock_offset_ns"`
	// Numbers counts the ids given out; ids are never used twice.
	Numbers  int        `json:"numbers"`
	Posts    int        `json:"posts"`
	Families []*family  `json:"families"`
	Codes    []*code    `json:"codes"`
	Grants   []*grant   `json:"grants"`
	Strays   []Exchange `json:"strays"`

	// Indexes over the above, by hash; rebuilt when a file is read.
	refresh map[string]*refreshToken
	access  map[string]*accessToken
	codes   map[string]*code
}

// grant is what an account has granted to an app: the sites of an account-level app.
type grant struct {
	Client  string   `json:"client_id"`
	Account string   `json:"account_id"`
	Sites   []string `json:"sites"`
}

// code is an authorization code.
type code struct {
	ID          string    `json:"id"`
	Hash        string    `json:"hash"`
	Client      string    `json:"client_id"`
	Account     string    `json:"account_id"`
	Site        string    `json:"site"`
	Scopes      []string  `json:"scopes"`
	RedirectURI string    `json:"redirect_uri"`
	Challenge   string    `json:"challenge,omitempty"`
	Method      string    `json:"challenge_method,omitempty"`
	ExpiresAt   time.Time `json:"expires_at"`
	Used        bool      `json:"used"`
}

// family is a token family: what descends from one consent.
type family struct {
	ID           string          `json:"id"`
	GrantType    string          `json:"grant_type"`
	Client       string          `json:"client_id"`
	Account      string          `json:"account_id"`
	Sites        []string        `json:"sites"`
	Scopes       []string        `json:"scopes"`
	ConsentedAt  time.Time       `json:"consented_at"`
	LastExchange time.Time       `json:"last_exchange"`
	EndedAt      time.Time       `json:"ended_at,omitzero"`
	EndedWhy     string          `json:"ended_why,omitempty"`
	Refresh      []*refreshToken `json:"refresh"`
	Access       []*accessToken  `json:"access"`
	Exchanges    []Exchange      `json:"exchanges"`
}

type refreshToken struct {
	ID       string    `json:"id"`
	Hash     string    `json:"hash"`
	Parent   string    `json:"parent,omitempty"`
	IssuedAt time.Time `json:"issued_at"`
	// SpentAt is the first exchange: from it the leeway counts.
	SpentAt time.Time `json:"spent_at,omitzero"`
	// DeadWhy is set on a token that was overtaken by a newer sibling.
	DeadWhy string `json:"dead_why,omitempty"`
	// Companion is the id of the newest access token that came with this one.
	Companion string `json:"companion"`
	Delivered bool   `json:"delivered"`

	family *family
}

type accessToken struct {
	ID        string    `json:"id"`
	Hash      string    `json:"hash"`
	IssuedAt  time.Time `json:"issued_at"`
	ExpiresAt time.Time `json:"expires_at"`

	family *family
}

func newState() *state {
	s := &state{Version: stateVersion}
	s.index()
	return s
}

// index rebuilds the lookups and the back references.
func (s *state) index() {
	s.refresh, s.access, s.codes = map[string]*refreshToken{}, map[string]*accessToken{}, map[string]*code{}
	for _, c := range s.Codes {
		s.codes[c.Hash] = c
	}
	for _, f := range s.Families {
		for _, t := range f.Refresh {
			t.family, s.refresh[t.Hash] = f, t
		}
		for _, t := range f.Access {
			t.family, s.access[t.Hash] = f, t
		}
	}
}

func (s *state) number(prefix string) string {
	s.Numbers++
	return fmt.Sprintf("%s-%d", prefix, s.Numbers)
}

// grantOf returns the account's grant to the app, made if there is none.
func (s *state) grantOf(client, account string) *grant {
	i := slices.IndexFunc(s.Grants, func(g *grant) bool { return g.Client == client && g.Account == account })
	if i < 0 {
		i = len(s.Grants)
		s.Grants = append(s.Grants, &grant{Client: client, Account: account})
	}
	return s.Grants[i]
}

// end ends a family and its refresh tokens; an end that came before stays.
func (f *family) end(now time.Time, why string) {
	if f.EndedAt.IsZero() {
		f.EndedAt, f.EndedWhy = now, why
	}
}

// endAccess kills the family's access tokens too.
func (f *family) endAccess(now time.Time) {
	for _, t := range f.Access {
		t.cut(now)
	}
}

// cut ends an access token at the given time unless it ends earlier anyway.
func (t *accessToken) cut(at time.Time) {
	if at.Before(t.ExpiresAt) {
		t.ExpiresAt = at
	}
}

// lapse ends the family if one of the lifetime limits has passed.
func (f *family) lapse(now time.Time, b *Behaviour) {
	if d := seconds(b.AbsoluteSeconds); d > 0 && !now.Before(f.ConsentedAt.Add(d)) {
		f.end(f.ConsentedAt.Add(d), EndAbsolute)
	}
	if d := seconds(b.IdleSeconds); d > 0 && !now.Before(f.LastExchange.Add(d)) {
		f.end(f.LastExchange.Add(d), EndIdle)
	}
}

func (f *family) accessByID(id string) *accessToken {
	i := slices.IndexFunc(f.Access, func(t *accessToken) bool { return t.ID == id })
	if i < 0 {
		return nil
	}
	return f.Access[i]
}

// superseded reports whether a successor of t has been spent itself.
func (t *refreshToken) superseded() bool {
	return slices.ContainsFunc(t.family.Refresh, func(o *refreshToken) bool {
		return o.Parent == t.ID && !o.SpentAt.IsZero()
	})
}

// live reports whether t is the unspent, current token of a family that has not ended.
func (t *refreshToken) live() bool {
	return t.SpentAt.IsZero() && t.DeadWhy == "" && t.family.EndedAt.IsZero()
}
