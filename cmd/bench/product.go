package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/audit"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/broker/rpc"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/badgerstore"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// cleaner collects what to close, in reverse order.
type cleaner []func() error

func (c *cleaner) add(f func() error) { *c = append(*c, f) }

func (c *cleaner) run() error {
	var err error
	for i := len(*c) - 1; i >= 0; i-- {
		err = errors.Join(err, (*c)[i]())
	}
	return err
}

// buildProduct makes the product as serve wires it: embedded store, broker,
// policy with several callers, audit file, metrics, mutual TLS. One grant lies
// in the store with a token that outlives the run, so that the provider is
// never asked.
func buildProduct(c serveCommand) (server, func() error, error) {
	var clean cleaner
	s, err := wireProduct(c, &clean)
	if err != nil {
		return nil, nil, errors.Join(err, clean.run())
	}
	return s, clean.run, nil
}

func wireProduct(c serveCommand, clean *cleaner) (server, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	store, err := openStore(c.Dir, log)
	if err != nil {
		return nil, err
	}
	clean.add(store.Close)
	if err := seedGrant(store); err != nil {
		return nil, err
	}
	cfg, err := brokerConfig(c.Dir, store, log, clean)
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	if cfg.Observe, err = newObserver(registry); err != nil {
		return nil, err
	}
	b, err := broker.New(cfg)
	if err != nil {
		return nil, err
	}
	clean.add(func() error { return b.Close(context.Background()) })
	tlsConfig, err := c.TLS.serverConfig()
	if err != nil {
		return nil, err
	}
	s, err := rpc.NewServer(rpc.Config{
		Tokens: b, Consents: b, Admin: b, TLS: tlsConfig, CallerName: nameOf, Metrics: registry, Log: log,
	})
	if err != nil {
		return nil, err
	}
	s.SetServing(true)
	clean.add(func() error { return s.Stop(context.Background()) })
	return s, nil
}

// nameOf is the caller's name: the certificate's one DNS name.
func nameOf(cert *x509.Certificate) (string, bool) {
	if len(cert.DNSNames) == 1 {
		return cert.DNSNames[0], true
	}
	return "", false
}

func openStore(dir string, log *slog.Logger) (*storage.Store, error) {
	kek, err := seal.CreateFile(filepath.Join(dir, "kek"))
	if err != nil {
		return nil, err
	}
	return storage.Open(context.Background(), storage.Config{
		Dir: filepath.Join(dir, "store"), Environment: "bench", Provider: "atlassian", KEK: kek, Log: log,
		Backend: badgerstore.Opener(badgerstore.Options{Log: log}),
	})
}

// seedGrant stores what a consent a minute ago would have left behind.
func seedGrant(store *storage.Store) error {
	consented := time.Now().Add(-time.Minute)
	scopes := []string{"read:jira-work", "write:jira-work", "offline_access", "read:me"}
	return store.Swap(context.Background(), storage.Update{
		Grant: &storage.Grant{
			ID: benchAddress.GrantID(), Address: benchAddress, App: "jira", Account: "bench-account", CreatedAt: consented,
			Sites: []storage.Site{{CloudID: "11111111-2222-3333-4444-555555555555", Name: "acme", URL: "https://acme.atlassian.net", Scopes: scopes[:2]}},
			State: family.State{
				Phase: family.Active, Generation: 1, FamilyFirst: 1, FamilyStarted: consented, LastExchange: consented,
				Refresh: secret.New(strings.Repeat("r", tokenSize)),
				Access:  family.Access{Token: secret.New(strings.Repeat("t", tokenSize)), ExpiresAt: consented.Add(24 * time.Hour), Scopes: scopes},
			},
		},
		Events: []family.Event{{Type: family.EventConsented, At: consented, Generation: 1}},
	})
}

func brokerConfig(dir string, store *storage.Store, log *slog.Logger, clean *cleaner) (broker.Config, error) {
	profile, err := atlassian.LoadProfile("atlassian")
	if err != nil {
		return broker.Config{}, err
	}
	provider, err := atlassian.New(profile, atlassian.Options{})
	if err != nil {
		return broker.Config{}, err
	}
	clean.add(func() error { provider.Close(); return nil })
	rules := []policy.Rule{{Caller: callerName, Grants: []string{"other/*/*", "acme/*/confluence", "acme/*/jira"}}}
	for i := range 20 {
		rules = append(rules, policy.Rule{Caller: fmt.Sprintf("service-%d", i), Grants: []string{"acme/*/*"}})
	}
	set, err := policy.New(rules)
	if err != nil {
		return broker.Config{}, err
	}
	record, err := audit.Open(filepath.Join(dir, "audit.log"))
	if err != nil {
		return broker.Config{}, err
	}
	clean.add(record.Close)
	return broker.Config{
		Version: "bench", Environment: "bench", Store: store, Provider: provider, Policy: set, Audit: record, Log: log,
		Apps: []broker.App{{
			ID: "jira", ClientID: "bench", Products: []string{broker.ProductJira},
			Scopes:  map[string][]string{broker.ProductJira: {"read:jira-work"}},
			Secrets: func() ([]secret.String, error) { return []secret.String{secret.New("bench")}, nil },
		}},
		Timing: family.Timing{
			Leeway: profile.Leeway, AccessGrace: profile.AccessGrace, Lease: time.Minute, HTTPTimeout: atlassian.DefaultHTTPTimeout,
			ClockMargin: 10 * time.Second, RefreshAhead: 5 * time.Minute, ConfirmDelay: time.Minute,
		},
		PublicURL: &url.URL{Scheme: "https", Host: "holdfast.bench"},
	}, nil
}

// observer counts as serve does.
type observer struct{ hits, misses prometheus.Counter }

func newObserver(registry *prometheus.Registry) (observer, error) {
	o := observer{
		hits:   prometheus.NewCounter(prometheus.CounterOpts{Name: "bench_hot_hits_total", Help: "Answers from memory."}),
		misses: prometheus.NewCounter(prometheus.CounterOpts{Name: "bench_hot_misses_total", Help: "Answers that needed a refresh."}),
	}
	return o, errors.Join(registry.Register(o.hits), registry.Register(o.misses))
}

// HotHit implements broker.Observer.
func (o observer) HotHit() { o.hits.Inc() }

// HotMiss implements broker.Observer.
func (o observer) HotMiss() { o.misses.Inc() }

// Attempt implements broker.Observer. It is never called here.
func (o observer) Attempt(string, family.AttemptKind, family.Class, time.Duration) {}
