package atlassiansim

import (
	"cmp"
	"slices"
	"time"
)

// consented updates the account's one grant to the app, and does to what came
// of earlier consents what the switches say. It happens with the consent itself,
// whether or not its code is ever redeemed. It returns the scopes that were granted.
func (s *Sim) consented(app *App, account, site string, asked []string) (scopes []string) {
	now, b := s.now(), &s.behaviour
	g := s.st.grantOf(app.ClientID, account)
	if !slices.Contains(g.Sites, site) {
		g.Sites = append(g.Sites, site)
	}
	if b.SecondConsent != "ends_first" && b.ConsentScopes == "leave" {
		return asked
	}
	families := s.sameGrant(app.ClientID, account, []string{site}, now)
	codes := s.pendingCodes(app, account, site, now)
	if b.SecondConsent == "ends_first" {
		for _, f := range families {
			f.end(now, EndSecondConsent)
		}
		for _, c := range codes {
			c.Used = true
		}
		return asked
	}
	scopes = slices.Clone(asked)
	if b.ConsentScopes == "unite" {
		for _, f := range families {
			scopes = union(scopes, f.Scopes)
		}
		for _, c := range codes {
			scopes = union(scopes, c.Scopes)
		}
	}
	for _, f := range families {
		f.setScopes(keepOffline(scopes, f.Scopes))
	}
	for _, c := range codes {
		c.Scopes = keepOffline(scopes, c.Scopes)
	}
	return keepOffline(scopes, asked)
}

// pendingCodes are the codes of one grant that can still be redeemed.
func (s *Sim) pendingCodes(app *App, account, site string, now time.Time) (list []*code) {
	for _, c := range s.st.Codes {
		if !c.Used && now.Before(c.ExpiresAt) && c.Client == app.ClientID && c.Account == account &&
			(app.Level == AccountLevel || c.Site == site) {
			list = append(list, c)
		}
	}
	return list
}

// sameGrant returns the living families of one grant: of the account and app,
// and for a resource-level app of the site too.
func (s *Sim) sameGrant(client, account string, sites []string, now time.Time) (list []*family) {
	app := s.app(client)
	for _, f := range s.livingOf(account, now) {
		if f.Client == client && (app == nil || app.Level == AccountLevel || slices.Equal(f.Sites, sites)) {
			list = append(list, f)
		}
	}
	return list
}

// setScopes of the tokens to come; access tokens made before keep theirs.
func (f *family) setScopes(scopes []string) {
	for _, t := range f.Access {
		if t.Scopes == nil {
			t.Scopes = f.Scopes
		}
	}
	f.Scopes = scopes
}

// scopesNow of an access token.
func (t *accessToken) scopesNow() []string {
	if t.Scopes != nil {
		return t.Scopes
	}
	return t.family.Scopes
}

// keepOffline returns scopes with offline_access if own has it, and without
// otherwise: it is about a family's tokens and not about the grant.
func keepOffline(scopes, own []string) []string {
	list := slices.DeleteFunc(slices.Clone(scopes), func(sc string) bool { return sc == offlineAccess })
	if slices.Contains(own, offlineAccess) {
		list = append(list, offlineAccess)
	}
	return list
}

func union(a, b []string) []string {
	list := slices.Clone(a)
	for _, x := range b {
		if !slices.Contains(list, x) {
			list = append(list, x)
		}
	}
	return list
}

// endOthers is for an exchange that ends the other families of its grant.
func (x *exchanging) endOthers() {
	if x.sim.behaviour.SecondConsent != "refresh_ends_other" {
		return
	}
	for _, f := range x.sim.sameGrant(x.fam.Client, x.fam.Account, x.fam.Sites, x.now) {
		if f != x.fam {
			f.end(x.now, EndOtherRefresh)
		}
	}
}

// enforceCap silently drops the account's oldest refresh tokens above the cap.
func (x *exchanging) enforceCap() {
	limit := x.sim.behaviour.RefreshTokenCap
	if limit == 0 {
		return
	}
	var live []*refreshToken
	for _, f := range x.sim.livingOf(x.fam.Account, x.now) {
		live = append(live, f.unspent...)
	}
	if len(live) <= limit {
		return
	}
	// Ids are numbered in order; the clock may stand still, or have been set back.
	slices.SortFunc(live, func(a, b *refreshToken) int {
		return cmp.Or(cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID))
	})
	for _, t := range live[:len(live)-limit] {
		t.kill("cap")
		if len(t.family.unspent) == 0 {
			t.family.end(x.now, EndCap)
		}
	}
}
