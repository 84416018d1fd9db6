package rig

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// App is one OAuth client registration.
type App struct {
	// ID and Secret at the provider.
	ID, Secret string
	// Product is jira or confluence, and the app's name in the configuration.
	Product string
	Scopes  []string
}

// Address of that subject's grant under the app.
func (a App) Address(subject string) *holdfastv1.GrantAddress {
	return &holdfastv1.GrantAddress{Tenant: "acme", Subject: subject, Product: a.Product}
}

// Grant selects that subject's grant.
func (a App) Grant(subject string) *holdfastv1.GrantSelector {
	return &holdfastv1.GrantSelector{Selector: &holdfastv1.GrantSelector_Address{Address: a.Address(subject)}}
}

// Addresses that the broker listens on.
type Addresses struct{ GRPC, HTTP, Metrics string }

// FreeAddresses returns loopback addresses that were free a moment ago.
func FreeAddresses(t testing.TB) Addresses {
	t.Helper()
	return Addresses{GRPC: FreeAddress(t), HTTP: FreeAddress(t), Metrics: FreeAddress(t)}
}

// Callback is the URL that the apps must be registered with.
func (a Addresses) Callback() string { return "https://" + a.HTTP + "/oauth/callback" }

// Setup is what a deployment is made of. Where and Provider are required.
type Setup struct {
	Where Addresses
	// Provider is the section of that name, in YAML, with its first line at column 0.
	Provider string
	Apps     []App
	// Audit is the section of that name, in YAML on one line; "": a file in the deployment's directory.
	Audit string
	// Keys is the section of that name, in YAML on one line; "": a key in the file kek.
	Keys string
	// Callers are further rows of that section, in YAML, each a line with two blanks in front.
	Callers string
	// More are further sections of the configuration, in YAML at column 0.
	More string
	// StoreDir is the directory of the store; "": "store" in the deployment's own.
	StoreDir string
	// Store is the section of that name, in YAML on one line; "": an embedded one in StoreDir.
	Store string
	// Public is the host and port at which browsers reach the broker; "": Where.HTTP.
	Public string
	// Within is a command that starts its arguments as a command, in another
	// namespace for instance; empty: the binary is started as it is.
	Within []string
	Build  Build
}

// Deployment is one installation of the broker. Its directory and its addresses
// stay the same however often the server is started anew.
type Deployment struct {
	Setup
	Dir      string
	Tokens   holdfastv1.TokenServiceClient // as the service "integration"
	Consents holdfastv1.ConsentServiceClient
	Admin    holdfastv1.AdminServiceClient // as "operator", like Consents

	binary, config string
	pki            *authority
	// The connections of Tokens, and of Consents and Admin.
	integration, operator *grpc.ClientConn
}

// Deploy writes a deployment into a directory of the test's and starts nothing yet.
func Deploy(t testing.TB, s Setup) *Deployment {
	t.Helper()
	if s.StoreDir == "" {
		s.StoreDir = "store"
	}
	if s.Store == "" {
		s.Store = "{dir: " + s.StoreDir + "}"
	}
	if s.Public == "" {
		s.Public = s.Where.HTTP
	}
	if s.Audit == "" {
		s.Audit = "{file: audit.log}"
	}
	if s.Keys == "" {
		s.Keys = "{kek_file: kek}"
	}
	d := &Deployment{Setup: s, Dir: t.TempDir(), binary: Binary(t, s.Build)}
	d.pki = newAuthority(t, d.Dir)
	d.Run(t, "keys", "create", "--out", filepath.Join(d.Dir, "kek"))
	d.writeConfig(t)
	d.connect(t)
	return d
}

// connect opens the connections of the clients.
func (d *Deployment) connect(t testing.TB) {
	t.Helper()
	d.integration = d.dial(t, "integration")
	d.operator = d.dial(t, "operator")
	d.Tokens = holdfastv1.NewTokenServiceClient(d.integration)
	d.Consents = holdfastv1.NewConsentServiceClient(d.operator)
	d.Admin = holdfastv1.NewAdminServiceClient(d.operator)
}

// Replica writes the deployment of one more replica: directory and addresses are
// its own, everything else is as d has it. Names of files in the sections of d are
// taken in the new directory, into which d's key and certificates are copied.
func (d *Deployment) Replica(t testing.TB, where Addresses) *Deployment {
	t.Helper()
	r := *d
	r.Where, r.Dir, r.config = where, t.TempDir(), ""
	for _, name := range []string{"ca.crt", "server.crt", "server.key", "kek"} {
		content, err := os.ReadFile(filepath.Join(d.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(r.Dir, name), content)
	}
	r.writeConfig(t)
	r.connect(t)
	return &r
}

// writeConfig writes what an operator would write.
func (d *Deployment) writeConfig(t testing.TB) {
	t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, `environment: test
public_url: https://%[7]s
store: %[4]s
keys: %[6]s
audit: %[5]s
grpc: {listen: "%[1]s"}
http: {listen: "%[2]s"}
metrics: {listen: "%[3]s"}
tls: {cert_file: server.crt, key_file: server.key, client_ca_file: ca.crt}
callers:
  - {name: operator, admin: true}
  - {name: integration, grants: [acme/*/jira, acme/*/confluence]}
%[8]sprovider:
`, d.Where.GRPC, d.Where.HTTP, d.Where.Metrics, d.Store, d.Audit, d.Keys, d.Public, d.Callers)
	for line := range strings.Lines(d.Provider) {
		text.WriteString("  " + line)
	}
	text.WriteString("\napps:\n")
	for _, a := range d.Apps {
		secretFile := a.Product + ".secret"
		write(t, filepath.Join(d.Dir, secretFile), []byte(a.Secret+"\n"))
		fmt.Fprintf(&text, "  - {id: %[1]s, products: [%[1]s], client_id: %[2]s, client_secret_files: [%[3]s], scopes: {%[1]s: [\"%[4]s\"]}}\n",
			a.Product, a.ID, secretFile, strings.Join(a.Scopes, `", "`))
	}
	text.WriteString(d.More)
	if d.config == "" {
		d.config = filepath.Join(d.Dir, "holdfast.yaml")
	}
	write(t, d.config, []byte(text.String()))
}

// Elsewhere writes d's configuration once more, to a file of that name with another
// store section, and returns the deployment that is started with it.
func (d *Deployment) Elsewhere(t testing.TB, file, store string) *Deployment {
	t.Helper()
	e := *d
	e.Store, e.config = store, filepath.Join(d.Dir, file)
	e.writeConfig(t)
	return &e
}

// Copy returns a deployment over a copy of all files, as they lie there now. Both
// have the same addresses, so that only one of them can run at a time.
func (d *Deployment) Copy(t testing.TB) *Deployment {
	t.Helper()
	c := *d
	c.Dir = filepath.Join(t.TempDir(), "copy")
	c.config = filepath.Join(c.Dir, filepath.Base(d.config))
	if out, err := exec.Command("cp", "-a", "--sparse=always", d.Dir, c.Dir).CombinedOutput(); err != nil {
		t.Fatalf("copying the deployment: %v\n%s", err, out)
	}
	return &c
}

// Command is the binary with arguments, in the deployment's directory; not yet started.
func (d *Deployment) Command(args ...string) *exec.Cmd {
	line := append(append(append([]string(nil), d.Within...), d.binary), args...)
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Dir = d.Dir
	return cmd
}

// Run runs one command of the binary to its end and returns what it printed.
func (d *Deployment) Run(t testing.TB, args ...string) string {
	t.Helper()
	out, err := d.Command(args...).CombinedOutput()
	if err != nil {
		t.Fatalf("holdfast %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// Conn opens a connection as that caller, until the test ends.
func (d *Deployment) Conn(t testing.TB, caller string) *grpc.ClientConn {
	t.Helper()
	return d.dial(t, caller)
}

// Bearer opens a connection whose calls carry a bearer token, with the certificate
// of that caller or, if it is "", none.
func (d *Deployment) Bearer(t testing.TB, caller, token string) *grpc.ClientConn {
	t.Helper()
	return d.dial(t, caller, grpc.WithPerRPCCredentials(bearer(token)))
}

// bearer is a token that every call carries.
type bearer string

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials.
func (bearer) RequireTransportSecurity() bool { return true }

// dial opens a connection with the certificate of that caller. It outlives the
// server's restarts.
func (d *Deployment) dial(t testing.TB, caller string, more ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	// The server may be starting: look again soon.
	soon := backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.2, MaxDelay: 300 * time.Millisecond}
	conn, err := grpc.NewClient(d.Where.GRPC, append(more, grpc.WithTransportCredentials(credentials.NewTLS(d.pki.client(t, caller))),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: soon, MinConnectTimeout: Patience}))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// Reason returns the machine-readable reason of an error; "" if it has none.
func Reason(err error) string { return info(err).GetReason() }

// Why returns what the reason of an error is explained by, e.g. LOST_IN_DOUBT; "" if nothing is said.
func Why(err error) string { return info(err).GetMetadata()["why"] }

func info(err error) *errdetails.ErrorInfo {
	for _, d := range status.Convert(err).Details() {
		if i, ok := d.(*errdetails.ErrorInfo); ok {
			return i
		}
	}
	return nil
}

// Token asks for the subject's access token; ctx bounds it.
func (d *Deployment) Token(ctx context.Context, a App, subject string) (*holdfastv1.GetAccessTokenResponse, error) {
	return d.Tokens.GetAccessToken(ctx, &holdfastv1.GetAccessTokenRequest{
		Grant: a.Grant(subject), RequiredScopes: a.Scopes, Purpose: "end-to-end",
	})
}
