package devmode

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// until cancels once the banner was written.
type until struct {
	strings.Builder
	cancel context.CancelFunc
}

func (u *until) Write(p []byte) (int, error) {
	n, err := u.Builder.Write(p)
	if strings.Contains(u.String(), "Ctrl-C ends it") {
		u.cancel()
	}
	return n, err
}

// run starts dev mode and ends it as soon as it is ready.
func run(t *testing.T, dir string) (string, error) {
	t.Helper()
	return runWith(t, Options{Dir: dir})
}

func runWith(t *testing.T, o Options) (string, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &until{cancel: cancel}
	o.Self, o.Version, o.Out, o.Log = "holdfast", "test", out, slog.New(slog.DiscardHandler)
	err := Run(ctx, o)
	return out.String(), err
}

// A token in use is renewed by the broker's idea of the access grace, and
// expires by the provider's of its life: both must be the ones that were chosen.
func TestShortLivesReachBrokerAndProvider(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dev")
	began := time.Now()
	if _, err := runWith(t, Options{Dir: dir, AccessTTL: 5 * time.Minute, AccessGrace: 90 * time.Second}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, configFile))
	if err != nil || !strings.Contains(string(text), "\n    access_grace: 1m30s\n") {
		t.Errorf("the access grace is not in the configuration (%v):\n%s", err, text)
	}
	text, err = os.ReadFile(filepath.Join(dir, "sim.json"))
	if err != nil {
		t.Fatal(err)
	}
	var state struct {
		Families []struct {
			Access []struct {
				ExpiresAt time.Time `json:"expires_at"`
			} `json:"access"`
		} `json:"families"`
	}
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	if len(state.Families) == 0 || len(state.Families[0].Access) == 0 {
		t.Fatalf("no access token in the simulator's state:\n%.500s", text)
	}
	for _, f := range state.Families {
		for _, a := range f.Access {
			if life := a.ExpiresAt.Sub(began); life < 5*time.Minute || life > 6*time.Minute {
				t.Errorf("an access token lives for %v, want 5m", life)
			}
		}
	}
}

func TestLivesThatTheProviderCannotKeepAreRefused(t *testing.T) {
	for _, o := range []Options{{AccessTTL: -time.Second}, {AccessTTL: 1500 * time.Millisecond}, {AccessGrace: time.Millisecond}} {
		o.Dir = filepath.Join(t.TempDir(), "dev")
		if _, err := runWith(t, o); err == nil || !strings.Contains(err.Error(), "want whole seconds") {
			t.Errorf("%v, %v: %v", o.AccessTTL, o.AccessGrace, err)
		}
	}
}

func TestASecondStartNeedsNoNewConsent(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dev")
	consents := func() int {
		t.Helper()
		if _, err := run(t, dir); err != nil {
			t.Fatal(err)
		}
		audit, err := os.ReadFile(filepath.Join(dir, "audit.log"))
		if err != nil {
			t.Fatal(err)
		}
		started := 0
		for line := range strings.Lines(string(audit)) {
			// Each act has a record before it is done, and one of its outcome.
			if strings.Contains(line, `"method":"StartConsent"`) && !strings.Contains(line, `"outcome":"begun"`) {
				started++
			}
		}
		return started
	}
	// Two grants and the link to try; then one link more.
	if first, second := consents(), consents(); first != 3 || second != 4 {
		t.Fatalf("%d consents were started, then %d in all; want 3 and 4", first, second)
	}
}

func TestAStoreWithoutItsKeyIsNotGivenANewOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dev")
	if _, err := run(t, dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "kek")); err != nil {
		t.Fatal(err)
	}
	if _, err := run(t, dir); err == nil || !strings.Contains(err.Error(), "is gone, and without it") {
		t.Fatalf("got %v", err)
	}
}

func TestEverythingInTheDirectoryIsPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dev")
	if _, err := run(t, dir); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".", "kek", "jira.secret", "confluence.secret", "ca.key", "client.key", "server.key", "audit.log", "sim.json", "store"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
	}
}

func TestPathsAreQuotedForAShell(t *testing.T) {
	for text, want := range map[string]string{".holdfast/ca.crt": ".holdfast/ca.crt", "a b": "'a b'", "it's": `'it'\''s'`, "": "''", "$(x)": "'$(x)'"} {
		if got := quote(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
