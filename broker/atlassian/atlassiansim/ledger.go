package atlassiansim

import (
	"slices"
	"time"
)

// Why a family ended.
const (
	EndReuse       = "reuse"        // a spent token was sent again, outside what the leeway forgives
	EndIdle        = "idle"         // no exchange for too long
	EndAbsolute    = "absolute"     // too long after the consent
	EndRevoked     = "revoked"      // by the app, at /oauth/revoke
	EndUserRevoked = "user_revoked" // by the person, on "Connected apps"

	EndSecondConsent = "second_consent" // a later consent of that account and app
	EndOtherRefresh  = "other_refresh"  // an exchange of another family of that account and app
	EndUninstalled   = "uninstalled"    // an admin uninstalled the app on a site
	EndPassword      = "password"       // the person's password was changed
	EndDeactivated   = "deactivated"    // the account was deactivated
	EndCap           = "cap"            // its refresh token was the oldest above the account's cap
)

// What came of an exchange.
const (
	OutcomeRotated   = "rotated"   // a new refresh token was made
	OutcomeKept      = "kept"      // a new access token only; the refresh token sent stays good
	OutcomeRefused   = "refused"   // the refresh token was refused
	OutcomeError     = "error"     // the request, not its refresh token, was refused
	OutcomeUntouched = "untouched" // a fault answered; nothing was processed
)

// Reuse of a refresh token that was spent before.
const (
	ReuseInsideLeeway = "inside_leeway"
	ReuseAfterLeeway  = "after_leeway"
)

// Exchange is one request to the token endpoint. It names tokens by the
// ledger's ids and never holds one.
type Exchange struct {
	// Request is the number of the token request, from 1.
	Request int       `json:"request"`
	At      time.Time `json:"at"`
	// GrantType as sent.
	GrantType string `json:"grant_type"`
	// Token is the id of the refresh token or code sent; empty if unknown.
	Token   string `json:"token,omitempty"`
	Outcome string `json:"outcome"`
	// Reuse is set if the refresh token had been spent before, whatever came of it.
	Reuse string `json:"reuse,omitempty"`
	// Superseded: moreover a successor of it had been spent already, so it was
	// older than the previous one.
	Superseded bool `json:"superseded,omitempty"`
	// Fault that hit the request.
	Fault FaultKind `json:"fault,omitempty"`
	// Status answered; 0: the connection was dropped before.
	Status int `json:"status"`
	// Error code answered.
	Error string `json:"error,omitempty"`
	// NewRefresh and NewAccess are the ids of the tokens made.
	NewRefresh string `json:"new_refresh,omitempty"`
	NewAccess  string `json:"new_access,omitempty"`
	// Delivered: the client got to know what was decided. False if a fault took
	// or disguised the answer, or the client had gone before it.
	Delivered bool `json:"delivered"`
}

// FamilyEntry is what the ledger knows of one family.
type FamilyEntry struct {
	ID          string    `json:"id"`
	GrantType   string    `json:"grant_type"`
	ClientID    string    `json:"client_id"`
	AccountID   string    `json:"account_id"`
	Sites       []string  `json:"sites"`
	Scopes      []string  `json:"scopes"`
	ConsentedAt time.Time `json:"consented_at"`
	// EndedAt is zero and EndedWhy empty while the family lives.
	EndedAt  time.Time `json:"ended_at,omitzero"`
	EndedWhy string    `json:"ended_why,omitempty"`
	// PasswordChanged: every refresh is refused until the password is changed back.
	PasswordChanged bool `json:"password_changed,omitempty"`
	// Exchanges, oldest first; see Config.KeepExchanges.
	Exchanges []Exchange `json:"exchanges"`
	// Counts of all exchanges of the family.
	Counts Counts `json:"counts"`
	// LiveRefresh are the ids of the unspent refresh tokens, oldest first.
	LiveRefresh []string `json:"live_refresh"`
	// LiveAccess are the ids of the access tokens that are accepted now.
	LiveAccess []string `json:"live_access"`
	// Stranded: the family lives, but no client can have a refresh token of it
	// that is still accepted: the answers with the live ones were all lost, and
	// the leeway of the last delivered one is over.
	Stranded bool `json:"stranded,omitempty"`
}

// Ledger is a copy of the ground truth at one moment.
type Ledger struct {
	At time.Time `json:"at"`
	// TokenPosts counts all POSTs to the token endpoint since the state began.
	TokenPosts int `json:"token_posts"`
	// Counts of all exchanges of all families, and of the strays.
	Counts   Counts        `json:"counts"`
	Families []FamilyEntry `json:"families"`
	// Strays are the exchanges that no family can be named for.
	Strays []Exchange `json:"strays"`
}

// Ledger returns the ground truth as it stands now. It copies all of it; for
// single questions to a large simulation there are Family, Posts and Counts.
func (s *Sim) Ledger() Ledger {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, strays := s.now(), newest(append([]Exchange{}, s.st.Strays...), s.cfg.KeepExchanges)
	l := Ledger{At: now, TokenPosts: s.st.Posts, Counts: s.st.Counts, Families: make([]FamilyEntry, 0, len(s.st.Families)), Strays: strays}
	for _, f := range s.st.Families {
		l.Families = append(l.Families, s.entry(now, f))
	}
	return l
}

// Family returns the ledger's entry with that id.
func (s *Sim) Family(id string) (e FamilyEntry, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.st.families[id]
	if f == nil {
		return e, false
	}
	return s.entry(s.now(), f), true
}

// Posts returns the number of POSTs to the token endpoint.
func (s *Sim) Posts() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st.Posts
}

// Counts returns those of all exchanges.
func (s *Sim) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.st.Counts
}

// entry copies what is known of a family.
func (s *Sim) entry(now time.Time, f *family) FamilyEntry {
	f.lapse(now, &s.behaviour)
	e := FamilyEntry{
		ID: f.ID, GrantType: f.GrantType, ClientID: f.Client, AccountID: f.Account, Sites: slices.Clone(f.Sites),
		Scopes: slices.Clone(f.Scopes), ConsentedAt: f.ConsentedAt, EndedAt: f.EndedAt, EndedWhy: f.EndedWhy,
		PasswordChanged: f.PasswordChanged,
		Exchanges:       newest(slices.Clone(f.Exchanges), s.cfg.KeepExchanges), Counts: f.Counts,
		LiveRefresh: []string{}, LiveAccess: []string{}, Stranded: s.stranded(now, f),
	}
	for _, t := range f.unspent {
		if t.live() {
			e.LiveRefresh = append(e.LiveRefresh, t.ID)
		}
	}
	for _, t := range f.Access {
		if now.Before(t.ExpiresAt) {
			e.LiveAccess = append(e.LiveAccess, t.ID)
		}
	}
	return e
}

// stranded: see FamilyEntry.Stranded.
func (s *Sim) stranded(now time.Time, f *family) bool {
	if !f.EndedAt.IsZero() || len(f.Refresh) == 0 {
		return false
	}
	return !slices.ContainsFunc(f.Refresh, func(t *refreshToken) bool {
		forgiven := !t.SpentAt.IsZero() && now.Sub(t.SpentAt) < seconds(s.behaviour.LeewaySeconds) &&
			(s.behaviour.Reuse == "any" || !t.superseded)
		return t.Delivered && (t.live() || forgiven)
	})
}

// Posts returns the number of POSTs to the token endpoint.
func (l Ledger) Posts() int { return l.TokenPosts }

// Family returns the entry with that id.
func (l Ledger) Family(id string) (FamilyEntry, bool) {
	i := slices.IndexFunc(l.Families, func(f FamilyEntry) bool { return f.ID == id })
	if i < 0 {
		return FamilyEntry{}, false
	}
	return l.Families[i], true
}

// LateReuses returns the exchanges in which a refresh token was sent after its leeway.
func (l Ledger) LateReuses() []Exchange {
	return l.exchanges(func(e Exchange) bool { return e.Reuse == ReuseAfterLeeway })
}

// OldReuses returns the exchanges in which a token older than the previous one
// was sent, inside the leeway or after it.
func (l Ledger) OldReuses() []Exchange {
	return l.exchanges(func(e Exchange) bool { return e.Superseded })
}

// LostFamilies returns the families that a client lost: ended by a reuse or a
// lifetime limit, or stranded. Those that a person, an app or the provider's own rules
// for consents and caps ended are not lost.
func (l Ledger) LostFamilies() (lost []FamilyEntry) {
	for _, f := range l.Families {
		if f.Stranded || slices.Contains([]string{EndReuse, EndIdle, EndAbsolute}, f.EndedWhy) {
			lost = append(lost, f)
		}
	}
	return lost
}

func (l Ledger) exchanges(match func(Exchange) bool) (list []Exchange) {
	for _, f := range l.Families {
		for _, e := range f.Exchanges {
			if match(e) {
				list = append(list, e)
			}
		}
	}
	return list
}
