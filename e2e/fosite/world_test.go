package fosite

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/e2e/rig"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func TestMain(m *testing.M) { rig.Main(m) }

var app = rig.App{ID: "client-of-jira", Secret: "secret-of-jira-0123456789", Product: "jira",
	Scopes: []string{"read:jira-work", "write:jira-work"}}

// The grants of a test: one is in trouble, and calm, of another account, says
// that the provider is well.
const (
	subject = "automation"
	calm    = "calm"
)

func account(subject string) string { return "person-of-" + subject }

// world is a broker and the server, with a relay before its token endpoint.
type world struct {
	*rig.Deployment
	server *server
	relay  *rig.Relay
}

func newWorld(t *testing.T, build rig.Build) *world {
	t.Helper()
	where := rig.FreeAddresses(t)
	s := startServer(t, where.Callback(), app)
	relay := rig.NewRelay(t, strings.TrimPrefix(s.URL, "http://"))
	// 3 x (3 s + 1.5 s) + 0.3 s fit into the leeway.
	d := rig.Deploy(t, rig.Setup{Where: where, Apps: []rig.App{app}, Build: build, Provider: fmt.Sprintf(`profile: oauth2
in_doubt: last_try
http_timeout: 1500ms
lease: 3s
clock_margin: 300ms
overrides:
  title: Fosite
  authorize_url: %[1]s/authorize
  token_url: %[2]s/token
  account_url: %[1]s/me
  leeway: %[3]v
  access_grace: 500ms
`, s.URL, relay.URL, leeway)})
	return &world{d, s, relay}
}

// consent starts the server and takes both grants through their consents.
func (w *world) consent(t *testing.T) *rig.Server {
	t.Helper()
	s := w.Serve(t)
	w.Consent(t, app, subject, account(subject))
	w.Consent(t, app, calm, account(calm))
	return s
}

// expire draws a token and waits until it has run out.
func (w *world) expire(t *testing.T) *holdfastv1.GetAccessTokenResponse {
	t.Helper()
	got, err := w.Token(t.Context(), app, subject)
	if err != nil {
		t.Fatal(err)
	}
	<-time.After(time.Until(got.GetExpiresAt().AsTime()))
	return got
}

// checkLives waits until a service gets a token again, without a person, and
// checks that the server takes it.
func (w *world) checkLives(t *testing.T, subject string) {
	t.Helper()
	rig.Until(t, "a token of "+subject+" that is taken", func() bool {
		got, err := w.Token(t.Context(), app, subject)
		return err == nil && w.server.takes(t, got.GetAccessToken()) == account(subject)
	})
}

// checkReuse checks with the server's own records what of spent tokens it saw.
func (w *world) checkReuse(t *testing.T, inside, after, ended int) {
	t.Helper()
	in, late := w.server.reuse()
	if in != inside && inside >= 0 || late != after || w.server.store.endedFamilies() != ended {
		t.Errorf("the server saw %d spent tokens inside the leeway and %d after it, and ended %d families; want %d, %d, %d",
			in, late, w.server.store.endedFamilies(), inside, after, ended)
	}
}

// decided asks as a service does until nothing is open any more.
func (w *world) decided(t *testing.T) holdfastv1.GrantPhase {
	t.Helper()
	var phase holdfastv1.GrantPhase
	rig.Until(t, "the grant is decided", func() bool {
		_, _ = w.Token(t.Context(), app, subject)
		g, _ := w.Show(t, app, subject)
		phase = g.GetPhase()
		return phase == holdfastv1.GrantPhase_GRANT_PHASE_LAPSED || !g.GetInDoubt() && !g.GetAttemptRunning()
	})
	return phase
}
