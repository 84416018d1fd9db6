package atlassiansim

import (
	"fmt"
	"slices"
)

// person is what was done to an account.
type person struct {
	Deactivated bool     `json:"deactivated,omitempty"`
	Removed     []string `json:"removed_sites,omitempty"`
}

// person returns a copy; the zero value if nothing was done.
func (s *state) person(account string) person {
	if p := s.People[account]; p != nil {
		return *p
	}
	return person{}
}

// changePerson lets set change what was done to an account.
func (s *state) changePerson(account string, set func(*person)) {
	if s.People == nil {
		s.People = map[string]*person{}
	}
	if s.People[account] == nil {
		s.People[account] = &person{}
	}
	set(s.People[account])
}

// withoutRemoved returns the sites that the account was not removed from.
func (s *state) withoutRemoved(account string, sites []string) []string {
	removed := s.person(account).Removed
	if len(removed) == 0 {
		return sites
	}
	return slices.DeleteFunc(slices.Clone(sites), func(id string) bool { return slices.Contains(removed, id) })
}

// RevokeAccess is what a person does on the "Connected apps" page: it ends
// every family of that account and client, their access tokens and the codes
// not redeemed yet. An empty client id means every app. It returns how many families it ended.
func (s *Sim) RevokeAccess(accountID, clientID string) (ended int, err error) {
	err = s.changeAccount(accountID, func() {
		now := s.now()
		meant := func(account, client string) bool {
			return account == accountID && (clientID == "" || client == clientID)
		}
		ended = s.endFamilies(now, EndUserRevoked, func(f *family) bool { return meant(f.Account, f.Client) })
		for _, f := range s.st.Families {
			if meant(f.Account, f.Client) {
				f.endAccess(now)
			}
		}
		for _, c := range s.st.Codes {
			c.Used = c.Used || meant(c.Account, c.Client)
		}
		s.st.dropGrants(func(g *grant) bool { return meant(g.Account, g.Client) })
	})
	return ended, err
}

// UninstallApp is what an admin of a site does: the site leaves the grants of
// all its users to that app, access tokens no longer reach it, and families end as
// Behaviour.Uninstall says. It returns how many. A later consent brings the app back.
func (s *Sim) UninstallApp(clientID, cloudID string) (ended int, err error) {
	err = s.change(func() error {
		if s.app(clientID) == nil || s.site(cloudID) == nil {
			return fmt.Errorf("app %q on site %q: %w", clientID, cloudID, errNotFound)
		}
		reached := map[*family]bool{}
		for _, f := range s.st.Families {
			reached[f] = f.Client == clientID && slices.Contains(s.granted(f), cloudID)
		}
		without := func(sites []string) []string {
			return slices.DeleteFunc(slices.Clone(sites), func(id string) bool { return id == cloudID })
		}
		for _, g := range s.st.Grants {
			if g.Client == clientID {
				g.Sites = without(g.Sites)
			}
		}
		for f := range reached {
			if f.Client == clientID {
				f.Sites = without(f.Sites)
			}
		}
		for _, c := range s.st.Codes {
			c.Used = c.Used || c.Client == clientID && c.Site == cloudID
		}
		ended = s.endFamilies(s.now(), EndUninstalled, func(f *family) bool {
			return reached[f] && f.GrantType == "authorization_code" && (s.behaviour.Uninstall == "ends" || len(s.granted(f)) == 0)
		})
		return nil
	})
	return ended, err
}

// ChangePassword changes an account's password: the refresh tokens of its
// living families answer invalid_grant "Unknown or invalid refresh token." until
// RestorePassword, or for good, as Behaviour.PasswordChange says now. Access tokens
// live on. It returns how many families it hit.
func (s *Sim) ChangePassword(accountID string) (families int, err error) {
	err = s.changeAccount(accountID, func() {
		now := s.now()
		for _, f := range s.livingOf(accountID, now) {
			if f.PasswordChanged {
				continue
			}
			families++
			if s.behaviour.PasswordChange == "for_good" {
				f.end(now, EndPassword)
			} else {
				f.PasswordChanged = true
			}
		}
	})
	return families, err
}

// RestorePassword changes the password back: the families that ChangePassword
// did not end are as before. It returns how many.
func (s *Sim) RestorePassword(accountID string) (families int, err error) {
	err = s.changeAccount(accountID, func() {
		for _, f := range s.livingOf(accountID, s.now()) {
			if f.PasswordChanged {
				f.PasswordChanged = false
				families++
			}
		}
	})
	return families, err
}

// DeactivateAccount ends the account's families; its access tokens answer 401
// and it cannot consent. What its refresh tokens answer is Behaviour.Deactivated. It
// returns how many families it ended.
func (s *Sim) DeactivateAccount(accountID string) (ended int, err error) {
	err = s.changeAccount(accountID, func() {
		s.st.changePerson(accountID, func(p *person) { p.Deactivated = true })
		for _, c := range s.st.Codes {
			c.Used = c.Used || c.Account == accountID
		}
		ended = s.endFamilies(s.now(), EndDeactivated, func(f *family) bool {
			return f.Account == accountID && f.GrantType == "authorization_code"
		})
	})
	return ended, err
}

// ReactivateAccount lets a deactivated account consent again, and its access
// tokens work until they expire. Its families stay ended.
func (s *Sim) ReactivateAccount(accountID string) error {
	return s.changeAccount(accountID, func() {
		s.st.changePerson(accountID, func(p *person) { p.Deactivated = false })
	})
}

// RemoveFromSite takes an account's access to a site away: its tokens no
// longer reach the site, and it cannot choose it. Families live on, even without a
// site.
func (s *Sim) RemoveFromSite(accountID, cloudID string) error {
	if s.site(cloudID) == nil {
		return fmt.Errorf("site %q: %w", cloudID, errNotFound)
	}
	return s.changeAccount(accountID, func() {
		s.st.changePerson(accountID, func(p *person) { p.Removed = union(p.Removed, []string{cloudID}) })
	})
}

// AddToSite undoes RemoveFromSite.
func (s *Sim) AddToSite(accountID, cloudID string) error {
	return s.changeAccount(accountID, func() {
		s.st.changePerson(accountID, func(p *person) {
			p.Removed = slices.DeleteFunc(slices.Clone(p.Removed), func(id string) bool { return id == cloudID })
		})
	})
}

// SetScopes changes an app's scopes in the console. Families keep theirs; a
// consent from now on may ask for the new ones only.
func (s *Sim) SetScopes(clientID string, scopes ...string) error {
	if err := checkScopes(scopes); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.app(clientID)
	if a == nil {
		return fmt.Errorf("app %q: %w", clientID, errNotFound)
	}
	a.Scopes = slices.Clone(scopes)
	return nil
}

// changeAccount is change for what is done to an account.
func (s *Sim) changeAccount(id string, do func()) error {
	return s.change(func() error {
		if s.account(id) == nil {
			return fmt.Errorf("account %q: %w", id, errNotFound)
		}
		do()
		return nil
	})
}
