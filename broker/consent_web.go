package broker

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

// ConnectPage tells what a link is for. It writes nothing.
func (b *Broker) ConnectPage(ctx context.Context, text string) (*ConnectView, error) {
	l, err := b.openLink(text)
	if err != nil {
		return nil, err
	}
	a, err := b.appFor(l.App, l.Address.Product)
	if err != nil {
		return nil, err
	}
	if l.Scopes, err = b.sharedScopes(ctx, a, l.Address, l.Scopes); err != nil {
		return nil, err
	}
	view := &ConnectView{
		ConsentID: l.ID, Product: l.Address.Product, ProductName: productName(l.Address.Product),
		Tenant: l.Address.Tenant, Subject: l.Address.Subject, Name: l.Address.Name, App: a.ID,
		ProviderName: b.cfg.Provider.Profile().Title, Scopes: l.Scopes, Warning: a.warning(), HasSites: b.cfg.Provider.Profile().ResourcesURL != "",
		ExpiresAt: time.Unix(l.Expires, 0), Status: storage.ConsentPending,
	}
	consent, err := b.consentOf(ctx, &l)
	if err == nil {
		view.Status = b.statusNow(&consent)
	} else if !errors.Is(err, storage.ErrNotFound) {
		return nil, err
	}
	g, err := b.store.Grant(ctx, l.Address.GrantID())
	view.Reconsent = err == nil && g.State.Phase != family.Revoked
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return nil, storeError("reading a grant", l.Address.String(), err)
	}
	return view, nil
}

// consentOf reads the consent of a link. The error is storage.ErrNotFound, as it
// is, if nobody has opened the link yet; what a purge deleted is used.
func (b *Broker) consentOf(ctx context.Context, l *link) (storage.Consent, error) {
	consent, err := b.store.Consent(ctx, l.ID)
	if err == nil {
		return consent, nil
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return consent, storeError("reading consent", l.ID, err)
	}
	switch spent, err := b.store.Spent(ctx, l.ID); {
	case err != nil:
		return consent, storeError("looking for consent", l.ID, err)
	case spent:
		return consent, usedLink()
	}
	return consent, storage.ErrNotFound
}

func usedLink() *Error { return invalid("link", "this link was used already: ask for a new one") }

func productName(product string) string {
	switch product {
	case ProductJira:
		return "Jira"
	case ProductConfluence:
		return "Confluence"
	}
	return product
}

// BeginConsent binds the consent to the browser that pressed continue and
// returns where to send it. Pressing it again, before the provider answered,
// begins anew with another state.
func (b *Broker) BeginConsent(ctx context.Context, text string) (*ConsentStart, error) {
	l, err := b.openLink(text)
	if err != nil {
		return nil, err
	}
	a, err := b.appFor(l.App, l.Address.Product)
	if err != nil {
		return nil, err
	}
	if err := b.consentAllowed(ctx, l.Address); err != nil {
		return nil, err
	}
	if l.Scopes, err = b.sharedScopes(ctx, a, l.Address, l.Scopes); err != nil {
		return nil, err
	}
	for range 4 { // a double click is two of these at once
		start, err := b.sendToProvider(ctx, a, l)
		if !errors.Is(err, storage.ErrConflict) {
			return start, err
		}
	}
	return nil, storeError("storing consent", l.ID, storage.ErrConflict)
}

// sendToProvider gives the consent a new state and a new cookie.
func (b *Broker) sendToProvider(ctx context.Context, a *app, l link) (*ConsentStart, error) {
	consent, err := b.consentOf(ctx, &l)
	if errors.Is(err, storage.ErrNotFound) { // a link out of an error: its record begins here
		consent = storage.Consent{ID: l.ID, Address: l.Address, App: l.App, Status: storage.ConsentPending,
			CreatedAt: time.UnixMilli(l.Made).UTC(), ExpiresAt: time.Unix(l.Expires, 0), StartedBy: l.By, ReturnURL: l.Return}
	} else if err != nil {
		return nil, err
	}
	switch b.statusNow(&consent) {
	case storage.ConsentPending, storage.ConsentAtProvider:
	case storage.ConsentExpired:
		return nil, invalid("link", "this consent has expired: ask for a new link")
	default:
		return nil, usedLink()
	}
	cookie, state := secret.New(rand.Text()), l.ID+"."+rand.Text()
	consent.Scopes, consent.Status = l.Scopes, storage.ConsentAtProvider
	consent.Verifier = atlassian.NewVerifier()
	consent.StateHash, consent.CookieHash = hash(state), hash(cookie.Reveal())
	consent.ExpiresAt = b.now().Add(b.cfg.ConsentTTL)
	if err := b.store.Swap(ctx, storage.Update{Consent: &consent}); err != nil {
		return nil, err
	}
	return &ConsentStart{
		ConsentID: l.ID, Cookie: cookie, ExpiresAt: consent.ExpiresAt,
		RedirectURL: b.cfg.Provider.AuthorizeURL(atlassian.AuthorizeRequest{
			ClientID: a.ClientID, RedirectURI: b.callbackURL(), State: state, Scopes: l.Scopes, Verifier: consent.Verifier,
		}),
	}, nil
}

func (b *Broker) callbackURL() string { return b.cfg.PublicURL.JoinPath("oauth", "callback").String() }

func hash(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}

// FinishConsent takes the provider's redirect. Reloading it tells the same
// outcome again; the code is exchanged once. A state or a cookie of another
// browser, or the answer of another provider, changes nothing.
func (b *Broker) FinishConsent(ctx context.Context, cb Callback) (*ConsentOutcome, error) {
	id, _, _ := strings.Cut(cb.State, ".")
	consent, err := b.boundConsent(ctx, id, cb.Cookie(id))
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(consent.StateHash, hash(cb.State)) != 1 {
		return nil, unknownState()
	}
	if want := b.cfg.Provider.Profile().Issuer; want != "" && cb.Issuer != want {
		return nil, invalid("iss", "the answer does not come from the provider that was asked")
	}
	switch status := b.statusNow(&consent); {
	case status != consent.Status && status == storage.ConsentExpired:
		return b.end(ctx, consent, storage.ConsentExpired, "The provider's answer came after the consent had expired.")
	case status != storage.ConsentAtProvider:
		return b.outcome(&consent), nil
	case cb.Error == "access_denied":
		return b.end(ctx, consent, storage.ConsentDenied, "")
	case cb.Error != "" || cb.Code.Empty():
		return b.end(ctx, consent, storage.ConsentProviderError, "The provider came back without an authorization code.")
	}
	return b.exchange(ctx, consent, cb.Code)
}

// boundConsent reads a consent for the browser that holds its cookie.
func (b *Broker) boundConsent(ctx context.Context, id string, cookie secret.String) (storage.Consent, error) {
	consent, err := b.store.Consent(ctx, id)
	if errors.Is(err, storage.ErrNotFound) {
		return consent, unknownState()
	}
	if err != nil {
		return consent, storeError("reading consent", id, err)
	}
	if cookie.Empty() || subtle.ConstantTimeCompare(consent.CookieHash, hash(cookie.Reveal())) != 1 {
		return consent, &Error{Reason: ReasonCallerUnauthenticated, Message: "this consent was started in another browser: open the link again in this one"}
	}
	return consent, nil
}

func unknownState() *Error {
	return &Error{Reason: ReasonGrantNotFound, Message: "this answer belongs to no consent that is under way: ask for a new link"}
}

// ConsentResult tells the browser that holds the cookie where its consent stands.
func (b *Broker) ConsentResult(ctx context.Context, id string, cookie secret.String) (*ConsentOutcome, error) {
	consent, err := b.boundConsent(ctx, id, cookie)
	if err != nil {
		return nil, err
	}
	return b.outcome(&consent), nil
}

// ConfirmConsent takes a person's decision on a new family that would lose
// scopes or sites of the old one.
func (b *Broker) ConfirmConsent(ctx context.Context, id string, cookie secret.String, accept bool) (*ConsentOutcome, error) {
	consent, err := b.boundConsent(ctx, id, cookie)
	if err != nil {
		return nil, err
	}
	if b.statusNow(&consent) != storage.ConsentConfirm {
		return b.outcome(&consent), nil
	}
	if !accept {
		return b.end(ctx, consent, storage.ConsentDiscarded, "")
	}
	if !b.begin() {
		return nil, &Error{Reason: ReasonProviderUnavailable, RetryAfter: retrySoon, Message: "this broker is shutting down: try again in a moment"}
	}
	defer b.work.Done()
	// Detached: a closed tab must not leave the swap undone.
	ctx, cancel := detach(ctx, settlePatience)
	defer cancel()
	return b.adopt(ctx, consent, consent.Pending, true, nil)
}

// end stores a consent's last status and drops what it does not need any more.
func (b *Broker) end(ctx context.Context, c storage.Consent, status storage.ConsentStatus, detail string) (*ConsentOutcome, error) {
	c.Status, c.Detail, c.Verifier, c.Pending = status, detail, secret.String{}, nil
	err := b.store.Swap(ctx, storage.Update{Consent: &c})
	if errors.Is(err, storage.ErrConflict) { // another request of the same browser was first
		fresh, err := b.store.Consent(ctx, c.ID)
		if err != nil {
			return nil, storeError("reading consent", c.ID, err)
		}
		return b.outcome(&fresh), nil
	}
	if err != nil {
		return nil, storeError("storing consent", c.ID, err)
	}
	b.consentEnded(&c, 0)
	return b.outcome(&c), nil
}

func (b *Broker) outcome(c *storage.Consent) *ConsentOutcome {
	o := &ConsentOutcome{ConsentID: c.ID, Address: c.Address, ProductName: productName(c.Address.Product),
		Status: b.statusNow(c), Detail: c.Detail, Account: c.Account, ReturnURL: c.ReturnURL}
	if p := c.Pending; p != nil {
		o.Sites, o.LostScopes, o.LostSites = slices.Clone(p.Sites), p.LostScopes, p.LostSites
	}
	if o.Status == storage.ConsentDone {
		if sl := b.hot.find(c.Address); sl != nil {
			o.Sites = slices.Clone(sl.entry.Load().grant.Sites)
		}
	}
	return o
}
