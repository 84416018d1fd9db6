package atlassiansim

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// caller is who a valid access token speaks for.
type caller struct {
	fam     *family
	account *Account
	scopes  []string // of the token
}

// apiError is an error of the API gateway.
type apiError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func apiAnswer(status int, message string) answer {
	return jsonAnswer(status, apiError{status, message})
}

// api wraps an endpoint of the API gateway: token check, faults, sending. The
// inner function runs under the mutex.
func (s *Sim) api(endpoint string, inner func(r *http.Request, c caller) answer) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			token = "" // another scheme is no token at all
		}
		s.mu.Lock()
		t := target{endpoint: endpoint}
		if at := s.st.access[hash(token)]; at != nil {
			t.client, t.account, t.family = at.family.Client, at.family.Account, at.family.ID
		}
		f := s.pick(t)
		s.mu.Unlock()
		if f.kind() == FaultDelayRequest {
			s.pause(nil, f.delay())
		} else if f.kind() != FaultHang {
			s.pause(r, f.delay())
		}
		s.mu.Lock()
		now := s.now()
		c, ans := s.authenticate(now, endpoint, token)
		if c.fam != nil {
			ans = inner(r, c)
		}
		ans = f.instead(ans, &s.behaviour, now)
		s.mu.Unlock()
		s.send(w, r, ans, f)
	}
}

// authenticate finds the caller, or the answer to who has no valid token.
func (s *Sim) authenticate(now time.Time, endpoint, token string) (caller, answer) {
	at := s.st.access[hash(token)]
	if at == nil && !s.forgottenAccess(token) {
		return caller{}, apiAnswer(http.StatusUnauthorized, "Unauthorized")
	}
	if at == nil || !now.Before(at.ExpiresAt) {
		if endpoint != EndpointAPI {
			return caller{}, apiAnswer(http.StatusUnauthorized, "Unauthorized")
		}
		status := s.behaviour.ExpiredAccess
		return caller{}, apiAnswer(status, http.StatusText(status))
	}
	c := caller{fam: at.family, account: s.account(at.family.Account), scopes: at.scopesNow()}
	// An account is not known if the state file outlived the configured one.
	if c.account == nil || s.st.person(c.account.ID).Deactivated || now.Before(at.KnownAt) {
		return caller{}, apiAnswer(http.StatusUnauthorized, "Unauthorized")
	}
	return c, answer{}
}

// forgottenAccess reports whether a token that is not remembered was an access
// token: it has expired then.
func (s *Sim) forgottenAccess(token string) bool {
	l, ok := s.st.recognize(token)
	return ok && l.Use == "access"
}

// reach returns the sites that the caller's token is good for: those of the whole grant for an
// account-level app, which grow with each consent.
func (s *Sim) reach(c caller) []string {
	return s.st.withoutRemoved(c.fam.Account, s.granted(c.fam))
}

// granted returns the sites that a family was granted and that still have the app.
func (s *Sim) granted(f *family) []string {
	app := s.app(f.Client)
	if app != nil && app.Level == AccountLevel && f.GrantType == "authorization_code" {
		if g := s.st.grants[grantKey{f.Client, f.Account}]; g != nil {
			return g.Sites
		}
		return nil // revoked
	}
	return f.Sites
}

// resource is an element of accessible-resources.
type resource struct {
	ID        string   `json:"id"`
	URL       string   `json:"url"`
	Name      string   `json:"name"`
	Scopes    []string `json:"scopes"`
	AvatarURL string   `json:"avatarUrl"`
}

// resources answers one entry for each site and product, in random order.
func (s *Sim) resources(_ *http.Request, c caller) answer {
	list := []resource{}
	switch s.behaviour.Resources {
	case "empty":
		return jsonAnswer(http.StatusOK, list)
	case "error":
		return jsonAnswer(http.StatusOK, apiError{http.StatusInternalServerError, "Internal server error"})
	}
	reached := s.reach(c)
	for _, id := range reached {
		site := s.site(id)
		if site == nil {
			continue
		}
		url := site.URL
		if first := s.site(reached[0]); s.behaviour.Resources == "one_url" && first != nil {
			url = first.URL
		}
		for _, p := range site.Products {
			scopes := slices.DeleteFunc(slices.Clone(c.scopes), func(sc string) bool { return !slices.Contains(products([]string{sc}), p) })
			if len(scopes) > 0 {
				list = append(list, resource{site.CloudID, url, site.Name, scopes, url + "/avatars/240/site.png"})
			}
		}
	}
	if s.behaviour.Resources == "duplicated" {
		list = append(list, list...)
	}
	s.rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return jsonAnswer(http.StatusOK, list)
}

// me describes the account.
func (s *Sim) me(_ *http.Request, c caller) answer {
	if !slices.Contains(c.scopes, "read:me") {
		return scopeMismatch()
	}
	return jsonAnswer(http.StatusOK, map[string]any{
		"account_id": c.account.ID, "account_type": "atlassian", "account_status": "active",
		"name": c.account.Name, "email": c.account.Email, "nickname": c.account.Name,
		"picture": "https://avatar.example/" + c.account.ID,
	})
}

// scopeMismatch is a 401 that no refresh cures.
func scopeMismatch() answer {
	return apiAnswer(http.StatusUnauthorized, "Unauthorized; scope does not match")
}

// stub of one path of a product's API.
type stub func(r *http.Request, c caller, site *Site) answer

// product wraps a stub: scope and site must fit.
func (s *Sim) product(p string, inner stub) func(*http.Request, caller) answer {
	return func(r *http.Request, c caller) answer {
		if !slices.Contains(products(c.scopes), p) {
			return scopeMismatch()
		}
		site := s.site(r.PathValue("cloudid"))
		if site == nil || !slices.Contains(s.reach(c), site.CloudID) || !slices.Contains(site.Products, p) {
			return apiAnswer(http.StatusNotFound, "Not found")
		}
		return inner(r, c, site)
	}
}

// maxAPIBody of a request to a stub: they only search.
const maxAPIBody = 1 << 20

// buffered reads the whole body before next, which holds the mutex, looks at it: a
// caller who sends it slowly must not stop the simulator.
func buffered(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAPIBody))
		if err != nil {
			http.Error(w, "simulator: reading the request's body failed", http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		next(w, r)
	}
}
