package machine

import (
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/e2e/rig"
	"github.com/holdfast-io/holdfast/e2e/rig/kmsplugin"
)

// kmsAway is how long it takes until a KMS that is gone is given up: half a minute
// between two questions and a minute of patience, with what a busy machine adds.
const kmsAway = 3 * time.Minute

// The KMS goes away for minutes: what is cached is served, nothing is spent, not
// even by a new process, readiness says why, and all recovers once the KMS is back.
func TestAKMSThatGoesAwayForAWhile(t *testing.T) {
	t.Parallel()
	plugin := kmsplugin.New(t, nil)
	plugin.Up(t)
	where := rig.FreeAddresses(t)
	sim := rig.StartSim(t, where, jira, wiki)
	w := &world{rig.Deploy(t, rig.Setup{Where: where, Apps: []rig.App{jira, wiki}, Provider: sim.Provider(documented.settings, ""),
		Keys: "{kms_socket: " + plugin.Socket + "}", Build: rig.Build{Plain: true}}), sim}
	s := w.Serve(t)
	w.consent(t)
	cached, err := w.Token(t.Context(), jira, quiet)
	if err != nil {
		t.Fatal(err)
	}

	plugin.Down(t)
	gone := time.Now()
	for ready := true; ready; {
		var why string
		if ready, why = s.Ready(t); !ready && !strings.Contains(why, "key-encryption key has not answered, so nothing is spent") {
			t.Fatalf("/readyz says %q", why)
		}
		got, err := w.Token(t.Context(), jira, quiet)
		if err != nil || got.GetAccessToken() != cached.GetAccessToken() {
			t.Fatalf("%v after the KMS went, the cached token: %v", time.Since(gone), err)
		}
		if time.Since(gone) > kmsAway {
			t.Fatalf("readiness is green %v after the KMS went", kmsAway)
		}
		<-time.After(time.Second)
	}
	t.Logf("readiness is red %v after the KMS went", time.Since(gone).Round(time.Second))
	_, why := s.Ready(t)
	for _, part := range []string{plugin.Socket, "start it"} {
		if !strings.Contains(why, part) {
			t.Errorf("/readyz says %q, and not %q", why, part)
		}
	}
	w.checkNothingIsSpentWithoutKMS(t)

	plugin.Up(t)
	rig.Until(t, "readiness is green again", func() bool {
		ready, _ := s.Ready(t)
		return ready
	})
	before := w.generation(t, busy)
	w.Rotate(t, jira, busy)
	if now := w.generation(t, busy); now != before+1 {
		t.Errorf("with the KMS back generation %d became %d", before, now)
	}
	w.checkWell(t)
	w.checkAStartWaitsForTheKMS(t, s, plugin)
}

// checkNothingIsSpentWithoutKMS checks what each way to a rotation answers, and
// that both grants are served on.
func (w *world) checkNothingIsSpentWithoutKMS(t *testing.T) {
	t.Helper()
	posts := w.sim.Ledger(t).TokenPosts
	for _, subject := range []string{busy, quiet} {
		if err := <-w.force(t, subject); rig.Reason(err) != "KEY_UNAVAILABLE" {
			t.Errorf("a forced refresh of %s without the KMS: %v; want KEY_UNAVAILABLE", subject, err)
		}
	}
	w.checkWell(t)
	if now := w.sim.Ledger(t).TokenPosts; now != posts {
		t.Errorf("the provider saw %d token requests while the KMS was gone", now-posts)
	}
}

// checkAStartWaitsForTheKMS lets the process die while the KMS is gone: the next
// one waits, spends nothing, and serves by itself once the KMS is back.
func (w *world) checkAStartWaitsForTheKMS(t *testing.T, s *rig.Server, plugin *kmsplugin.Plugin) {
	t.Helper()
	plugin.Down(t)
	s.Kill(t)
	posts := w.sim.Ledger(t).TokenPosts
	next := w.Launch(t)
	rig.Until(t, "the start waits", func() bool { return strings.Contains(next.Output(), "so the store stays closed; it is tried again") })
	plugin.Up(t)
	if !next.Serving(t) {
		t.Fatal("it gave up, though the KMS was back")
	}
	if now := w.sim.Ledger(t).TokenPosts; now != posts {
		t.Errorf("the provider saw %d token requests of a start without the KMS", now-posts)
	}
	w.checkWell(t)
	w.Rotate(t, jira, quiet)
	w.checkWell(t)
}
