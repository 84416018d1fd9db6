package postgres

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/e2e/rig"
	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
)

func TestMain(m *testing.M) { rig.Main(m) }

var jira = rig.App{ID: "jira-client", Secret: "jira-secret", Product: "jira", Scopes: []string{"read:jira-work"}}

// A consent, a token, a rotation and a restart; then a second replica, which is
// told the database alone, serves and rotates the same grant.
func TestGrantsLiveInTheDatabase(t *testing.T) {
	dsn := pgtest.Start(t).Database(t)
	where := rig.FreeAddresses(t)
	sim := rig.StartSim(t, where, jira)
	one := rig.Deploy(t, rig.Setup{
		Where: where, Apps: []rig.App{jira}, Provider: sim.Provider("", ""),
		Store: "{kind: postgres, dir: local, postgres: {dsn_file: dsn}}", Build: rig.Build{Plain: true},
	})
	other := one.Replica(t, rig.FreeAddresses(t))
	for _, d := range []*rig.Deployment{one, other} {
		if err := os.WriteFile(filepath.Join(d.Dir, "dsn"), []byte(dsn+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	first := one.Serve(t)
	one.Consent(t, jira, "ada", atlassiansim.DefaultAccounts()[0].ID)
	had, err := one.Token(t.Context(), jira, "ada")
	if err != nil {
		t.Fatal(err)
	}
	rotated := one.Rotate(t, jira, "ada")

	first.Stop(t)
	again := one.Serve(t)
	now, err := one.Token(t.Context(), jira, "ada")
	if err != nil || now.GetGeneration() != rotated.GetGeneration() || now.GetAccessToken() == had.GetAccessToken() {
		t.Errorf("after the restart: generation %d, want %d; %v", now.GetGeneration(), rotated.GetGeneration(), err)
	}

	other.Serve(t)
	seen, err := other.Token(t.Context(), jira, "ada")
	if err != nil || seen.GetAccessToken() != now.GetAccessToken() {
		t.Errorf("the other replica serves another token, of generation %d; %v", seen.GetGeneration(), err)
	}
	newer := other.Rotate(t, jira, "ada")
	rig.Until(t, "the first replica serves what the other has rotated to", func() bool {
		got, err := one.Token(t.Context(), jira, "ada")
		return err == nil && got.GetGeneration() == newer.GetGeneration()
	})

	again.Kill(t)
	one.Serve(t)
	got, err := one.Token(t.Context(), jira, "ada")
	if err != nil || got.GetGeneration() != newer.GetGeneration() {
		t.Errorf("after a kill: generation %d, want %d; %v", got.GetGeneration(), newer.GetGeneration(), err)
	}
	left, err := os.ReadDir(filepath.Join(one.Dir, "local"))
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(left, func(e os.DirEntry) bool {
		return strings.Contains(e.Name(), "badger") || e.Name() == "holdfast-store.json"
	}) {
		t.Errorf("the replica's directory holds %v: want nothing of the store itself", left)
	}
}
