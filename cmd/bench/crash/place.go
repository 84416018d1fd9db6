package crash

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/devca"
	"github.com/holdfast-io/holdfast/internal/freeport"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// The times of a run. Access tokens are renewed about every two seconds;
// 3 x (lease + timeout) + margin = 21.5 s fit into the leeway many times, so
// that nothing but a fault of the broker can lose a family.
const (
	lease       = 5 * time.Second
	httpTimeout = 2 * time.Second
	clockMargin = 500 * time.Millisecond
	accessLife  = 4 * time.Second
	accessGrace = 2 * time.Second
	leeway      = 10 * time.Minute
)

const callerName = "crash-caller"

// place is the directory of one broker, with its addresses. They stay the same
// over all its lives.
type place struct {
	dir                 string
	grpc, http, metrics string
}

func (p *place) path(name string) string { return filepath.Join(p.dir, name) }
func (p *place) callback() string        { return "https://" + p.http + "/oauth/callback" }

// newPlace lays out everything but the configuration.
func newPlace(dir string) (*place, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of a broker: %w", err)
	}
	p := &place{dir: dir}
	var err error
	for _, address := range []*string{&p.grpc, &p.http, &p.metrics} {
		if *address, err = freeport.Address(); err != nil {
			return nil, err
		}
	}
	if err := devca.Ensure(dir, callerName, time.Now()); err != nil {
		return nil, err
	}
	if _, err := seal.CreateFile(p.path("kek")); err != nil {
		return nil, err
	}
	return p, os.WriteFile(p.path("secret"), []byte(clientSecret+"\n"), 0o600)
}

// clientSecret opens nothing but a simulator on loopback.
const clientSecret = "crash-secret"

const configuration = `environment: crash
public_url: https://%[2]s
store: {dir: store}
keys: {kek_file: kek}
grpc: {listen: "%[1]s"}
http: {listen: "%[2]s"}
metrics: {listen: "%[3]s"}
tls: {cert_file: server.crt, key_file: server.key, client_ca_file: ca.crt}
provider:
  profile: atlassian
  lease: %[5]s
  http_timeout: %[6]s
  clock_margin: %[7]s
  overrides:
    name: simulator
    title: Simulator
    authorize_url: %[4]s/authorize
    token_url: %[4]s/oauth/token
    account_url: %[4]s/me
    resources_url: %[4]s/oauth/token/accessible-resources
    revoke_url: %[4]s/oauth/revoke
    leeway: %[8]s
    access_grace: %[9]s
    assumed_life: 10s
    products:
      jira: {scope_words: [jira], api_base: "%[4]s/ex/jira/{cloudid}"}
      confluence: {scope_words: [confluence], api_base: "%[4]s/ex/confluence/{cloudid}"}
apps:
  - {id: jira, products: [jira], client_id: crash-jira, client_secret_files: [secret], scopes: {jira: ["read:jira-work"]}}
  - {id: confluence, products: [confluence], client_id: crash-confluence, client_secret_files: [secret], scopes: {confluence: ["read:space:confluence"]}}
callers:
  - {name: ` + callerName + `, grants: ["*/*/*/*"], consents: ["*/*/*/*"], admin: true}
audit: {file: audit.log}
`

// configure writes the configuration for a provider at the URL sim.
func (p *place) configure(sim string) error {
	text := fmt.Sprintf(configuration, p.grpc, p.http, p.metrics, sim, lease, httpTimeout, clockMargin, leeway, accessGrace)
	if err := os.WriteFile(p.path("holdfast.yaml"), []byte(text), 0o600); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	return nil
}
