package broker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/audit"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// bubble is a broker, its sweeper, a store in memory and the simulator behind a
// pipe, all in virtual time.
type bubble struct {
	*broker.Broker
	t      *testing.T
	sim    *atlassiansim.Sim
	client *http.Client
	store  *storage.Store
	// backend of the store.
	backend *watched
	grants  []storage.Address
	stop    func()
}

const simHost = "http://simulator.invalid"

// newBubble must be called inside of synctest.Test. Its broker begins with a store
// that was given to prepare.
func newBubble(t *testing.T, grants int, load broker.Load, prepare ...func(*watched)) *bubble {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	b := &bubble{t: t}
	secrets := func() ([]secret.String, error) { return []secret.String{secret.New("secret-jira")}, nil }
	app := broker.App{ID: "jira", ClientID: "client-jira", Products: []string{"jira"}, Scopes: map[string][]string{"jira": {"read:jira-work"}}, Secrets: secrets}
	clientSecrets, _ := secrets()
	var err error
	b.sim, err = atlassiansim.New(atlassiansim.Config{AutoConsent: true, Apps: []atlassiansim.App{{
		ClientID: app.ClientID, Secrets: clientSecrets, CallbackURL: public.JoinPath("oauth/callback").String(), Scopes: []string{"read:jira-work", "read:me"},
	}}})
	must(err)
	pipe := atlassiansim.NewPipe()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- atlassiansim.Serve(ctx, pipe, b.sim, slog.New(slog.DiscardHandler)) }()
	b.client = &http.Client{
		Transport:     &http.Transport{DialContext: pipe.DialContext},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	provider, err := simulated(pipe)
	must(err)
	b.openStore()
	log, err := audit.Open(audit.Config{File: filepath.Join(t.TempDir(), "audit.jsonl")})
	must(err)
	rules, err := policy.New([]policy.Rule{{Caller: "svc", Grants: []string{"acme/*/*"}}, {Caller: "op", Admin: true}})
	must(err)
	cfg := broker.Config{
		Version: "test", Environment: "test", PublicURL: public, Log: slog.New(slog.DiscardHandler), Apps: []broker.App{app}, Load: load,
		Store: b.store, Provider: provider, Policy: rules, Audit: log,
		Timing: family.Timing{
			Leeway: 10 * time.Minute, AccessGrace: 10 * time.Minute, Lease: time.Minute, HTTPTimeout: 5 * time.Second, ClockMargin: 5 * time.Second,
			RefreshAhead: 5 * time.Minute, ConfirmDelay: 30 * time.Second, IdleLimit: 90 * 24 * time.Hour, AbsoluteLimit: 365 * 24 * time.Hour,
		},
	}
	for i := range grants {
		b.consent(&cfg, provider, mustAddress(fmt.Sprintf("acme/s%d/jira", i)))
	}
	for _, p := range prepare {
		p(b.backend)
	}
	b.Broker, err = broker.New(cfg)
	must(err)
	b.stop = func() {
		if err := b.Close(context.Background()); err != nil {
			t.Error(err)
		}
		provider.Close()
		_ = log.Close()
		cancel()
		b.client.CloseIdleConnections()
		if err := <-served; err != nil {
			t.Error(err)
		}
		_ = b.store.Close()
	}
	return b
}

// openStore opens a store in memory that a test can look at.
func (b *bubble) openStore() {
	must := func(err error) {
		if err != nil {
			b.t.Helper()
			b.t.Fatal(err)
		}
	}
	kek := filepath.Join(b.t.TempDir(), "kek")
	_, err := seal.CreateFile(kek)
	must(err)
	key, err := seal.ReadFile(kek)
	must(err)
	b.store, err = storage.Open(b.t.Context(), storage.Config{
		Dir: b.t.TempDir(), Environment: "test", Provider: "atlassian", KEK: key, Log: slog.New(slog.DiscardHandler),
		Backend: func(dir string, key []byte) (storage.Backend, error) {
			inner, err := memstore.New().Opener()(dir, key)
			b.backend = &watched{Backend: inner}
			return b.backend, err
		},
	})
	must(err)
}

// simulated is the simulator behind the pipe as a provider.
func simulated(pipe *atlassiansim.Pipe) (*atlassian.Provider, error) {
	profile, err := atlassian.LoadProfile("atlassian")
	if err != nil {
		return nil, err
	}
	profile.PlainHTTP = true
	profile.AuthorizeURL, profile.TokenURL, profile.ResourcesURL = simHost+"/authorize", simHost+"/oauth/token", simHost+"/oauth/token/accessible-resources"
	profile.AccountURL, profile.RevokeURL = simHost+"/me", simHost+"/oauth/revoke"
	return atlassian.New(profile, atlassian.Options{HTTPTimeout: 5 * time.Second, Dial: pipe.DialContext})
}

// consent makes a family at the simulator and stores its grant, as a consent would.
func (b *bubble) consent(cfg *broker.Config, p *atlassian.Provider, a storage.Address) {
	b.t.Helper()
	callback := public.JoinPath("oauth/callback").String()
	q := url.Values{
		"audience": {"api.atlassian.com"}, "client_id": {"client-jira"}, "scope": {"read:jira-work read:me offline_access"},
		"redirect_uri": {callback}, "response_type": {"code"}, "prompt": {"consent"}, "state": {"s"},
	}
	resp, err := b.client.Get(simHost + "/authorize?" + q.Encode())
	if err != nil {
		b.t.Fatal(err)
	}
	resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		b.t.Fatal(err)
	}
	now := time.Now()
	o := p.Exchange(b.t.Context(), atlassian.Credentials{ClientID: "client-jira", Secret: secret.New("secret-jira")},
		atlassian.Code{Code: secret.New(back.Query().Get("code")), RedirectURI: callback}, nil)
	if o.Class != family.Settled {
		b.t.Fatalf("exchange: %v %s", o.Class, o.Code)
	}
	g := storage.Grant{ID: a.GrantID(), Address: a, App: "jira", Account: "account", CreatedAt: now}
	var events []family.Event
	g.State, events = family.Start(now, now, o.Pair)
	g.Due = g.State.Due(cfg.Timing, g.ID)
	if err := b.store.Swap(b.t.Context(), storage.Update{Grant: &g, Events: events}); err != nil {
		b.t.Fatal(err)
	}
	b.grants = append(b.grants, a)
}

// draw lets a caller of each grant ask again and again, as fast as it is told it
// may, until it has had a token of the next generation or d is over. It returns
// how many had.
func (b *bubble) draw(d time.Duration) int {
	var wg sync.WaitGroup
	var mu sync.Mutex
	served := 0
	end := time.Now().Add(d)
	for _, a := range b.grants {
		wg.Go(func() {
			for time.Now().Before(end) {
				answer, err := b.AccessToken(b.t.Context(), svc, broker.TokenRequest{Address: a})
				if err == nil && answer.Generation >= 2 {
					mu.Lock()
					served++
					mu.Unlock()
					return
				}
				wait := 2 * time.Second
				if e, ok := errors.AsType[*broker.Error](err); ok {
					wait = e.RetryAfter / 4 // less patient than it was asked to be
				}
				<-time.After(max(wait, 500*time.Millisecond))
			}
		})
	}
	wg.Wait()
	return served
}

// mostInAMinute returns the greatest number of refresh requests of one family
// that the provider saw within any minute.
func (b *bubble) mostInAMinute() int {
	most := 0
	for _, f := range b.sim.Ledger().Families {
		var at []time.Time
		for _, e := range f.Exchanges {
			if e.GrantType == "refresh_token" {
				at = append(at, e.At)
			}
		}
		for i := range at {
			n := 1
			for n <= i && at[i].Sub(at[i-n]) < time.Minute {
				n++
			}
			most = max(most, n)
		}
	}
	return most
}

// TestABrownOutMakesNoRetryStorm: all grants are wanted at once from a provider
// that fails the more the more it is asked.
func TestABrownOutMakesNoRetryStorm(t *testing.T) {
	for _, row := range []struct {
		name  string
		fault atlassiansim.Fault
	}{
		{"what fails has not rotated", atlassiansim.Fault{Kind: atlassiansim.FaultStatus, Status: 502, KeepToken: true, RateOver: 2, RateSlope: 10, Percent: 95}},
		{"what fails has rotated", atlassiansim.Fault{Kind: atlassiansim.FaultStatus, Status: 502, RateOver: 2, RateSlope: 10, Percent: 95}},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const grants = 100
				b := newBubble(t, grants, broker.Load{})
				defer b.stop()
				<-time.After(2 * time.Hour)
				row.fault.GrantType = "refresh_token"
				if _, err := b.sim.AddFault(row.fault); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				served := b.draw(9 * time.Minute)
				t.Logf("%d of %d served after %v, %d requests, %d at most of a family in a minute",
					served, grants, time.Since(began).Round(time.Second), b.sim.Counts(), b.mostInAMinute())
				if served != grants {
					t.Errorf("%d of %d are served", served, grants)
				}
				if most := b.mostInAMinute(); most > 2 {
					t.Errorf("%d requests of one family within a minute", most)
				}
				for _, f := range b.sim.Ledger().Families {
					if f.Stranded || !f.EndedAt.IsZero() {
						t.Errorf("%s is lost", f.ID)
					}
				}
			})
		})
	}
}

// TestNoMoreThanTheConfiguredNumberIsUnderWayAtOnce: twelve answers of three
// seconds each take nine if four may be under way.
func TestNoMoreThanTheConfiguredNumberIsUnderWayAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, 12, broker.Load{Concurrency: 4})
		defer b.stop()
		<-time.After(2 * time.Hour)
		if _, err := b.sim.AddFault(atlassiansim.Fault{Kind: atlassiansim.FaultDelayAnswer, DelayMillis: 3000, GrantType: "refresh_token"}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if served := b.draw(20 * time.Second); served != 12 {
			t.Fatalf("%d served", served)
		}
		if took := time.Since(began); took < 9*time.Second || took > 10*time.Second {
			t.Fatalf("took %v, want 9 s", took)
		}
	})
}
