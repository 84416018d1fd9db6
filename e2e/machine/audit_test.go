package machine

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/holdfast-io/holdfast/e2e/rig"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// audited deploys with that section for the record, and takes both grants through their consents.
func audited(t *testing.T, section string, v *rig.Volume) (*world, *rig.Server) {
	t.Helper()
	where := rig.FreeAddresses(t)
	sim := rig.StartSim(t, where, jira, wiki)
	setup := rig.Setup{Where: where, Apps: []rig.App{jira, wiki}, Provider: sim.Provider(documented.settings, documented.overrides), Audit: section, Build: rig.Build{Plain: true}}
	if v != nil {
		setup.Within = v.Within()
	}
	w := &world{rig.Deploy(t, setup), sim}
	s := w.Serve(t)
	w.consent(t)
	return w, s
}

// verifyAudit verifies the record of a stopped broker, its signatures included.
func (w *world) verifyAudit(t *testing.T) {
	t.Helper()
	key := filepath.Join(w.Dir, "audit.key")
	if err := os.WriteFile(key, []byte(w.Run(t, "audit", "key", "--config", "holdfast.yaml")), 0o600); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(w.Dir, "audit.log*"))
	if err != nil {
		t.Fatal(err)
	}
	t.Log(w.Run(t, append([]string{"audit", "verify", "--key-file", key}, files...)...))
}

// handedOut are the request ids of the record's hand-outs.
func (w *world) handedOut(t *testing.T) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(w.Dir, "audit.log*"))
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var l struct {
				Outcome   string `json:"outcome"`
				Action    string `json:"action"`
				RequestID string `json:"request_id"`
			}
			if json.Unmarshal([]byte(line), &l) == nil && l.Outcome == "ok" && l.Action == "draw" { // a torn line is none
				ids[l.RequestID] = true
			}
		}
	}
	return ids
}

// storm draws tokens at many hands until the server is gone, and returns the
// request ids of the calls that were answered. It has begun once some hand has its
// twentieth token, or all have failed before.
func (w *world) storm(t *testing.T, callers int) (answered func() []string, begun <-chan struct{}) {
	t.Helper()
	var mu sync.Mutex // guards ids
	var ids []string
	var wg sync.WaitGroup
	started := make(chan struct{})
	once := sync.OnceFunc(func() { close(started) })
	for n := range callers {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := rand.Text()
				ctx := metadata.AppendToOutgoingContext(t.Context(), "x-request-id", id)
				if _, err := w.Token(ctx, jira, []string{busy, quiet}[n%2]); err != nil {
					t.Logf("hand %d ends at its call %d: %v", n, i, err)
					return
				}
				mu.Lock()
				ids = append(ids, id)
				mu.Unlock()
				if i == 20 {
					once()
				}
			}
		})
	}
	go func() { wg.Wait(); once() }()
	return func() []string { wg.Wait(); return ids }, started
}

// A call that was answered has its record, whenever the process dies.
func TestAKillDuringAStormOfHandOutsLosesNoRecord(t *testing.T) {
	t.Parallel()
	w, s := audited(t, "{file: audit.log, rotate_size: 1MiB, checkpoint_every: 1s}", nil)
	for round := range 3 {
		answered, begun := w.storm(t, 32)
		<-begun
		<-time.After(time.Duration(100+round*137) * time.Millisecond) // anywhere within a write
		s.Kill(t)
		ids := answered()
		handed := w.handedOut(t)
		missing := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return handed[id] })
		if len(missing) > 0 || len(ids) < 100 {
			t.Errorf("round %d: %d of %d answered calls have no record, such as %q", round, len(missing), len(ids), missing[:min(3, len(missing))])
		}
		s = w.Serve(t)
	}
	w.checkWell(t)
	s.Stop(t)
	w.verifyAudit(t)
}

func TestADiskThatIsFullForTheAuditRecordAlone(t *testing.T) {
	t.Parallel()
	v := rig.NewMemory(t, 8)
	w, s := audited(t, fmt.Sprintf("{file: %q}", filepath.Join(v.Dir, "audit.log")), v)
	v.Fill(t)
	// The last page of the file has room for some more.
	rig.Until(t, "a call is refused", func() bool {
		_, err := w.Token(t.Context(), jira, quiet)
		return rig.Reason(err) == "AUDIT_UNAVAILABLE"
	})
	rig.Until(t, "readiness is red", func() bool {
		ready, _ := s.Ready(t)
		return !ready
	})
	if _, reasons := s.Ready(t); !strings.Contains(reasons, "audit: ") || !strings.Contains(reasons, "no space left") {
		t.Errorf("/readyz says %q", reasons)
	}
	posts := w.sim.Ledger(t).TokenPosts
	for _, subject := range []string{busy, quiet} {
		if _, err := w.Token(t.Context(), jira, subject); rig.Reason(err) != "AUDIT_UNAVAILABLE" {
			t.Errorf("a token without a record: %v", err)
		}
		if err := <-w.force(t, subject); rig.Reason(err) != "AUDIT_UNAVAILABLE" {
			t.Errorf("a rotation without a record: %v", err)
		}
	}
	if now := w.sim.Ledger(t).TokenPosts; now != posts {
		t.Errorf("%d tokens were spent", now-posts)
	}

	v.Free(t)
	rig.Until(t, "it recovers without a call", func() bool {
		ready, _ := s.Ready(t)
		return ready
	})
	w.checkWell(t)
	s.Stop(t)
	w.Run(t, "audit", "verify", filepath.Join(v.Dir, "audit.log"))
}

// Standard output is a copy beside a file: nobody who does not read it, and
// nobody who closes it, stops the broker.
func TestStandardOutputThatNobodyReadsStopsNothing(t *testing.T) {
	t.Parallel()
	w, s := audited(t, "{file: audit.log, stdout: true}", nil)
	s.Stop(t)
	pipe := filepath.Join(w.Dir, "stdout")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	held, err := os.OpenFile(pipe, os.O_RDWR, 0) // not read
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	w.Within = []string{"sh", "-c", `exec "$@" >stdout`, "sh"}
	s = w.Serve(t)
	draw := func(calls int) {
		t.Helper()
		for range calls {
			if _, err := w.Token(t.Context(), jira, quiet); err != nil {
				t.Fatal(err)
			}
		}
	}
	warned := func() bool {
		st, err := w.Admin.GetStatus(t.Context(), &holdfastv1.GetStatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(strings.Join(st.GetWarnings(), "\n"), "did not reach the copy stdout")
	}
	rig.Until(t, "the status says that lines are lost", func() bool { draw(100); return warned() })
	if ready, reasons := s.Ready(t); !ready {
		t.Errorf("not ready: %s", reasons)
	}
	if err := held.Close(); err != nil { // now nobody can read it
		t.Fatal(err)
	}
	draw(100)
	w.checkWell(t)
	s.Stop(t)
	w.Within = nil
	w.verifyAudit(t)
}
