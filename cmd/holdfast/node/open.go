package node

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/cmd/holdfast/reload"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/badgerstore"
	"github.com/holdfast-io/holdfast/storage/pgstore"
)

// openBroker opens store, audit and provider and makes the broker over them.
func (n *Node) openBroker(ctx context.Context) error {
	c := n.o.Config
	provider, err := NewProvider(&c.Provider)
	if err != nil {
		return Input(err)
	}
	rules, err := n.openPolicy()
	if err != nil {
		return Input(err)
	}
	apps, err := n.apps()
	if err != nil {
		return Input(err)
	}
	store, err := awaitStore(ctx, n.log, func(ctx context.Context) (*storage.Store, error) { return OpenStore(ctx, c, n.o) })
	if err != nil {
		return Input(err)
	}
	n.stack.Push("store", 30*time.Second, func(context.Context) error { return store.Close() })
	n.watchStore(store.MustReopen)
	log, err := n.openAudit(store)
	if err != nil {
		return Input(err)
	}
	if err := n.quarantine(ctx, store); err != nil {
		return err
	}
	n.broker, err = broker.New(broker.Config{
		Version: n.o.Version, Environment: c.Environment,
		Store: store, Provider: provider, Apps: apps, Timing: c.Provider.Timing,
		Limits: c.Limits.Broker(),
		Load:   broker.Load{Rate: float64(c.Provider.Rate), Burst: c.Provider.Burst, Concurrency: c.Provider.Concurrency},
		Policy: rules, Audit: log,
		Retention: c.Retention.Kept(), ServeStaleFor: c.Store.ServeStaleFor,
		PublicURL: c.Public(), ReturnOrigins: c.ReturnURLs,
		Log: n.log, Observe: newObserver(n.metrics),
	})
	if err != nil {
		return fmt.Errorf("making the broker: %w", err)
	}
	newCensus(n.metrics, n.broker.Census)
	newVitals(n.metrics, n.broker.Vitals)
	newKeyMetrics(n.metrics, n.broker.Vitals)
	newReplicaMetrics(n.metrics, n.broker.Vitals)
	newFailoverMetrics(n.metrics, store.LostCommits())
	// An embedded store's lock says that no other process is at work on it; of one
	// that replicas share nothing is taken over.
	if taken, err := n.broker.TakeOver(ctx); err != nil {
		return errors.Join(err, n.broker.Close(ctx))
	} else if taken > 0 {
		n.log.Warn("attempts of an earlier process were left open and are resolved now", "grants", taken)
	}
	n.stack.Push("broker", n.broker.Patience()+smallGrace, n.broker.Close)
	n.readiness = newReadiness(n.broker.NotReady, n.log)
	n.readiness.warn = rules.Complaint
	return nil
}

// quarantine deals with a store that may be a copy or out of date before
// anything can be spent: what was rotated since is unknown to it, and a token
// that was spent long ago would end its family.
func (n *Node) quarantine(ctx context.Context, store *storage.Store) error {
	if store.Finding() == "" {
		return nil
	}
	count, err := store.QuarantineAll(ctx) // none, if an earlier start was done with it
	if err != nil {
		return fmt.Errorf("quarantining the grants of a store that may be a copy or out of date: %w", err)
	}
	n.log.Warn("quarantined grants spend nothing until an operator decides with holdfast grants adopt or scrub",
		"finding", store.Finding(), "quarantined_now", count)
	return nil
}

// OpenStore opens the store that c names. The caller closes it.
func OpenStore(ctx context.Context, c *config.Config, o Options) (*storage.Store, error) {
	place, err := StoreConfig(c, o.Log)
	if err != nil {
		return nil, err
	}
	return storage.Open(ctx, place)
}

// StoreConfig is the store that c names, under its KEK.
func StoreConfig(c *config.Config, log *slog.Logger) (storage.Config, error) {
	kek, err := KEK(&c.Keys)
	if err != nil {
		return storage.Config{}, err
	}
	place, err := database(&c.Store, log)
	if err != nil {
		return storage.Config{}, err
	}
	return storage.Config{
		Database: place,
		Dir:      c.Store.Dir, WitnessFile: c.Store.WitnessFile, Environment: c.Environment, Provider: c.Provider.Resolved.Name, Leeway: c.Provider.Resolved.Leeway,
		KEK: kek, Backend: badgerstore.Opener(badgerstore.Options{Log: log}), Room: badgerstore.Room, Log: log, SpillSlots: spillSlots(c),
	}, nil
}

// database is where the records are of a store that replicas share; nil: they are
// in the store's directory.
func database(s *config.Store, log *slog.Logger) (*storage.DatabasePlace, error) {
	if s.Kind != config.StorePostgres {
		return nil, nil
	}
	name, o, err := Postgres(s, log)
	if err != nil {
		return nil, err
	}
	return pgstore.Place(name, o), nil
}

// Postgres is the database of a store of that kind, and its name for people.
func Postgres(s *config.Store, log *slog.Logger) (name string, o pgstore.Options, err error) {
	dsn, err := s.Postgres.DSN()
	if err != nil {
		return "", o, err
	}
	if name, err = pgstore.Describe(dsn); err != nil {
		return "", o, fmt.Errorf("store.postgres: %w", err)
	}
	return name, pgstore.Options{
		DSN: dsn, From: s.Postgres.Source(), Log: log, MaxConns: s.Postgres.Connections, MigrateByHand: s.Postgres.Migrate == config.MigrateByHand,
	}, nil
}

// Room in the spill file, of 256 KiB each: for all that may be spent at once, but
// not less than every store had from the beginning, nor more than 256 MiB.
const leastSpillSlots, mostSpillSlots = 64, 1024

func spillSlots(c *config.Config) int {
	return max(leastSpillSlots, min(len(c.Apps)*c.Provider.Concurrency, mostSpillSlots))
}

// NewProvider makes the client of the provider that p describes.
func NewProvider(p *config.Provider) (*atlassian.Provider, error) {
	options := atlassian.Options{HTTPTimeout: p.HTTPTimeout}
	var err error
	if options.ProxyURL, err = p.Proxy(); err != nil {
		return nil, err
	}
	if p.CAFile != "" {
		pem, err := os.ReadFile(p.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading the provider's CA: %w", err)
		}
		options.RootCAs = x509.NewCertPool()
		if !options.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading the provider's CA: %s holds no certificate in PEM form", p.CAFile)
		}
	}
	return atlassian.New(p.Resolved, options)
}

// apps are the broker's apps, with secrets that follow their files.
func (n *Node) apps() ([]broker.App, error) {
	apps := make([]broker.App, len(n.o.Config.Apps))
	for i, a := range n.o.Config.Apps {
		secrets, err := reload.Secrets(n.log, a.ClientSecretFiles...)
		if err != nil {
			return nil, fmt.Errorf("client secrets of app %q: %w", a.ID, err)
		}
		apps[i] = broker.App{
			ID: a.ID, ClientID: a.ClientID, Default: a.Default, Products: a.Products, Scopes: a.Scopes, LeaveAtProvider: a.LeaveAtProvider,
			Secrets: func() ([]secret.String, error) { return secrets.Get(), nil },
		}
	}
	return apps, nil
}
