package atlassiansim

import (
	"net/http"
)

// peopleRoutes adds what users, admins and developers do at the provider. Most
// answer {"families": n}, the number of families hit.
func (s *Sim) peopleRoutes(mux *http.ServeMux) {
	account := func(action string, do func(account string) (int, error)) {
		mux.HandleFunc("POST /_sim/accounts/{account}/"+action, control(func(r *http.Request) (any, error) {
			return familiesHit(do(r.PathValue("account")))
		}))
	}
	account("password/change", s.ChangePassword)
	account("password/restore", s.RestorePassword)
	account("deactivate", s.DeactivateAccount)
	account("reactivate", func(id string) (int, error) { return 0, s.ReactivateAccount(id) })
	mux.HandleFunc("POST /_sim/accounts/{account}/revoke", control(s.controlRevoke))
	mux.HandleFunc("POST /_sim/accounts/{account}/sites/remove", control(s.controlSite(s.RemoveFromSite)))
	mux.HandleFunc("POST /_sim/accounts/{account}/sites/add", control(s.controlSite(s.AddToSite)))
	mux.HandleFunc("POST /_sim/apps/{client}/uninstall", control(s.controlUninstall))
	mux.HandleFunc("PUT /_sim/apps/{client}/scopes", control(s.controlScopes))
}

func familiesHit(n int, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return map[string]int{"families": n}, nil
}

func (s *Sim) controlRevoke(r *http.Request) (any, error) {
	var in struct {
		ClientID string `json:"client_id"`
	}
	if r.ContentLength != 0 {
		if err := readJSON(r, &in); err != nil {
			return nil, err
		}
	}
	n, err := s.RevokeAccess(r.PathValue("account"), in.ClientID)
	if err != nil {
		return nil, err
	}
	return map[string]int{"ended": n}, nil
}

// siteBody names a site.
type siteBody struct {
	Site string `json:"site"`
}

func (s *Sim) controlSite(do func(account, cloudID string) error) func(*http.Request) (any, error) {
	return func(r *http.Request) (any, error) {
		var in siteBody
		if err := readJSON(r, &in); err != nil {
			return nil, err
		}
		return familiesHit(0, do(r.PathValue("account"), in.Site))
	}
}

func (s *Sim) controlUninstall(r *http.Request) (any, error) {
	var in siteBody
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	return familiesHit(s.UninstallApp(r.PathValue("client"), in.Site))
}

func (s *Sim) controlScopes(r *http.Request) (any, error) {
	var in struct {
		Scopes []string `json:"scopes"`
	}
	if err := readJSON(r, &in); err != nil {
		return nil, err
	}
	if err := s.SetScopes(r.PathValue("client"), in.Scopes...); err != nil {
		return nil, err
	}
	return s.appInfos(), nil
}
