package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/storage"
)

// connectPage says what the link would grant. Mail scanners and previews open
// links too, so it changes nothing.
func (s *site) connectPage(w http.ResponseWriter, r *http.Request) {
	link, ok := s.link(w, r)
	if !ok {
		return
	}
	c, err := s.broker.ConnectPage(r.Context(), link)
	if err == nil && c == nil {
		err = errors.New("no connect view and no error")
	}
	if err != nil {
		s.fail(w, r, err, problemLinkUnknown, problemLinkInvalid, "")
		return
	}
	if c.Status != storage.ConsentPending && c.Status != storage.ConsentAtProvider {
		s.usedLink(w, r, c)
		return
	}
	w.Header().Set("Content-Security-Policy", s.connectPolicy())
	s.render(w, r, http.StatusOK, "connect", view{
		Tone:    toneAsk,
		Heading: fmt.Sprintf("Allow access to %s?", c.ProductName),
		Facts:   factsOfView(c),
		Connect: &connectView{
			Action: r.URL.EscapedPath(), Product: c.ProductName, Provider: c.ProviderName, ProviderHost: s.provider.Host,
			Scopes: explainScopes(c.Scopes), Notes: notes(c), Warning: c.Warning,
			Until: until(c.ExpiresAt),
		},
	})
}

// usedLink answers for a link whose consent has gone on or ended: the same
// words as its own page, without what only the consenting browser may see.
func (s *site) usedLink(w http.ResponseWriter, r *http.Request, c *broker.ConnectView) {
	p, ok := statusPages[c.Status]
	if !ok {
		s.fail(w, r, fmt.Errorf("no page for consent status %q", c.Status), problemInternal, problemInternal, "")
		return
	}
	v := view{Tone: p.tone, Heading: p.heading, Lead: p.lead, Next: p.next, Facts: factsOfView(c),
		Note: "This link has been used. This is where its consent stands."}
	if p.tone == toneStop {
		v.Reference = c.ConsentID
	}
	if p.open && consentID.MatchString(c.ConsentID) {
		v.Next = []string{"Go on in the browser in which you pressed Continue."}
		v.Back, v.BackText = resultPath(c.ConsentID), "Go on in this browser"
	}
	s.render(w, r, p.code, "result", v)
}

// begin binds the consent to this browser and sends it to the provider.
func (s *site) begin(w http.ResponseWriter, r *http.Request) {
	link, ok := s.link(w, r)
	if !ok {
		return
	}
	back := r.URL.EscapedPath()
	c, err := s.broker.BeginConsent(r.Context(), link)
	if err == nil {
		err = s.checkStart(c)
	}
	if err != nil {
		s.fail(w, r, err, problemLinkUnknown, problemLinkInvalid, back)
		return
	}
	s.cookies.bind(w, c.ConsentID, c.Cookie, c.ExpiresAt)
	http.Redirect(w, r, c.RedirectURL, http.StatusSeeOther) //nolint:gosec // checkStart held it against the provider's origin
}

// checkStart keeps a mistake elsewhere from making this an open redirect or an
// unbound consent.
func (s *site) checkStart(c *broker.ConsentStart) error {
	if c == nil || !consentID.MatchString(c.ConsentID) || c.Cookie.Empty() {
		return errors.New("the started consent has no usable id or cookie")
	}
	u, err := url.Parse(c.RedirectURL)
	if err != nil || u.Scheme != s.provider.Scheme || u.Host != s.provider.Host || u.User != nil {
		return errors.New("the redirect of the started consent does not lead to the configured provider origin")
	}
	return nil
}

// link returns the path's signed token, or answers for one that is too long to be ours.
func (s *site) link(w http.ResponseWriter, r *http.Request) (string, bool) {
	link := r.PathValue("link")
	if len(link) > maxLink {
		s.problem(w, r, problemLinkInvalid, "")
		return "", false
	}
	return link, true
}

// notes are the sentences that depend on what is being granted.
func notes(c *broker.ConnectView) []string {
	var n []string
	if c.HasSites {
		n = append(n, "You choose one site at "+c.ProviderName+". To add another site, you consent once more.")
	}
	if c.Reconsent {
		n = append(n, "A permission for this exists already, and the new one takes its place. Should the new one cover less, you are asked before anything changes.")
	}
	return n
}

func until(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2 January 2006, 15:04 UTC")
}
