package machine

import (
	"path/filepath"
	"testing"

	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/e2e/rig"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

func TestMain(m *testing.M) { rig.Main(m) }

var (
	jira = rig.App{ID: "client-of-jira", Secret: "secret-of-jira-0123456789", Product: "jira", Scopes: []string{"read:jira-work"}}
	wiki = rig.App{ID: "client-of-confluence", Secret: "secret-of-confluence-0123456789", Product: "confluence",
		Scopes: []string{"read:confluence-content.all"}}
)

// The grants of a test: the machine fails while one of them is refreshed; the
// other, of another account, only wants to be served.
const (
	busy  = "busy"
	quiet = "quiet"
)

// timing is the provider section's, the profile's overrides that go with it, and
// the leeway in seconds that the simulator then grants.
type timing struct {
	settings, overrides string
	leeway              int
}

var (
	// documented is the leeway of ten minutes.
	documented = timing{"http_timeout: 4s\nlease: 10s\nclock_margin: 1s\n", "", 600}
	// strict forgives nothing, so that only what was stored can save a family.
	strict = timing{documented.settings + "in_doubt: lapse\n", "leeway: 0s\n", 0}
	// short is a leeway that a test can outlast: 3 x (3 s + 1.5 s) + 0.3 s fit into it.
	short = timing{"http_timeout: 1500ms\nlease: 3s\nclock_margin: 300ms\n", "leeway: 14s\n", 14}
)

// world is a broker and the simulated provider, with two consented grants.
type world struct {
	*rig.Deployment
	sim *rig.Sim
}

// newWorld deploys; v is where the store lies, nil for the deployment's own directory.
func newWorld(t *testing.T, at timing, v *rig.Volume, build rig.Build) *world {
	t.Helper()
	where := rig.FreeAddresses(t)
	sim := rig.StartSim(t, where, jira, wiki)
	setup := rig.Setup{Where: where, Apps: []rig.App{jira, wiki}, Provider: sim.Provider(at.settings, at.overrides), Build: build}
	if v != nil {
		setup.StoreDir, setup.Within = filepath.Join(v.Dir, "store"), v.Within()
	}
	sim.Behave(t, map[string]any{"leeway_seconds": at.leeway})
	return &world{rig.Deploy(t, setup), sim}
}

// consent takes both grants through their consents.
func (w *world) consent(t *testing.T) {
	t.Helper()
	accounts := atlassiansim.DefaultAccounts()
	w.Consent(t, jira, busy, accounts[0].ID)
	w.Consent(t, jira, quiet, accounts[1].ID)
}

// exchanges are the refreshes that the provider saw of a grant.
func (w *world) exchanges(t *testing.T, subject string) (list []atlassiansim.Exchange) {
	t.Helper()
	account := atlassiansim.DefaultAccounts()[0].ID
	if subject == quiet {
		account = atlassiansim.DefaultAccounts()[1].ID
	}
	for _, f := range w.sim.Ledger(t).Families {
		for _, e := range f.Exchanges {
			if f.AccountID == account && e.GrantType == "refresh_token" {
				list = append(list, e)
			}
		}
	}
	return list
}

// force asks for a rotation and returns at once; the channel has its end.
func (w *world) force(t *testing.T, subject string) <-chan error {
	ended := make(chan error, 1)
	go func() {
		_, err := w.Admin.ForceRefresh(t.Context(), &holdfastv1.ForceRefreshRequest{Grant: jira.Grant(subject)}, grpc.WaitForReady(true))
		ended <- err
	}()
	return ended
}

// generation that the broker holds of a grant.
func (w *world) generation(t *testing.T, subject string) uint64 {
	t.Helper()
	g, _ := w.Show(t, jira, subject)
	return g.GetGeneration()
}

// checkWell checks that both grants are served with tokens that the provider
// takes, and that the provider saw nothing that it would not forgive.
func (w *world) checkWell(t *testing.T) {
	t.Helper()
	for _, subject := range []string{busy, quiet} {
		got, err := w.Token(t.Context(), jira, subject)
		if err != nil {
			g, events := w.Show(t, jira, subject)
			t.Errorf("a token of %s: %v\nthe grant: %v\nits journal: %v", subject, err, g, events)
			continue
		}
		if !w.sim.Accepts(t, got.GetAccessToken()) {
			t.Errorf("the provider does not take the token of %s", subject)
		}
	}
	l := w.sim.Ledger(t)
	if lost := l.LostFamilies(); len(lost) > 0 {
		t.Errorf("lost at the provider: %+v", lost)
	}
	if late := l.LateReuses(); len(late) > 0 {
		t.Errorf("spent tokens sent after the leeway: %+v", late)
	}
}
