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
	"github.com/holdfast-io/holdfast/broker/audit"
	"github.com/holdfast-io/holdfast/broker/crashpoint"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

// exchange spends the authorization code: announced durably first, detached
// from the browser's patience, and sent once, or once more for each client
// secret that the provider did not take.
func (b *Broker) exchange(ctx context.Context, c storage.Consent, code secret.String) (*ConsentOutcome, error) {
	if !b.begin() {
		return nil, &Error{Reason: ReasonProviderUnavailable, RetryAfter: retrySoon, Message: "this broker is shutting down: try again in a moment"}
	}
	defer b.work.Done()
	a := b.apps[c.App]
	if a == nil {
		return b.end(ctx, c, storage.ConsentMisconfigured, "")
	}
	// Detached: a closed tab must not leave the exchange half done.
	ctx, cancel := detach(ctx, b.Patience())
	defer cancel()
	if err := b.clock.mayNotSpend(); err != nil {
		return nil, err
	}
	if err := b.keyUsable(); err != nil {
		return nil, err
	}
	s, err := b.proveExchange(ctx, &c)
	if err != nil {
		return nil, err
	}
	defer b.leaveExchange(s)
	const rounds = 3 // one or two secrets, and one that was changed meanwhile
	for range rounds {
		credentials, err := b.credentials(ctx, a)
		if err != nil {
			if c.Status == storage.ConsentExchanging { // every secret was refused, and the app is paused for it
				return b.end(ctx, c, storage.ConsentMisconfigured, exchangeMisconfigured)
			}
			return nil, err
		}
		mine, err := b.announceExchange(ctx, &c)
		if err != nil {
			return nil, err
		}
		if !mine {
			return b.outcome(&c), nil
		}
		s.kept.Spend.AttemptID = c.AttemptID
		announced := b.now()
		crashpoint.At(crashpoint.ExchangeAnnounced)
		o := b.cfg.Provider.Exchange(context.WithoutCancel(ctx), credentials, atlassian.Code{Code: code, Verifier: c.Verifier, RedirectURI: b.callbackURL()}, nil)
		crashpoint.At(crashpoint.ExchangeAnswered)
		a.learn(b.now(), announced, c.Address.GrantID(), credentials, o)
		if o.Class == family.Settled { // a failure was one person's; only refreshes are counted for it
			b.learnLoad(a, &storage.Grant{ID: c.Address.GrantID(), App: c.App}, o)
		}
		b.log.Info("code exchanged", "consent", c.ID, "grant", c.Address.String(), "class", o.Class.String(), "code", o.Code)
		switch {
		case o.Class == family.Settled:
			return b.examine(ctx, c, announced, o.Pair, s)
		case o.Class != family.Misconfigured || o.Code == otherClient:
			status, detail := exchangeFailure(o)
			return b.end(ctx, c, status, detail)
		}
	}
	return b.end(ctx, c, storage.ConsentMisconfigured, exchangeMisconfigured)
}

// announceExchange makes the exchange durable. False: the same callback came
// twice at once and the other one exchanges; c is what that stored.
func (b *Broker) announceExchange(ctx context.Context, c *storage.Consent) (mine bool, err error) {
	next := *c
	next.Status, next.AttemptID = storage.ConsentExchanging, rand.Text()
	next.ExpiresAt = b.now().Add(b.Patience())
	err = b.store.Swap(ctx, storage.Update{Consent: &next})
	if err == nil {
		*c = next
		return true, nil
	}
	fresh, rerr := b.store.Consent(ctx, c.ID)
	switch {
	case rerr == nil && errors.Is(err, storage.ErrUnknown) && fresh.AttemptID == next.AttemptID:
		*c = fresh
		return true, nil
	case rerr == nil && errors.Is(err, storage.ErrConflict):
		*c = fresh
		return false, nil
	}
	return false, storeError("announcing the exchange of consent", c.ID, err)
}

const exchangeMisconfigured = "The provider refuses this app's client: an operator must check client id and secret."

func exchangeFailure(o family.Outcome) (storage.ConsentStatus, string) {
	switch o.Class {
	case family.Refused:
		return storage.ConsentCodeRefused, "The provider did not accept its own authorization code: it was late or used already."
	case family.Misconfigured:
		return storage.ConsentMisconfigured, exchangeMisconfigured
	case family.InDoubt:
		return storage.ConsentExchangeInDoubt, "The provider's answer was lost, so the new tokens are not known."
	}
	return storage.ConsentProviderError, "The provider could not be reached or asked to try later."
}

// examine checks what came back against what was asked for, before anything
// of it becomes a grant.
func (b *Broker) examine(ctx context.Context, c storage.Consent, announced time.Time, pair family.Pair, s *settlement) (*ConsentOutcome, error) {
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
	return b.adopt(ctx, c, &storage.PendingFamily{Pair: pair, ReceivedAt: announced, Account: account.ID, Sites: sites}, false, s)
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
// there is no moment with half of it. A store that cannot take it is tried again
// until ctx ends; the pair is kept in s meanwhile, and after that. s is nil where
// the store holds the pair already.
func (b *Broker) adopt(ctx context.Context, c storage.Consent, p *storage.PendingFamily, confirmed bool, s *settlement) (*ConsentOutcome, error) {
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		g, err := b.grantFor(ctx, &c, p.Account)
		if err == nil {
			var outcome *ConsentOutcome
			if outcome, err = b.adoptOnce(ctx, g, c, p, confirmed); err == nil {
				b.adopted(s)
				return outcome, nil
			}
		}
		fresh, rerr := b.store.Consent(ctx, c.ID)
		if rerr == nil && fresh.Version != c.Version { // ours was committed, or another tab was first
			b.adopted(s)
			b.reload(ctx, c.Address)
			return b.outcome(&fresh), nil
		}
		if s != nil && (rerr != nil || !errors.Is(err, storage.ErrConflict)) {
			s.kept.Pending = p
			b.unsettled(s, err)
			if s.inSpill.Load() && errors.Is(err, storage.ErrReopen) { // only the next start can do it
				return nil, storeError("storing the new family of", c.Address.String(), err)
			}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, storeError("storing the new family of", c.Address.String(), err)
		}
	}
}

// grantFor reads the grant that the consent is for, or makes one.
func (b *Broker) grantFor(ctx context.Context, c *storage.Consent, account string) (storage.Grant, error) {
	g, err := b.store.Grant(ctx, c.Address.GrantID())
	if errors.Is(err, storage.ErrNotFound) {
		g, err = b.store.NewGrant(ctx, c.Address)
		g.Account, g.CreatedAt = account, b.now()
	}
	return g, err
}

// adoptOnce decides by the grant as it is now, and stores what it decided.
func (b *Broker) adoptOnce(ctx context.Context, g storage.Grant, c storage.Consent, p *storage.PendingFamily, confirmed bool) (*ConsentOutcome, error) {
	now := b.now()
	switch {
	case g.Account != p.Account:
		return b.end(ctx, c, storage.ConsentWrongAccount, "Another account consented before: sign in at the provider with that one.")
	case g.State.Phase == family.Revoked && !g.ReauthAllowed:
		return b.end(ctx, c, storage.ConsentSuperseded, "The grant was revoked while the consent was under way.")
	case g.State.Phase == family.Revoked && c.CreatedAt.Before(g.State.EndedAt):
		return b.end(ctx, c, storage.ConsentSuperseded, "The grant was revoked after this consent had begun: use the link that was made since.")
	case confirmed && g.State.FamilyStarted.After(p.ReceivedAt): // only a confirmation can come so late
		return b.end(ctx, c, storage.ConsentSuperseded, "A newer consent was given meanwhile.")
	}
	scopes, sites := lost(&g, p)
	shown := confirmed && len(without(scopes, p.LostScopes)) == 0 && !slices.ContainsFunc(sites, func(s storage.Site) bool {
		return !slices.ContainsFunc(p.LostSites, func(l storage.Site) bool { return l.CloudID == s.CloudID })
	})
	if len(scopes)+len(sites) > 0 && !shown {
		p.LostScopes, p.LostSites = scopes, sites
		return b.askToConfirm(ctx, c, p)
	}
	var events []family.Event
	g.State, events = family.Replace(g.State, p.ReceivedAt, now, p.Pair)
	g.State = b.namedFormer(g.State)
	g.App, g.Sites, g.ReauthAllowed, g.ProviderRevocation = c.App, p.Sites, false, ""
	g.Due = b.due(&g)
	c.Status, c.Detail, c.Verifier, c.Pending = storage.ConsentDone, "", secret.String{}, nil
	began := b.clock.local()
	if err := b.store.Swap(ctx, storage.Update{Grant: &g, Consent: &c, Events: events}); err != nil {
		return nil, err
	}
	crashpoint.At(crashpoint.ExchangeAdopted)
	b.hot.publish(g, began)
	b.consentEnded(&c, g.State.Generation)
	return b.outcome(&c), nil
}

// reload brings what was committed unseen into the cache.
func (b *Broker) reload(ctx context.Context, a storage.Address) {
	began := b.clock.local()
	if g, err := b.store.Grant(ctx, a.GrantID()); err == nil {
		b.hot.publish(g, began)
	}
}

func (b *Broker) askToConfirm(ctx context.Context, c storage.Consent, p *storage.PendingFamily) (*ConsentOutcome, error) {
	c.Status, c.Pending, c.Verifier = storage.ConsentConfirm, p, secret.String{}
	c.ExpiresAt = b.now().Add(b.cfg.ConsentTTL)
	if err := b.store.Swap(ctx, storage.Update{Consent: &c}); err != nil {
		return nil, err
	}
	return b.outcome(&c), nil
}

// consentEnded logs and audits how a consent ended. The call that started it
// was decided and audited then; here a person decided, so that there is nobody
// to refuse if the record can not be written.
func (b *Broker) consentEnded(c *storage.Consent, generation uint64) {
	b.log.Info("consent ended", "consent", c.ID, "grant", c.Address.String(), "status", string(c.Status))
	err := b.cfg.Audit.Write(&audit.Record{
		Time: b.now(), Caller: c.StartedBy, Method: "consent page", Action: string(policy.Consent), Grant: c.Address.String(),
		GrantID: c.Address.GrantID(), Generation: generation, Outcome: string(c.Status), Detail: "consent " + c.ID + " account " + c.Account,
	})
	if err != nil {
		b.log.Error("auditing the end of a consent failed", "consent", c.ID, "error", err)
	}
}
