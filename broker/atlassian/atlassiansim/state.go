package atlassiansim

import (
	"fmt"
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
	Counts   Counts     `json:"counts"`
	Families []*family  `json:"families"`
	Codes    []*code    `json:"codes"`
	Grants   []*grant   `json:"grants"`
	Strays   []Exchange `json:"strays"`
	// Key marks the tokens made here, so that forgotten ones are recognized.
	Key []byte `json:"key"`
	// People are the accounts that something was done to.
	People map[string]*person `json:"people,omitempty"`

	index                               // rebuilt when a file is read
	straysTrim, codesTrim, familiesTrim int
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
	// PasswordChanged: refused until it is changed back.
	PasswordChanged bool   `json:"password_changed,omitempty"`
	Counts          Counts `json:"counts"`

	// unspent are the refresh tokens neither spent nor dead, oldest first.
	unspent []*refreshToken
	// Lengths at which the lists are trimmed next; see forget.go.
	exchangesTrim, refreshTrim, accessTrim int
}

type refreshToken struct {
	ID       string    `json:"id"`
	Hash     string    `json:"hash"`
	Parent   string    `json:"parent,omitempty"`
	IssuedAt time.Time `json:"issued_at"`
	// SpentAt is the first exchange: from it the leeway counts.
	SpentAt time.Time `json:"spent_at,omitzero"`
	// DeadWhy is set on a token that was overtaken by a newer sibling or dropped by the cap.
	DeadWhy string `json:"dead_why,omitempty"`
	// KnownAt is when the provider's servers begin to know the token; zero: at once.
	KnownAt time.Time `json:"known_at,omitzero"`
	// Companion is the id of the newest access token that came with this one.
	Companion string `json:"companion"`
	Delivered bool   `json:"delivered"`

	family    *family
	parent    *refreshToken // nil: none, or forgotten
	companion *accessToken
	// superseded: a successor of this one has been spent itself.
	superseded bool
}

type accessToken struct {
	ID        string    `json:"id"`
	Hash      string    `json:"hash"`
	IssuedAt  time.Time `json:"issued_at"`
	ExpiresAt time.Time `json:"expires_at"`
	// KnownAt as in refreshToken.
	KnownAt time.Time `json:"known_at,omitzero"`
	// Scopes are nil while they are the family's.
	Scopes []string `json:"scopes,omitempty"`

	family *family
}

func newState() *state {
	s := &state{Version: stateVersion}
	s.rebuild()
	return s
}

func (s *state) number(prefix string) string {
	s.Numbers++
	return fmt.Sprintf("%s-%d", prefix, s.Numbers)
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

// live reports whether t is the unspent, current token of a family that has not ended.
func (t *refreshToken) live() bool {
	return t.SpentAt.IsZero() && t.DeadWhy == "" && t.family.EndedAt.IsZero()
}
