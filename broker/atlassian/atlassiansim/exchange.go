package atlassiansim

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tokenAnswer is the body of a successful exchange. A nil ExpiresIn is left out.
type tokenAnswer struct {
	AccessToken  string          `json:"access_token"`
	RefreshToken string          `json:"refresh_token,omitempty"`
	ExpiresIn    json.RawMessage `json:"expires_in,omitempty"`
	TokenType    string          `json:"token_type"`
	Scope        string          `json:"scope"`
}

// byCode redeems an authorization code.
func (x *exchanging) byCode(app *App) answer {
	s, v := x.sim, x.req.values
	invalid := oauthAnswer(http.StatusBadRequest, "invalid_request", "authorization_code is invalid")
	c := s.st.codes[hash(v["code"])]
	if c == nil {
		return invalid
	}
	x.rec.Token = c.ID
	if c.Used || !x.now.Before(c.ExpiresAt) || c.Client != app.ClientID || c.RedirectURI != v["redirect_uri"] {
		return invalid
	}
	if !c.verifies(v["code_verifier"]) {
		return oauthAnswer(http.StatusForbidden, "invalid_grant", "Failed to verify code verifier")
	}
	c.Used = true
	sites := []string{c.Site}
	if app.Level == AccountLevel {
		sites = s.st.grantOf(c.Client, c.Account).Sites
	}
	x.fam = x.newFamily("authorization_code", app.ClientID, c.Account, sites, c.Scopes)
	return x.issue(nil, slices.Contains(c.Scopes, offlineAccess))
}

// verifies checks PKCE (RFC 7636); a consent without a challenge needs no verifier.
func (c *code) verifies(verifier string) bool {
	switch c.Method {
	case "":
		return true
	case "S256":
		sum := sha256.Sum256([]byte(verifier))
		return enc(sum[:]) == c.Challenge
	default: // "plain"
		return verifier == c.Challenge
	}
}

// byClientCredentials hands a service account its access token.
func (x *exchanging) byClientCredentials(app *App) answer {
	if app.ServiceAccount == "" {
		return grantTypeRefused("client_credentials")
	}
	x.sim.forgetService(x.now)
	sites := x.sim.sitesOf(x.sim.account(app.ServiceAccount))
	x.fam = x.newFamily("client_credentials", app.ClientID, app.ServiceAccount, sites, app.Scopes)
	return x.issue(nil, false)
}

func (x *exchanging) newFamily(grantType, client, account string, sites, scopes []string) *family {
	f := &family{
		ID: x.sim.st.number("family"), GrantType: grantType, Client: client, Account: account,
		Sites: slices.Clone(sites), Scopes: slices.Clone(scopes), ConsentedAt: x.now, LastExchange: x.now,
	}
	x.sim.st.Families = append(x.sim.st.Families, f)
	x.sim.st.enter(f)
	return f
}

// issue makes an access token and, if offline, a refresh token that descends
// from parent (nil: the family's first). A fault may keep the parent in use instead.
func (x *exchanging) issue(parent *refreshToken, offline bool) answer {
	s, size := x.sim, x.sim.behaviour.TokenBytes
	if x.fault.kind() == FaultTokenBytes {
		size = x.fault.TokenBytes
	}
	ans := tokenAnswer{TokenType: "Bearer", Scope: strings.Join(x.fam.Scopes, " ")}
	life := s.behaviour.AccessTTLSeconds
	life, ans.ExpiresIn = x.fault.expiresIn(life)
	at := &accessToken{ID: s.st.number("access"), IssuedAt: x.now, ExpiresAt: x.now.Add(seconds(life)), family: x.fam}
	ans.AccessToken = s.st.mint(label{at.ID, "access", x.fam.ID}, size)
	at.Hash = hash(ans.AccessToken)
	x.fam.Access, s.st.access[at.Hash] = append(x.fam.Access, at), at
	at.KnownAt = x.fault.knownAt(x.now)
	x.fam.LastExchange = x.now
	x.rec.NewAccess = at.ID

	keep := x.fault.kind() == FaultNoRefreshToken || x.fault.kind() == FaultSameRefreshToken && parent != nil
	switch {
	case keep || !offline:
		x.rec.Outcome = OutcomeKept
		if parent != nil {
			x.replaceCompanion(parent, at)
		}
		if keep && x.fault.kind() == FaultSameRefreshToken {
			ans.RefreshToken = x.req.values["refresh_token"]
		}
	default:
		x.rec.Outcome = OutcomeRotated
		ans.RefreshToken = x.successor(parent, at, size)
	}
	s.forget(x.fam, x.now)
	return jsonAnswer(http.StatusOK, ans)
}

// knownAt is when tokens made now begin to be known; zero: at once.
func (f *Fault) knownAt(now time.Time) time.Time {
	if f.kind() != FaultUnknownAtFirst {
		return time.Time{}
	}
	return now.Add(time.Duration(f.UnknownMillis) * time.Millisecond)
}

// expiresIn returns the true life in seconds of the access token and what the
// answer claims.
func (f *Fault) expiresIn(life int) (trueLife int, claim json.RawMessage) {
	text := strconv.Itoa(life)
	if f.kind() != FaultExpiresIn {
		return life, json.RawMessage(text)
	}
	switch f.ExpiresIn {
	case "missing":
		return life, nil
	case "string":
		return life, json.RawMessage(fmt.Sprintf("%q", text))
	case "negative":
		return life, json.RawMessage("-1")
	default:
		n, _ := strconv.Atoi(f.ExpiresIn) // validated when the fault was armed
		return n, json.RawMessage(strconv.Itoa(n))
	}
}
