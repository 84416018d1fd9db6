package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

func resultPath(id string) string { return "/consents/" + id }

// oauthError is the alphabet of RFC 6749 section 4.1.2.1, within a length that makes sense.
var oauthError = regexp.MustCompile(`^[\x20-\x21\x23-\x5b\x5d-\x7e]{1,64}$`)

// callback hands the provider's answer to the broker and leads the browser away
// from it. Opening it again gives the same page: the broker exchanges once.
func (s *site) callback(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodHead {
		return // a HEAD must not spend a code
	}
	cb, err := parseCallback(r.URL.RawQuery)
	if err != nil {
		s.leave(w, r, problemBadCallback)
		return
	}
	cb.Cookie = func(id string) secret.String { return s.cookies.read(r, id) }
	o, err := s.broker.FinishConsent(r.Context(), cb)
	if err == nil && (o == nil || !consentID.MatchString(o.ConsentID)) {
		err = errors.New("the outcome of a consent has no usable id")
	}
	if err == nil {
		http.Redirect(w, r, resultPath(o.ConsentID), http.StatusSeeOther) //nolint:gosec // a path of ours; consentID matched
		return
	}
	p := problemOf(err, problemUnknownState, problemBadCallback)
	if p == problemUnavailable || p == problemBusy {
		// The one case in which the address stays: without it there is nothing to try again with.
		s.fail(w, r, err, problemUnknownState, problemBadCallback, "")
		return
	}
	s.logFailure(r, p, err)
	s.leave(w, r, p)
}

// parseCallback demands each parameter at most once (two states or codes would
// let a page and the broker disagree on which one counts), a state, and either
// a code or an error.
func parseCallback(query string) (broker.Callback, error) {
	q, err := url.ParseQuery(query)
	if err != nil {
		return broker.Callback{}, errors.New("the query is not well-formed")
	}
	for _, name := range []string{"state", "code", "error", "iss"} {
		if len(q[name]) > 1 {
			return broker.Callback{}, fmt.Errorf("parameter %s appears twice", name)
		}
	}
	cb := broker.Callback{State: q.Get("state"), Code: secret.New(q.Get("code")), Error: q.Get("error"), Issuer: q.Get("iss")}
	if cb.State == "" || len(cb.State) > maxLink || cb.Code.Empty() == (cb.Error == "") {
		return broker.Callback{}, errors.New("want a state and either a code or an error")
	}
	if cb.Error != "" && !oauthError.MatchString(cb.Error) {
		cb.Error = "unreadable_error"
	}
	return cb, nil
}

// result shows where a consent stands to the browser that holds its cookie.
func (s *site) result(w http.ResponseWriter, r *http.Request) {
	id, cookie, ok := s.bound(w, r)
	if !ok {
		return
	}
	o, err := s.broker.ConsentResult(r.Context(), id, cookie)
	if err == nil && o == nil {
		err = errors.New("no outcome and no error")
	}
	if err != nil {
		s.fail(w, r, err, problemConsentUnknown, problemConsentUnknown, "")
		return
	}
	p, known := statusPages[o.Status]
	if !known {
		s.fail(w, r, fmt.Errorf("no page for consent status %q", o.Status), problemInternal, problemInternal, "")
		return
	}
	if !p.open {
		s.cookies.wither(w, id, cookie)
	}
	v := view{Tone: p.tone, Heading: p.heading, Lead: p.lead, Next: p.next, Detail: o.Detail, Refresh: p.refresh,
		Facts: factsOf(o), ReturnURL: o.ReturnURL}
	if p.tone == toneStop {
		v.Reference = id // what operators can look the consent up by
	}
	if o.Status == storage.ConsentConfirm {
		v.Confirm = &confirmView{Action: resultPath(id) + "/confirm", Scopes: explainScopes(o.LostScopes), Sites: o.LostSites}
		v.ReturnURL = ""
	}
	s.render(w, r, p.code, "result", v)
}

// confirm records what the person chose and shows the result.
func (s *site) confirm(w http.ResponseWriter, r *http.Request) {
	id, cookie, ok := s.bound(w, r)
	if !ok {
		return
	}
	decision := ""
	if err := r.ParseForm(); err == nil {
		decision = r.PostForm.Get("decision")
	}
	if decision != "accept" && decision != "discard" {
		s.problem(w, r, problemBadForm, resultPath(id))
		return
	}
	if _, err := s.broker.ConfirmConsent(r.Context(), id, cookie, decision == "accept"); err != nil {
		s.fail(w, r, err, problemConsentUnknown, problemCannotDecide, resultPath(id))
		return
	}
	http.Redirect(w, r, resultPath(id), http.StatusSeeOther) //nolint:gosec // a path of ours; consentID matched in bound
}

// bound returns the consent's id and this browser's cookie for it. A browser
// without one learns nothing, not even whether the consent exists.
func (s *site) bound(w http.ResponseWriter, r *http.Request) (string, secret.String, bool) {
	id := r.PathValue("id")
	if !consentID.MatchString(id) {
		s.problem(w, r, problemNotFound, "")
		return "", secret.String{}, false
	}
	cookie := s.cookies.read(r, id)
	if cookie.Empty() {
		s.problem(w, r, problemOtherBrowser, "")
		return "", secret.String{}, false
	}
	return id, cookie, true
}
