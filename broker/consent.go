package broker

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/storage"
)

// StartConsent makes a connect link for a grant, new or existing.
func (b *Broker) StartConsent(ctx context.Context, caller Caller, req ConsentRequest) (*ConsentLink, error) {
	c, err := b.enter(caller, "StartConsent", policy.Consent, req.Address)
	var l *ConsentLink
	if err == nil {
		err = c.intend()
	}
	if err == nil {
		l, err = b.startConsent(ctx, caller, req)
	}
	if err = c.done(err); err != nil {
		return nil, err
	}
	return l, nil
}

func (b *Broker) startConsent(ctx context.Context, caller Caller, req ConsentRequest) (*ConsentLink, error) {
	if err := req.Address.Validate(); err != nil {
		return nil, invalid("address", "%v", err)
	}
	a, err := b.appFor(req.App, req.Address.Product)
	if err != nil {
		return nil, err
	}
	if err := b.checkReturnURL(req.ReturnURL); err != nil {
		return nil, err
	}
	if err := b.consentAllowed(ctx, req.Address); err != nil {
		return nil, err
	}
	scopes := req.Scopes
	if len(scopes) == 0 {
		scopes = a.Scopes[req.Address.Product]
	}
	scopes = b.cfg.Provider.Profile().ConsentScopes(scopes)
	if !slices.Contains(b.cfg.Provider.Products(scopes), req.Address.Product) && len(b.cfg.Provider.Products(scopes)) > 0 {
		return nil, invalid("scopes", "none of the scopes %s is one of %s", strings.Join(scopes, " "), req.Address.Product)
	}
	if scopes, err = b.sharedScopes(ctx, a, req.Address, scopes); err != nil {
		return nil, err
	}
	now := b.now()
	consent := storage.Consent{
		ID: newConsentID(), Address: req.Address, App: a.ID, Scopes: scopes, Status: storage.ConsentPending,
		CreatedAt: now, ExpiresAt: now.Add(b.cfg.LinkTTL), StartedBy: caller.Name, ReturnURL: req.ReturnURL,
	}
	if err := b.store.Swap(ctx, storage.Update{Consent: &consent}); err != nil {
		return nil, storeError("storing a consent", consent.ID, err)
	}
	u, err := b.linkURL(link{ID: consent.ID, Address: req.Address, App: a.ID, Scopes: scopes,
		Expires: consent.ExpiresAt.Unix(), By: caller.Name, Return: req.ReturnURL})
	if err != nil {
		return nil, err
	}
	return &ConsentLink{ID: consent.ID, URL: u, ExpiresAt: consent.ExpiresAt, Scopes: scopes, Warning: a.warning()}, nil
}

// warning says what a shared app risks; empty for an app of its own.
func (a *App) warning() string {
	if !a.Shared() {
		return ""
	}
	return fmt.Sprintf("App %q is shared by %s: at the provider one account has one grant per app, and a later consent may replace the scopes "+
		"of an earlier one or end its tokens. An app per product keeps them apart.", a.ID, strings.Join(a.Products, " and "))
}

// sharedScopes unites the scopes with those of the live families that the same
// tenant and subject have under a shared app: "the scopes in the new grant
// override the scopes in the existing grant", says the provider.
func (b *Broker) sharedScopes(ctx context.Context, a *app, address storage.Address, scopes []string) ([]string, error) {
	if !a.Shared() {
		return scopes, nil
	}
	live, err := b.liveFamilies(ctx, storage.Filter{App: a.ID, Tenant: address.Tenant})
	if err != nil {
		return nil, storeError("listing the families of app", a.ID, err)
	}
	for _, g := range live {
		if g.Address.Subject != address.Subject {
			continue
		}
		full, err := b.store.Grant(ctx, g.ID)
		if err != nil {
			return nil, storeError("reading a grant", g.ID, err)
		}
		scopes = union(scopes, full.State.Access.Scopes)
	}
	return scopes, nil
}

// consentAllowed refuses a consent for a revoked grant that no operator reopened.
func (b *Broker) consentAllowed(ctx context.Context, a storage.Address) error {
	g, err := b.store.Grant(ctx, a.GrantID())
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return storeError("reading a grant", a.String(), err)
	}
	if g.State.Phase == family.Revoked && !g.ReauthAllowed {
		return b.denied(&g, family.DenyRevoked)
	}
	return nil
}

func (b *Broker) checkReturnURL(text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err == nil && slices.Contains(b.cfg.ReturnOrigins, u.Scheme+"://"+u.Host) {
		return nil
	}
	return invalid("return_url", "the origin of the return URL is not one of the configuration's return_urls")
}

// Consent tells where a consent stands, to whoever may start one for its grant.
func (b *Broker) Consent(ctx context.Context, caller Caller, id string) (*ConsentInfo, error) {
	consent, lookup := b.store.Consent(ctx, id)
	c, err := b.enter(caller, "GetConsent", policy.Consent, consent.Address)
	switch {
	case lookup != nil && !errors.Is(lookup, storage.ErrNotFound) && ReasonOf(err) != ReasonCallerUnauthenticated:
		err = storeError("reading consent", id, lookup)
	case err != nil && ReasonOf(err) == ReasonCallerNotAllowed, err == nil && errors.Is(lookup, storage.ErrNotFound):
		// The same answer for one that may not be seen.
		err = &Error{Reason: ReasonGrantNotFound, Message: fmt.Sprintf("there is no consent %s, or the caller may not know of it", id)}
	}
	if err = c.done(err); err != nil {
		return nil, err
	}
	return b.consentInfo(&consent), nil
}

func (b *Broker) consentInfo(c *storage.Consent) *ConsentInfo {
	info := &ConsentInfo{ID: c.ID, Address: c.Address, App: c.App, Status: b.statusNow(c), Detail: c.Detail, ExpiresAt: c.ExpiresAt}
	if info.Status == storage.ConsentDone {
		info.GrantID = c.Address.GrantID()
	}
	return info
}

// statusNow derives what only time has changed.
func (b *Broker) statusNow(c *storage.Consent) storage.ConsentStatus {
	if !b.now().After(c.ExpiresAt) {
		return c.Status
	}
	switch c.Status {
	case storage.ConsentPending, storage.ConsentAtProvider, storage.ConsentConfirm:
		return storage.ConsentExpired
	case storage.ConsentExchanging:
		return storage.ConsentExchangeInDoubt
	}
	return c.Status
}

// lost returns which scopes and sites the grant would lose to the new family.
func lost(g *storage.Grant, p *storage.PendingFamily) (scopes []string, sites []storage.Site) {
	if g.State.Phase == family.Revoked {
		return nil, nil // nothing of a revoked family is left to lose
	}
	for _, s := range g.Sites {
		if !slices.ContainsFunc(p.Sites, func(n storage.Site) bool { return n.CloudID == s.CloudID }) {
			sites = append(sites, s)
		}
	}
	return without(g.State.Access.Scopes, p.Pair.Scopes), sites
}

const consentAttempts = 3

// retrying calls an idempotent request of the provider up to three times.
func retrying[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	var v T
	var err error
	for i := range consentAttempts {
		if v, err = f(ctx); err == nil {
			return v, nil
		}
		select {
		case <-ctx.Done():
			return v, err
		case <-time.After(time.Duration(i+1) * 500 * time.Millisecond):
		}
	}
	return v, err
}
