package atlassiansim

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func withState(path string) func(*Config) { return func(c *Config) { c.StateFile = path } }

// TestASecondStartFindsEverythingAgain: the first simulator is never closed,
// as after SIGKILL.
func TestASecondStartFindsEverythingAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sim.json")
	b := newBench(t, withState(path))
	p := b.consent()
	next := b.refresh(p.Refresh).pair(t)
	b.advance(9 * time.Minute)
	code := codeRequest(jiraID, b.authorize(authorizeQuery(jiraID, jiraScopes)).Query().Get("code"))

	again := newBench(t, withState(path))
	if d := cmp.Diff(b.sim.Ledger(), again.sim.Ledger()); d != "" {
		t.Fatalf("the ledger changed (-before +after):\n%s", d)
	}
	if r := again.get("/me", next.Access); r.status != 200 {
		t.Errorf("the access token answers %d", r.status)
	}
	again.post(code).pair(t)
	again.refresh(p.Refresh).pair(t) // the leeway is known too
	again.advance(time.Minute)
	wantRefused(t, again.refresh(p.Refresh))
	if r := again.refresh(next.Refresh); r.status != 403 {
		t.Errorf("the ended family answers %d", r.status)
	}
}

func TestTheStateFileHoldsNoTokens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sim.json")
	b := newBench(t, withState(path))
	p := b.consent()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{p.Access, p.Refresh, jiraSecret} {
		if strings.Contains(string(raw), s) {
			t.Error("a secret stands in the state file")
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v; want 0600", info.Mode(), err)
	}
	if left, err := filepath.Glob(path + ".tmp-*"); err != nil || len(left) != 0 {
		t.Errorf("temporary files are left: %v, %v", left, err)
	}
}

func TestAStateFileThatCannotBeUsedIsAClearError(t *testing.T) {
	for name, c := range map[string]struct{ content, says string }{
		"damaged": {`{"version":1,`, "is damaged"},
		"newer":   {`{"version":2}`, "has format 2, this program reads format 1"},
	} {
		path := filepath.Join(t.TempDir(), "sim.json")
		if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := testConfig()
		cfg.StateFile = path
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v", name, err)
		}
		if raw, err := os.ReadFile(path); err != nil || string(raw) != c.content {
			t.Errorf("%s: the file was changed: %s, %v", name, raw, err)
		}
	}
}

func TestNothingIsHandedOutThatCannotBeKept(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b := newBench(t, withState(filepath.Join(dir, "sim.json")))
	p := b.consent()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if r := b.refresh(p.Refresh); r.status != 500 || contains(r.body, "refresh_token") {
		t.Fatalf("got %d %s", r.status, r.body)
	}
}
