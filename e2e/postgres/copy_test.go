package postgres

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/e2e/rig"
	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
)

// A copy to the database is killed again and again, a little later each time,
// until it comes to its end. Then the new store has everything, and the old one
// never opens again.
func TestACopyThatIsKilledAgainAndAgainArrives(t *testing.T) {
	dsn := pgtest.Start(t).Database(t)
	where := rig.FreeAddresses(t)
	sim := rig.StartSim(t, where, jira)
	d := rig.Deploy(t, rig.Setup{
		Where: where, Apps: []rig.App{jira}, Provider: sim.Provider("", ""), Store: "{dir: store}", Build: rig.Build{Plain: true},
	})
	server := d.Serve(t)
	subjects := []string{"ada", "grace", "mary"}
	for i, s := range subjects {
		d.Consent(t, jira, s, atlassiansim.DefaultAccounts()[i%len(atlassiansim.DefaultAccounts())].ID)
		for range 5 * i {
			d.Rotate(t, jira, s)
		}
	}
	had := map[string]uint64{}
	for _, s := range subjects {
		g, _ := d.Show(t, jira, s)
		had[s] = g.GetGeneration()
	}
	server.Stop(t)

	next := d.Elsewhere(t, "moved.yaml", "{kind: postgres, dir: local, postgres: {dsn_file: dsn}}")
	if err := os.WriteFile(filepath.Join(d.Dir, "dsn"), []byte(dsn+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	kills := 0
	for life := 20 * time.Millisecond; ; life += 40 * time.Millisecond {
		out, done := killedAfter(t, d.Command("store", "copy", "--from", "holdfast.yaml", "--to", "moved.yaml", "--yes"), life)
		if done {
			break
		}
		if kills++; kills > 500 {
			t.Fatalf("the copy does not end within %v:\n%s", life, out)
		}
	}
	t.Logf("%d kills", kills)
	if kills < 5 {
		t.Errorf("it was killed %d times: want 5 at least", kills)
	}

	if out, err := d.Command("serve", "--config", "holdfast.yaml").CombinedOutput(); err == nil || !strings.Contains(string(out), "moved") {
		t.Errorf("the broker starts with the old store, or does not say why not: %v\n%s", err, out)
	}
	next.Serve(t)
	for _, s := range subjects {
		if g, _ := next.Show(t, jira, s); g.GetGeneration() != had[s] {
			t.Errorf("%s: generation %d arrived, want %d", s, g.GetGeneration(), had[s])
		}
		if g := next.Rotate(t, jira, s); g.GetGeneration() <= had[s] {
			t.Errorf("%s: generation %d after a rotation, want a newer one than %d", s, g.GetGeneration(), had[s])
		}
	}
}

// killedAfter runs a command for so long and returns what it printed; done: it had
// ended well before.
func killedAfter(t *testing.T, cmd *exec.Cmd, life time.Duration) (out string, done bool) {
	t.Helper()
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(life, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	err := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return said.String(), true
	case errors.As(err, &exit) && exit.ExitCode() != -1:
		t.Fatalf("a copy after a kill fails: %v\n%s", err, said.String())
	}
	return said.String(), false
}
