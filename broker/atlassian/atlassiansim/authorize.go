package atlassiansim

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	productJira       = "jira"
	productConfluence = "confluence"
	offlineAccess     = "offline_access"
)

// tooManyScopes in one authorization request break the gateway.
const tooManyScopes = 80

// authorization is a valid authorization request.
type authorization struct {
	app    App
	scopes []string
	query  url.Values
}

// parseAuthorization checks a request to /authorize. The problem is what the
// provider's own error page says: such a request never reaches the callback.
func (s *Sim) parseAuthorization(q url.Values) (a authorization, problem string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	app := s.app(q.Get("client_id"))
	if app == nil {
		return a, "Unknown client: " + q.Get("client_id")
	}
	if got := q.Get("redirect_uri"); got != app.CallbackURL {
		return a, fmt.Sprintf("Callback URL mismatch. %s is not in the list of allowed callback URLs", got)
	}
	for _, want := range []struct{ name, value string }{
		{"audience", "api.atlassian.com"}, {"response_type", "code"}, {"prompt", "consent"},
	} {
		if got := q.Get(want.name); got != want.value {
			return a, fmt.Sprintf("Parameter %s is %q, want %q", want.name, got, want.value)
		}
	}
	if q.Get("state") == "" {
		return a, "Missing required parameter: state"
	}
	method := q.Get("code_challenge_method")
	if challenge := q.Get("code_challenge"); (challenge == "") != (method == "") || !slices.Contains([]string{"", "S256", "plain"}, method) {
		return a, "code_challenge and code_challenge_method (S256 or plain) belong together"
	}
	a = authorization{app: *app, scopes: strings.Fields(q.Get("scope")), query: q}
	if len(a.scopes) == 0 {
		return a, "Missing required parameter: scope"
	}
	for _, sc := range a.scopes {
		if sc != offlineAccess && !slices.Contains(app.Scopes, sc) {
			return a, "Invalid scope: " + sc
		}
	}
	return a, ""
}

// products that the scopes mean.
func products(scopes []string) (list []string) {
	for _, sc := range scopes {
		switch {
		case strings.Contains(sc, productConfluence):
			list = append(list, productConfluence)
		case strings.Contains(sc, productJira), strings.Contains(sc, "servicedesk"), strings.Contains(sc, "cmdb"):
			list = append(list, productJira)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// sitesOf returns the cloud ids that an account may use. The caller holds the mutex.
func (s *Sim) sitesOf(a *Account) (ids []string) {
	if len(a.Sites) > 0 {
		ids = slices.Clone(a.Sites)
		slices.SortFunc(ids, func(a, b string) int { return s.sites[a].at - s.sites[b].at })
		return s.st.withoutRemoved(a.ID, slices.Compact(ids))
	}
	for _, x := range s.cfg.Sites {
		ids = append(ids, x.CloudID)
	}
	return s.st.withoutRemoved(a.ID, ids)
}

// choices are the account's sites that have every product the scopes mean;
// none if it is deactivated.
func (s *Sim) choices(a *Account, scopes []string) (sites []Site) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.st.person(a.ID).Deactivated {
		return nil
	}
	for _, id := range s.sitesOf(a) {
		x := s.site(id)
		if !slices.ContainsFunc(products(scopes), func(p string) bool { return !slices.Contains(x.Products, p) }) {
			sites = append(sites, *x)
		}
	}
	return sites
}

// handleAuthorize shows the consent pages, or decides without asking.
func (s *Sim) handleAuthorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if len(strings.Fields(q.Get("scope"))) >= tooManyScopes {
		s.send(w, r, htmlAnswer(http.StatusBadRequest), nil)
		return
	}
	a, problem := s.parseAuthorization(q)
	if problem != "" {
		errorPage(w, r, problem)
		return
	}
	mode := "ask"
	if s.cfg.AutoConsent {
		mode = "accept"
	}
	for _, m := range []string{r.Header.Get("X-Sim-Consent"), q.Get("sim_consent")} {
		if m != "" {
			mode = m
		}
	}
	switch mode {
	case "accept":
		s.automatic(w, r, a)
	case "deny":
		a.deny(w, r)
	case "ask":
		s.ask(w, a, q.Get("sim_account"))
	default:
		http.Error(w, fmt.Sprintf("simulator: sim_consent %q: want accept, deny or ask", mode), http.StatusBadRequest)
	}
}

// automatic accepts as sim_account on sim_site; what is not given is the first that fits.
func (s *Sim) automatic(w http.ResponseWriter, r *http.Request, a authorization) {
	account, site := a.query.Get("sim_account"), a.query.Get("sim_site")
	accounts := s.cfg.Accounts
	if account != "" {
		accounts = nil
		if acc := s.account(account); acc != nil {
			accounts = []Account{*acc}
		}
	}
	for _, acc := range accounts {
		for _, x := range s.choices(&acc, a.scopes) {
			if site == "" || site == x.CloudID {
				s.accept(w, r, a, acc.ID, x.CloudID)
				return
			}
		}
	}
	errorPage(w, r, "No account has access to a fitting site")
}

// handleDecision takes the consent page's form.
func (s *Sim) handleDecision(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "simulator: the form could not be read", http.StatusBadRequest)
		return
	}
	a, problem := s.parseAuthorization(r.PostForm)
	if problem != "" {
		errorPage(w, r, problem)
		return
	}
	if r.PostForm.Get("decision") != "accept" {
		a.deny(w, r)
		return
	}
	account, site := s.account(r.PostForm.Get("sim_account")), r.PostForm.Get("sim_site")
	if account == nil || !slices.ContainsFunc(s.choices(account, a.scopes), func(x Site) bool { return x.CloudID == site }) {
		errorPage(w, r, "The chosen account has no access to the chosen site")
		return
	}
	s.accept(w, r, a, account.ID, site)
}

// deny returns to the callback without a code.
func (a authorization) deny(w http.ResponseWriter, r *http.Request) {
	a.callback(w, r, url.Values{"error": {"access_denied"}, "error_description": {"User did not authorize the request"}})
}

// callback sends the browser back to the app.
func (a authorization) callback(w http.ResponseWriter, r *http.Request, values url.Values) {
	u, err := url.Parse(a.app.CallbackURL)
	if err != nil {
		http.Error(w, "simulator: the app's callback URL is broken", http.StatusInternalServerError)
		return
	}
	q := u.Query()
	for k, v := range values {
		q[k] = v
	}
	q.Set("state", a.query.Get("state"))
	u.RawQuery = q.Encode()
	http.Redirect(w, r, u.String(), http.StatusFound)
}

// accept makes the code and returns to the callback with it.
func (s *Sim) accept(w http.ResponseWriter, r *http.Request, a authorization, account, site string) {
	text, err := s.grantCode(a, account, site)
	if err != nil {
		http.Error(w, "simulator: "+err.Error(), http.StatusInternalServerError)
		return
	}
	a.callback(w, r, url.Values{"code": {text}})
}

// grantCode records a consent and returns its authorization code.
func (s *Sim) grantCode(a authorization, account, site string) (text string, err error) {
	err = s.change(func() error {
		now, client := s.now(), a.app.ClientID
		scopes := s.consented(&a.app, account, site, a.scopes)
		c := &code{
			ID: s.st.number("code"), Client: client, Account: account, Site: site, Scopes: scopes,
			RedirectURI: a.app.CallbackURL, ExpiresAt: now.Add(seconds(s.behaviour.CodeTTLSeconds)),
			Challenge: a.query.Get("code_challenge"), Method: a.query.Get("code_challenge_method"),
		}
		text = s.st.mint(label{ID: c.ID, Use: "code"}, s.behaviour.CodeBytes)
		s.forgetCodes(now)
		c.Hash = hash(text)
		s.st.Codes, s.st.codes[c.Hash] = append(s.st.Codes, c), c
		return nil
	})
	return text, err
}

// errorPage sends the browser to the provider's own error page.
func errorPage(w http.ResponseWriter, r *http.Request, description string) {
	q := url.Values{"error": {"unauthorized_client"}, "error_description": {description}}
	http.Redirect(w, r, "/error?"+q.Encode(), http.StatusFound)
}
