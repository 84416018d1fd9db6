package atlassiansim

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/holdfast-io/holdfast/secret"
)

// maxBody of a request: two tokens of the largest size, escaped, and room to spare.
const maxBody = 512 << 10

// tokenRequest is a parsed request to the token endpoint; problem is set if it
// could not be parsed.
type tokenRequest struct {
	values  map[string]string
	problem *answer
	// refreshHash is that of the refresh token, made once since it is long.
	refreshHash string
}

// outcome of one token request, before it is sent.
type outcome struct {
	ans answer
	// request and fam tell where the exchange is recorded; nil: among the strays.
	request int
	fam     *family
	// refresh is the newly made refresh token, if any.
	refresh *refreshToken
}

func (s *Sim) handleToken(w http.ResponseWriter, r *http.Request) {
	req := readTokenRequest(w, r)
	number, f := s.arrive(req)
	if f.kind() == FaultDelayRequest {
		s.pause(nil, f.delay())
	}
	out := s.exchange(req, number, f)
	if f.kind() != FaultDelayRequest && f.kind() != FaultHang {
		s.pause(r, f.delay())
	}
	if r.Context().Err() != nil {
		s.undelivered(out)
	}
	s.send(w, r, out.ans, f)
}

// arrive counts a request and finds the fault that hits it.
func (s *Sim) arrive(req tokenRequest) (number int, f *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.st.Posts++
	t := target{endpoint: EndpointToken, grantType: req.values["grant_type"], client: req.values["client_id"]}
	if rt := s.st.refresh[req.refreshHash]; rt != nil {
		t.account, t.family, t.token = rt.family.Account, rt.family.ID, rt.ID
	} else if c := s.st.codes[hash(req.values["code"])]; c != nil {
		t.account, t.token = c.Account, c.ID
	}
	return s.st.Posts, s.pick(t)
}

// exchange decides a request and records it.
func (s *Sim) exchange(req tokenRequest, number int, f *Fault) outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &exchanging{sim: s, now: s.now(), req: req, fault: f}
	x.rec = Exchange{Request: number, At: x.now, GrantType: req.values["grant_type"], Fault: f.kind(), Delivered: f.delivers()}
	ans := x.decide()
	ans = f.instead(ans, &s.behaviour, x.now)
	x.rec.Status = ans.status
	if f.kind() == FaultHang || f.kind() == FaultDropBeforeAnswer {
		x.rec.Status = 0
	}
	var e oauthError
	if ans.status >= 400 && json.Unmarshal(ans.body, &e) == nil {
		x.rec.Error = e.Error
	}
	s.record(x.fam, x.rec)
	if err := s.save(); err != nil {
		ans = textAnswer(http.StatusInternalServerError, "simulator: "+err.Error()+"\n")
	}
	return outcome{ans: ans, request: number, fam: x.fam, refresh: x.made}
}

// exchanging is one token request being decided, under the mutex.
type exchanging struct {
	sim   *Sim
	now   time.Time
	req   tokenRequest
	fault *Fault
	rec   Exchange
	fam   *family
	sent  *refreshToken // nil: none, unknown, or forgotten
	made  *refreshToken
}

// decide processes the request, unless its fault forbids it.
func (x *exchanging) decide() answer {
	s := x.sim
	if x.rec.GrantType == "refresh_token" {
		x.identify()
	}
	if !x.fault.processes() {
		x.rec.Outcome = OutcomeUntouched
		return textAnswer(http.StatusServiceUnavailable, "")
	}
	x.rec.Outcome = OutcomeError
	if x.req.problem != nil {
		return *x.req.problem
	}
	app := s.app(x.req.values["client_id"])
	if app == nil || !secretFits(app.Secrets, secret.New(x.req.values["client_secret"])) {
		return badClient(&s.behaviour)
	}
	switch x.rec.GrantType {
	case "authorization_code":
		return x.byCode(app)
	case "refresh_token":
		return x.byRefreshToken(app)
	case "client_credentials":
		return x.byClientCredentials(app)
	default:
		return grantTypeRefused(x.rec.GrantType)
	}
}

func secretFits(secrets []secret.String, got secret.String) bool {
	return slices.ContainsFunc(secrets, got.Equal)
}

// refusal is the 403 for a dead refresh token, in the dialect of the switch.
func refusal(b *Behaviour) answer {
	if b.Refusal == "invalid_grant" {
		return oauthAnswer(http.StatusForbidden, "invalid_grant", "Unknown or invalid refresh token.")
	}
	return oauthAnswer(http.StatusForbidden, "unauthorized_client", "refresh_token is invalid")
}

// familyRefusal is the answer to a refresh token of a family that refuses it.
func familyRefusal(b *Behaviour, f *family) answer {
	switch {
	case f.EndedWhy == EndPassword || f.EndedWhy == "" && f.PasswordChanged:
		return oauthAnswer(http.StatusForbidden, "invalid_grant", "Unknown or invalid refresh token.")
	case f.EndedWhy == EndDeactivated && b.Deactivated == "access_denied":
		return oauthAnswer(http.StatusForbidden, "access_denied", "User account is deactivated")
	case f.EndedWhy == EndDeactivated && b.Deactivated == "bare":
		return textAnswer(http.StatusForbidden, "Forbidden\n")
	default:
		return refusal(b)
	}
}

// badClient is the answer to a wrong client id or secret.
func badClient(b *Behaviour) answer {
	switch b.BadClient {
	case "invalid_client":
		return oauthAnswer(http.StatusUnauthorized, "invalid_client", "Client authentication failed")
	case "incorrect_parameters":
		return oauthAnswer(http.StatusBadRequest, "invalid_request", "Incorrect request parameters")
	default:
		return oauthAnswer(http.StatusUnauthorized, "access_denied", "Unauthorized")
	}
}

func grantTypeRefused(grantType string) answer {
	return oauthAnswer(http.StatusForbidden, "unauthorized_client", "Grant type '"+grantType+"' not allowed for the client.")
}

// readTokenRequest reads a JSON or a form body.
func readTokenRequest(w http.ResponseWriter, r *http.Request) tokenRequest {
	problem := func(description string) tokenRequest {
		a := oauthAnswer(http.StatusBadRequest, "invalid_request", description)
		return tokenRequest{problem: &a}
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return problem("Request body could not be read")
	}
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	values := map[string]string{}
	switch kind {
	case "application/json":
		err = json.Unmarshal(raw, &values)
	case "application/x-www-form-urlencoded":
		values, err = formValues(string(raw))
	default:
		return problem("Content-Type must be application/json or application/x-www-form-urlencoded")
	}
	if err != nil {
		return problem("Request body is malformed")
	}
	return tokenRequest{values: values, refreshHash: hash(values["refresh_token"])}
}

func formValues(raw string) (map[string]string, error) {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return nil, err
	}
	values := map[string]string{}
	for k, v := range q {
		if len(v) > 1 {
			return nil, errors.New("parameter given twice") // RFC 6749 section 3.2 forbids it
		}
		values[k] = v[0]
	}
	return values, nil
}
