package fosite

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"golang.org/x/crypto/bcrypt"

	"github.com/holdfast-io/holdfast/e2e/rig"
)

// accessLife of the server's access tokens.
const accessLife = 2 * time.Second

// exchange is one request with a refresh token, as the server saw it.
type exchange struct {
	token string
	at    time.Time
	ok    bool
}

// server is an authorization server around fosite.
type server struct {
	*httptest.Server
	provider fosite.OAuth2Provider
	store    *store

	mu     sync.Mutex // guards ledger
	ledger []exchange
}

// startServer serves until the test ends, for one client.
func startServer(t *testing.T, callback string, app rig.App) *server {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(app.Secret), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{store: newStore()}
	s.store.Clients[app.ID] = &fosite.DefaultClient{
		ID: app.ID, Secret: hash, RedirectURIs: []string{callback}, ResponseTypes: []string{"code"},
		GrantTypes: []string{"authorization_code", "refresh_token"}, Scopes: append([]string{"openid", "offline_access"}, app.Scopes...),
	}
	config := &fosite.Config{
		AccessTokenLifespan: accessLife, GlobalSecret: []byte("a secret of thirty-two bytes, so"),
		ScopeStrategy: fosite.ExactScopeStrategy, EnforcePKCE: true,
	}
	s.provider = compose.Compose(config, s.store, compose.NewOAuth2HMACStrategy(config),
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2RefreshTokenGrantFactory,
		compose.OAuth2TokenIntrospectionFactory, compose.OAuth2PKCEFactory)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", s.authorize)
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("GET /me", s.me)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// authorize accepts at once, as the account that the request names.
func (s *server) authorize(w http.ResponseWriter, r *http.Request) {
	req, err := s.provider.NewAuthorizeRequest(r.Context(), r)
	if err != nil {
		s.provider.WriteAuthorizeError(r.Context(), w, req, err)
		return
	}
	for _, scope := range req.GetRequestedScopes() {
		req.GrantScope(scope)
	}
	answer, err := s.provider.NewAuthorizeResponse(r.Context(), req, &fosite.DefaultSession{Subject: r.URL.Query().Get("sim_account")})
	if err != nil {
		s.provider.WriteAuthorizeError(r.Context(), w, req, err)
		return
	}
	s.provider.WriteAuthorizeResponse(r.Context(), w, req, answer)
}

func (s *server) token(w http.ResponseWriter, r *http.Request) {
	e := exchange{token: r.PostFormValue("refresh_token"), at: time.Now()}
	req, err := s.provider.NewAccessRequest(r.Context(), r, new(fosite.DefaultSession))
	var answer fosite.AccessResponder
	if err == nil {
		answer, err = s.provider.NewAccessResponse(r.Context(), req)
	}
	if e.ok = err == nil; e.token != "" {
		s.mu.Lock()
		s.ledger = append(s.ledger, e)
		s.mu.Unlock()
	}
	if err != nil {
		s.provider.WriteAccessError(r.Context(), w, req, err)
		return
	}
	s.provider.WriteAccessResponse(r.Context(), w, req, answer)
}

func (s *server) me(w http.ResponseWriter, r *http.Request) {
	_, req, err := s.provider.IntrospectToken(r.Context(), fosite.AccessTokenFromRequest(r), fosite.AccessToken, new(fosite.DefaultSession))
	if err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"sub": req.GetSession().GetSubject()})
}

// exchanges is the ledger until now.
func (s *server) exchanges() []exchange {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]exchange(nil), s.ledger...)
}

// reuse counts the exchanges with a token that had been rotated before: inside
// the leeway, and after it.
func (s *server) reuse() (inside, after int) {
	first := map[string]time.Time{}
	for _, e := range s.exchanges() {
		switch at, known := first[e.token]; {
		case !known && e.ok:
			first[e.token] = e.at
		case known && e.at.Sub(at) < leeway:
			inside++
		case known:
			after++
		}
	}
	return inside, after
}

// takes reports whether the server takes the access token, and whose it is.
func (s *server) takes(t *testing.T, access string) (account string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/me", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+access)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var who struct {
		Subject string `json:"sub"`
	}
	_ = json.NewDecoder(resp.Body).Decode(&who) // a refusal has no body: nobody's token
	return who.Subject
}
