package crash

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// traceCalls are all by which a byte gets to a disk or to a peer, and those that
// say which file lies at an address: Badger writes through memory maps.
const traceCalls = "trace=fsync,fdatasync,msync,sync_file_range,write,pwrite64,writev,sendto,sendmsg,connect,mmap,mremap"

// Both logs of Badger: the write-ahead log of its tree, and the value log, in which
// sealed records lie.
var badgerLogs = []string{".mem", ".vlog"}

// TestASyncComesBeforeTheByteThatDependsOnIt is what kills can not show, since
// the kernel keeps what was written by a process that dies: the announcement of
// an attempt has been synced before the first byte goes to the provider, and the
// new pair before the first byte of it goes to the caller.
func TestASyncComesBeforeTheByteThatDependsOnIt(t *testing.T) {
	t.Parallel()
	announced, settled := traceRefresh(t, build(t).Released)
	for _, log := range badgerLogs {
		for _, synced := range announced {
			if !synced[log] {
				t.Errorf("a token was sent after a commit whose sync of %s had not returned", log)
			}
		}
		for _, synced := range settled {
			if !synced[log] {
				t.Errorf("a token was handed out after a commit whose sync of %s had not returned", log)
			}
		}
	}
}

// The same look at a build whose store does not sync must not find it.
func TestWithoutSyncedWritesTheTraceShowsNoSync(t *testing.T) {
	t.Parallel()
	unsynced := filepath.Join(t.TempDir(), "holdfast-unsynced")
	if err := goBuild(t.Context(), unsynced, "-overlay", overlay(t, "storage/badgerstore/options.go", "WithSyncWrites(true)", "WithSyncWrites(false)")); err != nil {
		t.Fatal(err)
	}
	announced, settled := traceRefresh(t, unsynced)
	for what, commits := range map[string][]map[string]bool{"announced": announced, "settled": settled} {
		for _, synced := range commits {
			if len(synced) > 0 {
				t.Errorf("without SyncWrites what was %s has still been synced: %v", what, synced)
			}
		}
	}
}

// overlay returns a file for -overlay that changes one place of one source file.
func overlay(t *testing.T, file, old, changed string) string {
	t.Helper()
	source, err := filepath.Abs(filepath.Join("..", "..", "..", file))
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), old); n != 1 {
		t.Fatalf("%s has %q %d times, want once", file, old, n)
	}
	dir := t.TempDir()
	replacement := filepath.Join(dir, filepath.Base(file))
	if err := os.WriteFile(replacement, []byte(strings.Replace(string(text), old, changed, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	table, err := json.Marshal(map[string]any{"Replace": map[string]string{source: replacement}})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(name, table, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// traceRefresh lets a broker serve under strace until a caller had to wait for
// a refresh, and returns the commits of it: those between the answer before and the
// request to the provider, and those between that and the new token. There is one
// of each at least.
func traceRefresh(t *testing.T, binary string) (announced, settled []map[string]bool) {
	t.Helper()
	l := &leg{name: "traced", binaries: Binaries{Released: binary}, log: testLog{t}, grants: newGrants(1)}
	if err := l.open(t.Context(), filepath.Join(t.TempDir(), "broker"), nil); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := l.seedGrants(t.Context()); err != nil {
		t.Fatal(err)
	}
	file := l.path("trace")
	// -D: strace is the grandchild, so that signals go to the broker.
	cmd := exec.CommandContext(t.Context(), "strace", "-D", "-f", "-yy", "-ttt", "-s", "32", "-o", file, "-e", traceCalls,
		binary, "serve", "--config", "holdfast.yaml")
	cmd.Dir = l.dir
	p, err := startProcess(cmd, l.path("serve.log"))
	if err != nil {
		t.Fatal(err)
	}
	waitForRefresh(t, l)
	if err := p.stop(); err != nil {
		t.Fatalf("stopping the traced broker: %v\n%s", err, tail(l.path("serve.log")))
	}
	awaitTrace(t, file)
	tr := readTrace(t, file)
	r, err := tr.lastRefresh(l.grpc, strings.TrimPrefix(l.sim.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	announced, settled = tr.commits(r.before, r.request), tr.commits(r.request, r.answer)
	if len(announced) == 0 || len(settled) == 0 {
		t.Fatalf("the trace shows a refresh with %d commits before its request and %d after it", len(announced), len(settled))
	}
	return announced, settled
}

// waitForRefresh draws the token of the one grant until it is another one.
func waitForRefresh(t *testing.T, l *leg) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lifePatience)
	defer cancel()
	first, drawn := uint64(0), 0
	for {
		answer, err := l.draw(ctx, l.grants[0])
		switch {
		case err != nil && ctx.Err() != nil:
			t.Fatalf("no refresh: %v\n%s", err, tail(l.path("serve.log")))
		case err != nil:
		case first == 0:
			first = answer.GetGeneration()
		case answer.GetGeneration() > first+1: // the one at the start is not the one to look at
			return
		default:
			drawn++
		}
		if !pause(ctx, 50*time.Millisecond) {
			t.Fatalf("no refresh within %v, though %d tokens were handed out\n%s", lifePatience, drawn, tail(l.path("serve.log")))
		}
	}
}

// awaitTrace waits until strace has written the end of the process.
func awaitTrace(t *testing.T, file string) {
	t.Helper()
	end := time.Now().Add(lifePatience)
	for {
		text, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(text[max(0, len(text)-200):]), "+++ exited with 0 +++") {
			return
		}
		if time.Now().After(end) || !pause(t.Context(), 50*time.Millisecond) {
			t.Fatalf("the trace does not end with the process: %v", err)
		}
	}
}
