package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/cmd/holdfast/node"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// configuration of the product: what `holdfast serve` would be given, with free
// ports, and more rules than the caller needs. The first %s is the directory of the
// certificates, the second the audit level; then come the store, the address of the
// contract and the key file.
const configuration = `environment: bench
public_url: https://holdfast.bench
store: %[3]s
keys: {kek_file: %[5]s}
grpc: {listen: "%[4]s"}
http: {listen: "127.0.0.1:0", behind_proxy: true}
metrics: {listen: "127.0.0.1:0"}
tls:
  cert_file: %[1]s/server.crt
  key_file: %[1]s/server.key
  client_ca_file: %[1]s/ca.crt
apps:
  - id: jira
    products: [jira]
    client_id: bench
    client_secret_files: [secret]
    scopes: {jira: ["read:jira-work"]}
callers:
  - {name: operator, admin: true}
  - {name: other-service, grants: ["acme/*/confluence", "other/*/jira"]}
  - {name: ` + callerName + `, grants: ["other/*/*", "acme/*/confluence", "acme/*/jira"]}
  - {name: ` + hostileName + `, grants: ["acme/*/jira"]}
limits: {callers: [{name: ` + callerName + `, rate: 1000000}], grant_rate: 1000000}
audit: {file: audit.log, level: %[2]s}
log: {level: warn}
`

// startProduct runs what `holdfast serve` runs, by the same code. One grant lies
// in its store, with a token that outlives the run, so that the provider is
// never asked.
func startProduct(c serveCommand) (string, func() error, error) {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	cfg, err := writeConfig(c)
	if err != nil {
		return "", nil, err
	}
	o := node.Options{Config: cfg, Version: "bench", Log: log}
	if err := seedStore(o); err != nil {
		return "", nil, fmt.Errorf("storing the grant: %w", err)
	}
	n, stop, err := startNode(context.Background(), o)
	if err != nil {
		return "", nil, err
	}
	return n.GRPCAddr().String(), stop, nil
}

// startNode starts the product; stop ends it and waits for it.
func startNode(ctx context.Context, o node.Options) (n *node.Node, stop func() error, err error) {
	if n, err = node.Start(ctx, o); err != nil {
		return nil, nil, err
	}
	wait, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Wait(wait) }()
	return n, func() error { cancel(); return <-ended }, nil
}

// writeConfig lays out the files that the configuration names.
func writeConfig(c serveCommand) (*config.Config, error) { return writeConfigWith(c, "") }

// writeConfigWith adds sections to the configuration, and takes the store's from c.
func writeConfigWith(c serveCommand, more string) (*config.Config, error) {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, err
	}
	if c.KEK == "" {
		if _, err := seal.CreateFile(filepath.Join(c.Dir, "kek")); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(filepath.Join(c.Dir, "secret"), []byte("bench"), 0o600); err != nil {
		return nil, err
	}
	level := "written"
	if c.Durable {
		level = "durable"
	}
	if err := os.WriteFile(filepath.Join(c.Dir, configFile), fmt.Appendf(nil, configuration+more, c.TLS.Dir, level, cmp.Or(c.Store, "{dir: store}"), cmp.Or(c.Listen, "127.0.0.1:0"), cmp.Or(c.KEK, "kek")), 0o600); err != nil {
		return nil, err
	}
	return loadConfig(c)
}

const configFile = "holdfast.yaml"

// loadConfig reads what writeConfig has laid out.
func loadConfig(c serveCommand) (*config.Config, error) {
	cfg, _, err := config.Load(filepath.Join(c.Dir, configFile))
	return cfg, err
}

// seedStore stores what a consent a minute ago would have left behind.
func seedStore(o node.Options) error {
	ctx := context.Background()
	store, err := node.OpenStore(ctx, o.Config, o)
	if err != nil {
		return err
	}
	consented := time.Now().Add(-time.Minute)
	err = store.Swap(ctx, consent(benchAddress, consented, 24*time.Hour, tokenSize))
	if cerr := store.Close(); err == nil {
		err = cerr
	}
	return err
}

// grantScopes of every grant.
const grantScopes = "read:jira-work write:jira-work offline_access read:me"

// consent is what a consent stores, of a refresh token of so many bytes.
func consent(a storage.Address, at time.Time, life time.Duration, refreshSize int) storage.Update {
	scopes := strings.Fields(grantScopes)
	return storage.Update{
		Grant: &storage.Grant{
			ID: a.GrantID(), Address: a, App: "jira", Account: "account-" + a.Subject, CreatedAt: at,
			Sites: []storage.Site{{CloudID: "11111111-2222-3333-4444-555555555555", Name: "acme", URL: "https://acme.atlassian.net", Scopes: scopes[:2]}},
			State: family.State{
				Phase: family.Active, Generation: 1, FamilyFirst: 1, FamilyStarted: at, LastExchange: at,
				Refresh: secret.New(a.GrantID() + strings.Repeat("r", refreshSize-len(a.GrantID()))), // each its own
				Access:  family.Access{Token: secret.New(strings.Repeat("t", tokenSize)), ExpiresAt: at.Add(life), Scopes: scopes},
			},
		},
		Events: []family.Event{{Type: family.EventConsented, At: at, Generation: 1}},
	}
}
