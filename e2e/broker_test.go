package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/holdfast-io/holdfast/e2e/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

// The apps of every test: one per product, so that the families are separate.
var (
	jira = rig.App{ID: "client-of-jira", Secret: "secret-of-jira-0123456789", Product: "jira",
		Scopes: []string{"read:jira-work", "write:jira-work"}}
	confluence = rig.App{ID: "client-of-confluence", Secret: "secret-of-confluence-0123456789", Product: "confluence",
		Scopes: []string{"read:confluence-content.all"}}
)

func clientOf(a rig.App) client { return client{a.ID, a.Secret} }

// subject of the grants of tests that need one grant for each product.
const subject = "automation"

// counterpart is the provider section for the counterpart, whose token endpoint
// may lie behind a relay; more are further lines.
func counterpart(issuer, token, rule, more string) string {
	return fmt.Sprintf(`profile: oauth2
in_doubt: %s
%soverrides:
  title: Counterpart
  issuer: %[3]s
  authorize_url: %[3]s/auth
  token_url: %[4]s/token
  account_url: %[3]s/me
  revoke_url: %[3]s/token/revocation
  revoke: effective
`, rule, more, issuer, token)
}

// broker is a running `holdfast serve` and the connections of its two callers.
type broker struct{ *rig.Deployment }

// start starts the counterpart and a broker with an empty store against it.
func start(t *testing.T) (*provider, *broker) {
	t.Helper()
	p, b, _ := startWithLog(t)
	return p, b
}

// startWithLog is start for who also looks at what the broker says.
func startWithLog(t *testing.T) (*provider, *broker, *rig.Server) {
	t.Helper()
	where := rig.FreeAddresses(t)
	p := startProvider(t, where.Callback(), slices.Concat(jira.Scopes, confluence.Scopes), nil, clientOf(jira), clientOf(confluence))
	d := rig.Deploy(t, rig.Setup{Where: where, Apps: []rig.App{jira, confluence}, Provider: counterpart(p.issuer, p.issuer, "lapse", "")})
	return p, &broker{d}, d.Serve(t)
}
