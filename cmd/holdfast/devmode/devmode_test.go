package devmode

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &until{cancel: cancel}
	err := Run(ctx, Options{Dir: dir, Self: "holdfast", Version: "test", Out: out, Log: slog.New(slog.DiscardHandler)})
	return out.String(), err
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
