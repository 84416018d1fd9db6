package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// app is a configured App and how it fares.
type app struct {
	App
	mu sync.Mutex // guards all below
	// secret is the index of the client secret in use.
	secret int
	// misconfigured counts such answers in a row; see learn.
	misconfigured int
	pausedUntil   time.Time
	pausedFor     string
	// settledAt is when a spend of this app last settled.
	settledAt time.Time
}

func newApps(list []App) (map[string]*app, error) {
	apps := make(map[string]*app, len(list))
	var errs []error
	for _, a := range list {
		switch {
		case a.ID == "" || a.ClientID == "" || a.Secrets == nil || len(a.Products) == 0:
			errs = append(errs, fmt.Errorf("app %q: id, client id, secrets and products are required", a.ID))
		case apps[a.ID] != nil:
			errs = append(errs, fmt.Errorf("app %q is configured twice", a.ID))
		default:
			apps[a.ID] = &app{App: a}
		}
	}
	return apps, errors.Join(errs...)
}

// appFor returns the named app, or the one app of the product, or its default.
func (b *Broker) appFor(id, product string) (*app, error) {
	if id != "" {
		a := b.apps[id]
		if a == nil {
			return nil, invalid("app", "app %q is not configured; configured are %s", id, b.appNames())
		}
		if !slices.Contains(a.Products, product) {
			return nil, invalid("app", "app %q is for %s, not for %s", id, strings.Join(a.Products, ", "), product)
		}
		return a, nil
	}
	var found []*app
	for _, a := range b.apps {
		if slices.Contains(a.Products, product) {
			found = append(found, a)
		}
	}
	switch len(found) {
	case 0:
		return nil, invalid("address.product", "no app is configured for product %q; add one to the configuration's apps section", product)
	case 1:
		return found[0], nil
	}
	if i := slices.IndexFunc(found, func(a *app) bool { return a.Default }); i >= 0 {
		return found[i], nil
	}
	return nil, invalid("app", "several apps are configured for product %q: name one", product)
}

func (b *Broker) appNames() string { return strings.Join(b.appIDs(), ", ") }

func (b *Broker) appIDs() []string { return slices.Sorted(maps.Keys(b.apps)) }

// credentials returns the client id with the secret in use, or APP_PAUSED.
func (a *app) credentials(now time.Time) (atlassian.Credentials, error) {
	secrets, err := a.Secrets()
	if err != nil || len(secrets) == 0 {
		return atlassian.Credentials{}, &Error{Reason: ReasonAppPaused, RetryAfter: retrySoon, cause: err,
			Message: fmt.Sprintf("the client secret of app %q cannot be read: check its secret files", a.ID)}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Before(a.pausedUntil) {
		return atlassian.Credentials{}, &Error{Reason: ReasonAppPaused, RetryAfter: a.pausedUntil.Sub(now),
			Message: fmt.Sprintf("app %q is paused: %s; it is tried again by itself", a.ID, a.pausedFor)}
	}
	return atlassian.Credentials{ClientID: a.ClientID, Secret: secrets[a.secret%len(secrets)]}, nil
}

// learn takes an outcome's news about the app: a misconfigured answer turns to
// the other secret, and pauses the app once each was refused.
func (a *app) learn(now time.Time, o family.Outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch o.Class {
	case family.Settled, family.Refused:
		// The provider recognised the client.
		if o.Class == family.Settled {
			a.settledAt = now
		}
		a.misconfigured, a.pausedUntil, a.pausedFor = 0, time.Time{}, ""
	case family.Misconfigured:
		secrets, err := a.Secrets()
		count := len(secrets)
		if err != nil || count == 0 {
			count = 1
		}
		a.secret++
		a.misconfigured++
		if a.misconfigured >= count {
			a.pausedFor = fmt.Sprintf("the provider refuses its client (%s): check client id and secret", o.Code)
			// Probed again after 5 s, doubling to 5 min: an operator who mends the
			// secret file should not have to wait or to call anything.
			a.pausedUntil = now.Add(min(5*time.Second<<min(a.misconfigured-count, 6), 5*time.Minute))
		}
	}
}

func (a *app) status(now time.Time) AppStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := AppStatus{ID: a.ID, Products: a.Products, Shared: a.Shared()}
	if now.Before(a.pausedUntil) {
		s.Paused = a.pausedFor
	}
	return s
}

// lastTryAllowed says whether a token whose leeway is over may be sent once
// more: the provider is healthy (another grant of the app settled just now),
// and no other live family shares account and client, since nobody knows how
// far the provider's kill would reach.
func (b *Broker) lastTryAllowed(ctx context.Context, g *storage.Grant) bool {
	a := b.apps[g.App]
	if a == nil {
		return false
	}
	a.mu.Lock()
	healthy := !a.settledAt.IsZero() && b.now().Sub(a.settledAt) < 2*time.Minute
	a.mu.Unlock()
	if !healthy {
		return false
	}
	others, err := b.liveFamilies(ctx, storage.Filter{App: g.App, Account: g.Account})
	if err != nil {
		return false
	}
	for _, o := range others {
		if o.ID != g.ID {
			return false
		}
	}
	return true
}

// liveFamilies lists the grants of a filter whose family may be spent.
func (b *Broker) liveFamilies(ctx context.Context, f storage.Filter) ([]storage.Grant, error) {
	var live []storage.Grant
	f.Limit = 1000
	for {
		page, err := b.store.Grants(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, g := range page {
			if g.State.Phase == family.Active || g.State.Phase == family.Suspected {
				live = append(live, g)
			}
		}
		if len(page) < f.Limit {
			return live, nil
		}
		f.After = page[len(page)-1].ID
	}
}
