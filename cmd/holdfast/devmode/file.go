package devmode

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/client"
	"github.com/holdfast-io/holdfast/cmd/holdfast/config"
	"github.com/holdfast-io/holdfast/cmd/holdfast/devca"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// configFile is what dev mode runs on. It is rewritten at each start, and there
// to be read: serve takes the same form.
const configFile = "holdfast.yaml"

var configText = template.Must(template.New(configFile).Parse(`# Written by "holdfast dev" at each start, for development only. "holdfast serve"
# takes a file of the same form, with https and a provider that is none of the simulator.
environment: development
public_url: {{.PublicURL}}
store: {dir: store}
keys: {kek_file: kek}
grpc: {listen: "{{.GRPC}}"}
http: {listen: "{{.HTTP}}", behind_proxy: true}
metrics: {listen: "{{.Metrics}}"}
tls: {cert_file: server.crt, key_file: server.key, client_ca_file: ca.crt}
provider:
  profile: atlassian
  overrides:
    name: simulator
    title: Atlassian simulator
    authorize_url: {{.Sim}}/authorize
    token_url: {{.Sim}}/oauth/token
    account_url: {{.Sim}}/me
    resources_url: {{.Sim}}/oauth/token/accessible-resources
    revoke_url: {{.Sim}}/oauth/revoke
{{- if .AccessGrace}}
    access_grace: {{.AccessGrace}}
{{- end}}
    products:
      jira: {scope_words: [jira, servicedesk, cmdb], api_base: "{{.Sim}}/ex/jira/{cloudid}"}
      confluence: {scope_words: [confluence], api_base: "{{.Sim}}/ex/confluence/{cloudid}"}
apps:
{{- range .Apps}}
  - id: {{.Product}}
    products: [{{.Product}}]
    client_id: {{.ClientID}}
    client_secret_files: [{{.SecretFile}}]
    scopes:
      {{.Product}}: [{{range $i, $s := .Scopes}}{{if $i}}, {{end}}"{{$s}}"{{end}}]
{{- end}}
callers:
  - name: {{.Caller}}
    grants: ["*/*/*/*"]
    consents: ["*/*/*/*"]
    admin: true
ext_authz: {enabled: true, hosts: ["127.0.0.1:10080", "localhost:10080"]}
audit: {file: audit.log}
`))

// devApp is one OAuth client of dev mode.
type devApp struct {
	Product, ClientID, SecretFile string
	Scopes                        []string
}

var devApps = []devApp{
	{"jira", "dev-jira", "jira.secret", []string{"read:jira-work", "read:jira-user"}},
	{"confluence", "dev-confluence", "confluence.secret", []string{"read:space:confluence", "read:page:confluence"}},
}

// addresses are where everything listens, as host:port, and the URLs of it.
type addresses struct {
	GRPC, HTTP, Metrics string
	PublicURL, Sim      string
	simAddr             string // of Sim's URL
}

// prepare makes all files of the directory that are not there yet.
func prepare(dir string, o Options) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making the directory of dev mode: %w", err)
	}
	// Keys lie in it: it must not end in somebody's repository.
	if err := os.WriteFile(filepath.Join(dir, ".gitignore"), []byte("*\n"), 0o600); err != nil {
		return fmt.Errorf("writing into the directory of dev mode: %w", err)
	}
	if err := devca.Ensure(dir, callerName, o.Now()); err != nil {
		return err
	}
	kek := filepath.Join(dir, "kek")
	if _, err := os.Stat(kek); errors.Is(err, os.ErrNotExist) {
		// A store without its key can only be made anew: never make a second key for it.
		if _, err := os.Stat(filepath.Join(dir, "store")); err == nil {
			return fmt.Errorf("%s is gone, and without it %s cannot be read; delete %s to start anew", kek, filepath.Join(dir, "store"), dir)
		}
		if _, err := seal.CreateFile(kek); err != nil {
			return err
		}
	}
	for _, a := range devApps {
		if err := ensureSecret(filepath.Join(dir, a.SecretFile)); err != nil {
			return err
		}
	}
	return nil
}

func ensureSecret(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	if err == nil {
		_, err = f.WriteString(rand.Text() + "\n")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return fmt.Errorf("making a client secret: %w", err)
	}
	return nil
}

// makeConfig returns the text of the configuration file and reads it the way
// serve would.
func makeConfig(dir string, a addresses, accessGrace time.Duration) (text []byte, c *config.Config, err error) {
	var b bytes.Buffer
	err = configText.Execute(&b, struct {
		addresses
		Apps        []devApp
		Caller      string
		AccessGrace time.Duration // 0: the profile's own
	}{a, devApps, callerName, accessGrace})
	if err != nil {
		return nil, nil, fmt.Errorf("writing the configuration of dev mode: %w", err)
	}
	if c, _, err = config.ParseDev(filepath.Join(dir, configFile), b.Bytes()); err != nil {
		return nil, nil, fmt.Errorf("the configuration of dev mode: %w", err)
	}
	return b.Bytes(), c, nil
}

// publish leaves the configuration and what clients need in dir. It comes after
// the store was opened, and so locked: a second dev mode that is turned away
// must not send the clients of the first one to addresses that nobody serves.
func publish(dir string, a addresses, text []byte) error {
	if err := os.WriteFile(filepath.Join(dir, configFile), text, 0o600); err != nil {
		return fmt.Errorf("writing the configuration of dev mode: %w", err)
	}
	settings := client.Settings{Addr: a.GRPC, CA: devca.CACert, Cert: devca.ClientCert, Key: devca.ClientKey}
	if err := settings.WriteDev(dir); err != nil {
		return fmt.Errorf("writing what clients need: %w", err)
	}
	return nil
}
