package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

// exchange spends the authorization code: announced durably first, once,
// detached from the browser's patience.
func (b *Broker) exchange(ctx context.Context, c storage.Consent, code secret.String) (*ConsentOutcome, error) {
	if !b.begin() {
		return nil, &Error{Reason: ReasonProviderUnavailable, RetryAfter: retrySoon, Message: "this broker is shutting down: try again in a moment"}
	}
	defer b.work.Done()
	a := b.apps[c.App]
	if a == nil {
		return b.end(ctx, c, storage.ConsentMisconfigured, "")
	}
	credentials, err := a.credentials(b.now())
	if err != nil {
		return nil, err
	}
	c.Status, c.AttemptID = storage.ConsentExchanging, rand.Text()
	c.ExpiresAt = b.now().Add(b.cfg.Timing.Lease + settlePatience)
	// Detached: a closed tab must not leave the exchange half done.
	ctx, cancel := detach(ctx, b.cfg.Timing.Lease+settlePatience)
	defer cancel()
	if err := b.store.Swap(ctx, storage.Update{Consent: &c}); err != nil {
		if errors.Is(err, storage.ErrConflict) { // the same callback twice at once: the other one exchanges
			fresh, rerr := b.store.Consent(ctx, c.ID)
			if rerr == nil {
				return b.outcome(&fresh), nil
			}
		}
		return nil, storeError("announcing the exchange of consent", c.ID, err)
	}
	announced := b.now()
	o := b.cfg.Provider.Exchange(ctx, credentials, atlassian.Code{Code: code, Verifier: c.Verifier, RedirectURI: b.callbackURL()}, nil)
	a.learn(b.now(), o)
	b.log.Info("code exchanged", "consent", c.ID, "grant", c.Address.String(), "class", o.Class.String(), "code", o.Code)
	if o.Class != family.Settled {
		status, detail := exchangeFailure(o)
		return b.end(ctx, c, status, detail)
	}
	return b.examine(ctx, c, announced, o.Pair)
}

func exchangeFailure(o family.Outcome) (storage.ConsentStatus, string) {
	switch o.Class {
	case family.Refused:
		return storage.ConsentCodeRefused, "The provider did not accept its own authorization code: it was late or used already."
	case family.Misconfigured:
		return storage.ConsentMisconfigured, "The provider refuses this app's client: an operator must check client id and secret."
	case family.InDoubt:
		return storage.ConsentExchangeInDoubt, "The provider's answer was lost, so the new tokens are not known."
	}
	return storage.ConsentProviderError, "The provider could not be reached or asked to try later."
}

// examine checks what came back against what was asked for, before anything
// of it becomes a grant.
func (b *Broker) examine(ctx context.Context, c storage.Consent, announced time.Time, pair family.Pair) (*ConsentOutcome, error) {
	if pair.Refresh.Empty() {
		return b.end(ctx, c, storage.ConsentNoOfflineAccess, "The provider gave no refresh token: the app must be allowed offline access.")
	}
	if len(pair.Scopes) == 0 { // RFC 6749, section 5.1: absent if identical to what was asked for
		pair.Scopes = c.Scopes
	}
	if products := b.cfg.Provider.Products(pair.Scopes); len(b.cfg.Provider.Products(c.Scopes)) > 0 && !slices.Contains(products, c.Address.Product) {
		return b.end(ctx, c, storage.ConsentWrongProduct, fmt.Sprintf("The scopes that came back are not for %s.", productName(c.Address.Product)))
	}
	profile := b.cfg.Provider.Profile()
	asked := slices.DeleteFunc(slices.Clone(c.Scopes), func(s string) bool { return s == profile.OfflineScope })
	if gone := without(asked, pair.Scopes); len(gone) > 0 {
		return b.end(ctx, c, storage.ConsentMissingScopes, "Not granted: "+strings.Join(gone, ", ")+".")
	}
	account, err := retrying(ctx, func(ctx context.Context) (atlassian.Account, error) { return b.cfg.Provider.Account(ctx, pair.Access) })
	if err != nil {
		b.log.Warn("asking for the account failed", "consent", c.ID, "error", err)
		return b.end(ctx, c, storage.ConsentProviderError, "The provider did not say whose account consented.")
	}
	sites, err := retrying(ctx, func(ctx context.Context) ([]storage.Site, error) {
		return b.sites(ctx, c.Address.Product, pair.Access)
	})
	if err != nil {
		b.log.Warn("asking for the sites failed", "consent", c.ID, "error", err)
		return b.end(ctx, c, storage.ConsentProviderError, "The provider did not say which sites the consent reaches.")
	}
	if b.cfg.Provider.Profile().ResourcesURL != "" && len(sites) == 0 {
		return b.end(ctx, c, storage.ConsentWrongProduct, fmt.Sprintf("The consent reaches no site with %s.", productName(c.Address.Product)))
	}
	c.Account = account.ID
	return b.adopt(ctx, c, &storage.PendingFamily{Pair: pair, ReceivedAt: announced, Account: account.ID, Sites: sites}, false)
}

// sites returns the sites of a token that have the product.
func (b *Broker) sites(ctx context.Context, product string, access secret.String) ([]storage.Site, error) {
	rs, err := b.cfg.Provider.Resources(ctx, access)
	if err != nil {
		return nil, err
	}
	var sites []storage.Site
	for _, r := range b.cfg.Provider.SitesOf(product, rs) {
		sites = append(sites, storage.Site{CloudID: r.ID, Name: r.Name, URL: r.URL, Scopes: r.Scopes})
	}
	return sites, nil
}

// adopt swaps the new family in, in one transaction with the consent's end:
// there is no moment with half of it.
func (b *Broker) adopt(ctx context.Context, c storage.Consent, p *storage.PendingFamily, confirmed bool) (*ConsentOutcome, error) {
	for range 16 {
		now := b.now()
		g, err := b.store.Grant(ctx, c.Address.GrantID())
		isNew := errors.Is(err, storage.ErrNotFound)
		if err != nil && !isNew {
			return nil, storeError("reading a grant", c.Address.String(), err)
		}
		if isNew {
			g = storage.Grant{ID: c.Address.GrantID(), Address: c.Address, Account: p.Account, CreatedAt: now}
		}
		switch {
		case g.Account != p.Account:
			return b.end(ctx, c, storage.ConsentWrongAccount, "Another account consented before: sign in at the provider with that one.")
		case g.State.Phase == family.Revoked && !g.ReauthAllowed:
			return b.end(ctx, c, storage.ConsentSuperseded, "The grant was revoked while the consent was under way.")
		}
		if p.LostScopes, p.LostSites = lost(&g, p); !confirmed && len(p.LostScopes)+len(p.LostSites) > 0 {
			return b.askToConfirm(ctx, c, p)
		}
		var events []family.Event
		g.State, events = family.Replace(g.State, p.ReceivedAt, now, p.Pair)
		g.App, g.Sites, g.ReauthAllowed = c.App, p.Sites, false
		g.Due = g.State.Due(b.cfg.Timing)
		done := c
		done.Status, done.Detail, done.Verifier, done.Pending = storage.ConsentDone, "", secret.String{}, nil
		err = b.store.Swap(ctx, storage.Update{Grant: &g, Consent: &done, Events: events})
		switch {
		case err == nil:
			b.hot.publish(g, b.now())
			b.log.Info("consent ended", "consent", c.ID, "grant", c.Address.String(), "status", string(done.Status), "generation", g.State.Generation)
			return b.outcome(&done), nil
		case !errors.Is(err, storage.ErrConflict) && !errors.Is(err, storage.ErrUnknown):
			return nil, storeError("storing the new family of", c.Address.String(), err)
		}
		fresh, rerr := b.store.Consent(ctx, c.ID)
		if rerr == nil && fresh.Version != c.Version { // ours was committed, or another tab was first
			b.reload(ctx, c.Address)
			return b.outcome(&fresh), nil
		}
	}
	return nil, &Error{Reason: ReasonStoreUnavailable, RetryAfter: retrySoon, Message: "the grant kept changing; try again"}
}

// reload brings what was committed unseen into the cache.
func (b *Broker) reload(ctx context.Context, a storage.Address) {
	if g, err := b.store.Grant(ctx, a.GrantID()); err == nil {
		b.hot.publish(g, b.now())
	}
}

func (b *Broker) askToConfirm(ctx context.Context, c storage.Consent, p *storage.PendingFamily) (*ConsentOutcome, error) {
	c.Status, c.Pending, c.Verifier = storage.ConsentConfirm, p, secret.String{}
	c.ExpiresAt = b.now().Add(b.cfg.ConsentTTL)
	if err := b.store.Swap(ctx, storage.Update{Consent: &c}); err != nil {
		return nil, storeError("storing consent", c.ID, err)
	}
	return b.outcome(&c), nil
}
