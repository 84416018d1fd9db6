package atlassiansim

import (
	"net/http"

	"github.com/holdfast-io/holdfast/secret"
)

// handleRevoke is /oauth/revoke (RFC 7009), whose effect at Atlassian is
// unknown: the Revoke switch decides.
func (s *Sim) handleRevoke(w http.ResponseWriter, r *http.Request) {
	req := readTokenRequest(w, r)
	s.mu.Lock()
	t := target{endpoint: EndpointRevoke, client: req.values["client_id"]}
	rt := s.st.refresh[hash(req.values["token"])]
	if rt != nil {
		t.account, t.family, t.token = rt.family.Account, rt.family.ID, rt.ID
	}
	f := s.pick(t)
	s.mu.Unlock()
	if f.kind() == FaultDelayRequest {
		s.pause(nil, f.delay())
	}
	ans := answer{}
	if f.processes() {
		ans = s.revoke(req)
	}
	s.mu.Lock()
	ans = f.instead(ans, &s.behaviour, s.now())
	s.mu.Unlock()
	if f.kind() != FaultDelayRequest && f.kind() != FaultHang {
		s.pause(r, f.delay())
	}
	s.send(w, r, ans, f)
}

// revoke processes a revocation request.
func (s *Sim) revoke(req tokenRequest) answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.behaviour.Revoke == "absent" {
		return apiAnswer(http.StatusNotFound, "Not found")
	}
	if req.problem != nil {
		return *req.problem
	}
	app := s.app(req.values["client_id"])
	if app == nil || !secretFits(app.Secrets, secret.New(req.values["client_secret"])) {
		return badClient(&s.behaviour)
	}
	// An unknown token is answered like a known one: RFC 7009, section 2.2.
	ok := answer{status: http.StatusOK}
	fam := s.familyOf(req.values["token"])
	if s.behaviour.Revoke == "no_effect" || fam == nil || fam.Client != app.ClientID {
		return ok
	}
	now := s.now()
	for _, f := range s.st.Families {
		if f == fam || s.behaviour.Revoke == "effective_account" && f.Client == fam.Client && f.Account == fam.Account {
			f.lapse(now, &s.behaviour)
			f.end(now, EndRevoked)
			f.endAccess(now)
		}
	}
	if err := s.save(); err != nil {
		return textAnswer(http.StatusInternalServerError, "simulator: "+err.Error()+"\n")
	}
	return ok
}

// familyOf finds the family of an access or refresh token.
func (s *Sim) familyOf(token string) *family {
	h := hash(token)
	if t := s.st.refresh[h]; t != nil {
		return t.family
	}
	if t := s.st.access[h]; t != nil {
		return t.family
	}
	if l, ok := s.st.recognize(token); ok {
		return s.st.families[l.Family]
	}
	return nil
}
