package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

// app is a configured App and how it fares.
type app struct {
	App
	load *load
	log  *slog.Logger
	mu   sync.Mutex // guards all below
	// secrets as last read, and the index of the one in use.
	secrets []secret.String
	inUse   int
	// refused counts the secrets in a row that the provider did not take.
	refused int
	// paused says why nothing is spent; empty: it is not paused. Until then
	// nobody asks; afterwards one attempt does, and the others wait for it.
	paused      string
	pausedUntil time.Time
	probing     bool
	probedAt    time.Time // when the pause began or was last probed
	pauses      int       // in a row, for the backoff
	// misconfigured: a pause was recorded, and not yet its end.
	misconfigured bool
	// settled are the two grants whose settlement was learned last, for lastTryAllowed.
	settled [2]lastSettled
	// shared: other replicas see the same happen to the app.
	shared bool
	tally  verdictTally
	// survivors guards itself.
	survivors survivors
}

type lastSettled struct {
	grant string
	// began is when the attempt was announced. The provider was well at some time
	// after it: how long ago, nobody can say who stood still, or had to wait for
	// the store, before it was learned.
	began time.Time
}

func newApps(list []App, log *slog.Logger) (map[string]*app, error) {
	apps := make(map[string]*app, len(list))
	replica := rand.Text() // of this run: an earlier one's counts stay its own
	var errs []error
	for _, a := range list {
		switch {
		case a.ID == "" || a.ClientID == "" || a.Secrets == nil || len(a.Products) == 0:
			errs = append(errs, fmt.Errorf("app %q: id, client id, secrets and products are required", a.ID))
		case apps[a.ID] != nil:
			errs = append(errs, fmt.Errorf("app %q is configured twice", a.ID))
		default:
			apps[a.ID] = &app{App: a, log: log, tally: verdictTally{replica: replica}}
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

// pressedProbe is the least time between two probes of a paused app by doubts
// that can not wait.
const pressedProbe = 30 * time.Second

// credentials returns the client id with the secret in use, or APP_PAUSED. A
// pressing doubt probes the app before its time: one request more is less than
// a family lost.
func (a *app) credentials(now time.Time, probe time.Duration, pressing bool) (atlassian.Credentials, error) {
	secrets, err := a.Secrets()
	if err != nil || len(secrets) == 0 {
		return atlassian.Credentials{}, &Error{Reason: ReasonAppPaused, RetryAfter: retrySoon, cause: err,
			Message: fmt.Sprintf("the client secret of app %q cannot be read: check its secret files", a.ID)}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !slices.EqualFunc(a.secrets, secrets, secret.String.Equal) {
		// An operator has changed the files: nothing that was said about the old ones counts.
		a.secrets, a.inUse, a.refused, a.pauses, a.paused = secrets, 0, 0, 0, ""
	}
	if a.paused != "" {
		if now.Before(a.pausedUntil) && !(pressing && now.Sub(a.probedAt) >= pressedProbe) {
			return atlassian.Credentials{}, &Error{Reason: ReasonAppPaused, RetryAfter: a.pausedUntil.Sub(now),
				Message: fmt.Sprintf("app %q is paused: %s; it is tried again by itself", a.ID, a.paused)}
		}
		a.probing, a.pausedUntil, a.probedAt = true, now.Add(probe), now // for this attempt's answer
	}
	return atlassian.Credentials{ClientID: a.ClientID, Secret: a.secrets[a.inUse]}, nil
}

// otherClient is the code of the refusal that is about one grant's client id,
// not about the app as a whole.
const otherClient = "other_client"

// notAlone is the code of a last try that was announced and not sent: another
// family of its account and client has come alive.
const notAlone = "not_alone"

// learn takes what an outcome says about the app: a misconfigured answer turns
// to the other secret, and pauses the app once each was refused. Answers about a
// secret that is not in use any more say nothing. began is when the attempt was announced.
func (a *app) learn(now, began time.Time, grant string, with atlassian.Credentials, o family.Outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case o.Class == family.Settled || o.Class == family.Refused:
		// The provider recognised the client.
		a.unpause()
		if a.misconfigured {
			a.misconfigured = false
			a.noteEvent(storage.AppEvent{Type: storage.AppRecovered, At: now, Detail: "the provider takes its client again"})
		}
		if o.Class == family.Settled {
			if a.settled[0].grant != grant {
				a.settled[1] = a.settled[0]
			}
			a.settled[0] = lastSettled{grant, began}
		}
	case a.paused != "" && !a.probing: // of an attempt begun before the pause
	case o.Class == family.Misconfigured && o.Code != otherClient && a.secrets[a.inUse].Equal(with.Secret):
		a.probing = false
		a.inUse = (a.inUse + 1) % len(a.secrets)
		if a.refused++; a.refused < len(a.secrets) {
			a.pausedUntil = now // the other secret is asked at once
			return
		}
		a.refused = 0
		a.paused = fmt.Sprintf("the provider refuses its client (%s): check client id and secret", o.Code)
		// Asked again after 5 s, doubling to 5 min: an operator who mends the app
		// at the provider should not have to call anything.
		a.pausedUntil = now.Add(min(5*time.Second<<min(a.pauses, 6), 5*time.Minute))
		a.pauses++
		a.probedAt = now
		if !a.misconfigured {
			a.misconfigured = true
			a.noteEvent(storage.AppEvent{Type: storage.AppMisconfigured, At: now, Detail: a.paused})
		}
	}
}

// unpause forgets the broker's own pause: the app is tried at once. It needs a.mu.
func (a *app) unpause() { a.refused, a.pauses, a.paused, a.probing = 0, 0, "", false }

func (a *app) status(now time.Time) AppStatus {
	s := AppStatus{ID: a.ID, Products: a.Products, Shared: a.Shared()}
	s.CircuitOpen, _ = a.circuitOpen(now)
	a.mu.Lock()
	defer a.mu.Unlock()
	s.Paused = a.paused
	if p := a.tally.record.Pause; p != nil {
		s.Paused, s.PausedByOperator = pausedBy(p), true
	}
	s.RecentAttempts, s.RecentRefusals = a.tally.recent(now)
	s.VerdictsHeld, _ = judge(a.tally.held, a.tally.heldAt, now, a.tally.minutes())
	return s
}

// lastTryAllowed says whether a token whose leeway is over may be sent once
// more: the provider is healthy (another grant of the app settled just now, and
// verdicts are not held), and no other live family shares account and client,
// since nobody knows how far the provider's kill would reach.
// It is asked once in 30 s per grant: the answer takes a listing.
func (b *Broker) lastTryAllowed(ctx context.Context, sl *slot, now time.Time) bool {
	g := &sl.entry.Load().grant
	if g.State.NotBefore.After(now) || !b.providerWell(g, now) {
		return false
	}
	last := sl.lastTryAsked.Load()
	if now.UnixNano()-last < int64(30*time.Second) || !sl.lastTryAsked.CompareAndSwap(last, now.UnixNano()) {
		return false
	}
	return b.aloneAtRisk(ctx, g)
}

// stillAllowed takes the leave for a last try back if it does not hold any more:
// between the decision and the announcement the attempt waits for its turn, and
// the process may have stood still.
func (b *Broker) stillAllowed(ctx context.Context, g *storage.Grant, need family.Need) family.Need {
	if need.Force || !need.LastTryAllowed || family.Plan(g.State, b.cfg.Timing, b.now(), need).Kind != family.LastTry {
		return need
	}
	need.LastTryAllowed = b.aloneAtRisk(ctx, g) && b.providerWell(g, b.now()) // in this order: the listing takes time
	return need
}

// providerWell says whether the provider has been well just now, and since g came into doubt.
func (b *Broker) providerWell(g *storage.Grant, now time.Time) bool {
	a, doubt := b.apps[g.App], family.Normalize(g.State, b.cfg.Timing, now).Doubt
	return a != nil && doubt != nil && !a.verdictsHeld(now) && b.clock.vouched(b.cfg.Provider) &&
		a.otherSettled(g.ID, now.Add(-2*time.Minute), doubt.FirstAnnounced)
}

// aloneAtRisk reports whether no other live family shares g's account and client.
func (b *Broker) aloneAtRisk(ctx context.Context, g *storage.Grant) bool {
	others, err := b.liveFamilies(ctx, storage.Filter{App: g.App, Account: g.Account})
	return err == nil && !slices.ContainsFunc(others, func(o storage.Grant) bool { return o.ID != g.ID })
}

// otherSettled reports whether another grant settled that was announced after both times.
func (a *app) otherSettled(grant string, after, and time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.settled[:], func(s lastSettled) bool {
		return s.grant != "" && s.grant != grant && s.began.After(after) && s.began.After(and)
	})
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
