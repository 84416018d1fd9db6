package badgerstore

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/storage"
)

// crashed returns a copy of a store's files as the death of its process leaves
// them: tables of an earlier start, and a write-ahead log of this one.
func crashed(t *testing.T) (dir string, want content) {
	t.Helper()
	live := t.TempDir()
	fill(t, live, 2)
	o := quiet()
	o.still = true
	s := openWith(t, live, o)
	swapAll(t, s, 2)
	dir = filepath.Join(t.TempDir(), "crashed")
	copyDir(t, live, dir)
	return dir, read(t, s)
}

func TestACrashedStoreOpensWithAllThatWasAcknowledged(t *testing.T) {
	dir, want := crashed(t)
	for _, empty := range []string{"00099.mem", "000099.vlog"} { // made just before the crash
		if err := os.WriteFile(filepath.Join(dir, dataDir, empty), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if checkDamaged(t, dir, "crashed", want, false) {
		t.Fatal("a crashed store was refused")
	}
	if checkDamaged(t, dir, "closed after that", want, false) {
		t.Fatal("the store was refused after it had been opened and closed")
	}
}

func TestAFlippedBitInACrashedStoreLosesNothing(t *testing.T) {
	dir, want := crashed(t)
	names, err := dataFiles(filepath.Join(dir, dataDir))
	if err != nil {
		t.Fatal(err)
	}
	logs := valueLogs(names)
	refused, opened := 0, 0
	for _, name := range filesBelow(t, dir) {
		for i, offset := range offsets(t, filepath.Join(dir, name), 10, 2) {
			// Badger cuts off the newest log at a damaged entry, so that must be refused.
			newest := filepath.Base(name) == logs[len(logs)-1] && offset >= logHeaderLen
			lazily := strings.HasSuffix(name, valueLogSuffix) && !newest
			c := filepath.Join(t.TempDir(), "copy")
			copyDir(t, dir, c)
			flip(t, filepath.Join(c, name), offset, i%8)
			if checkDamaged(t, c, fmt.Sprintf("%s, byte %d", name, offset), want, lazily) {
				refused++
			} else {
				opened++
			}
		}
	}
	t.Logf("%d damaged copies were refused, %d opened", refused, opened)
	if refused == 0 || opened == 0 {
		t.Error("want damage of both kinds: refused at open, and found at reading")
	}
}

func TestATornCommitThatNobodyWasToldOfIsDropped(t *testing.T) {
	live := t.TempDir()
	fill(t, live, 1)
	s := openTest(t, live)
	swapAll(t, s, 1)
	want := read(t, s)
	told, err := os.ReadFile(filepath.Join(live, witnessFile))
	if err != nil {
		t.Fatal(err)
	}
	c := storage.Change{Item: storage.Item{Key: storage.Key{Kind: storage.KindConsent, ID: "torn"}, Sealed: make([]byte, 200)}}
	if err := s.Swap(t.Context(), []storage.Change{c}, nil); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "crashed")
	copyDir(t, live, dir)
	mems, err := filepath.Glob(filepath.Join(dir, dataDir, "*"+writeLogSuffix))
	if err != nil || len(mems) != 1 {
		t.Fatalf("write-ahead logs: %v, %v", mems, err)
	}
	end, err := walkLog(mems[0])
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(mems[0], os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 5), end.offset-5); err != nil {
		t.Fatal(err)
	}
	f.Close()
	untold := filepath.Join(t.TempDir(), "untold")
	copyDir(t, dir, untold)
	if err := os.WriteFile(filepath.Join(untold, witnessFile), told, 0o600); err != nil {
		t.Fatal(err)
	}
	if checkDamaged(t, untold, "torn before it was acknowledged", want, false) {
		t.Error("a store with a torn end was refused")
	}
	if !checkDamaged(t, dir, "torn after it was acknowledged", want, false) {
		t.Error("a store opened that had lost an acknowledged commit")
	}
}

const childEnv = "HOLDFAST_TEST_KILLED_CHILD"

// TestKilledChild is the process that TestAKilledProcessLosesNoAcknowledgedSwap
// kills: it swaps one record up as fast as it can and prints each version.
func TestKilledChild(t *testing.T) {
	dir := os.Getenv(childEnv)
	if dir == "" {
		return // only does something as a child
	}
	s, err := Open(dir, testKey, quiet())
	if err != nil {
		t.Fatal(err)
	}
	key := storage.Key{Kind: storage.KindGrant, ID: "g"}
	it, err := s.Get(t.Context(), key)
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		t.Fatal(err)
	}
	for v := it.Version; ; v++ {
		sealed := binary.BigEndian.AppendUint64(make([]byte, 3000), uint64(v)+1)
		c := storage.Change{Old: v, Item: storage.Item{Key: key, Public: []byte("p"), Sealed: sealed}}
		if err := s.Swap(t.Context(), []storage.Change{c}, []storage.Entry{{GrantID: "g", Sealed: sealed[2900:]}}); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("acknowledged %d\n", v+1)
	}
}

// killChild lets a child swap n times, kills it, and returns the last version
// that it said was acknowledged.
func killChild(t *testing.T, dir string, n int) (acknowledged storage.Version) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledChild$")
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for i := 0; lines.Scan(); i++ { // on to the end: what it said before it died counts
		if _, err := fmt.Sscanf(lines.Text(), "acknowledged %d", &acknowledged); err != nil {
			t.Fatalf("the child says %q", lines.Text())
		}
		if i == n {
			_ = cmd.Process.Kill() // SIGKILL
		}
	}
	_ = cmd.Wait()
	return acknowledged
}

func TestAKilledProcessLosesNoAcknowledgedSwap(t *testing.T) {
	dir := t.TempDir()
	for round := range 5 {
		first := killChild(t, dir, 5+31*round)
		acknowledged := killChild(t, dir, 41*(round%3)) // starts from the crash of the first
		if acknowledged <= first {
			t.Errorf("round %d: the second process went on at version %d after %d", round, acknowledged, first)
		}
		s := openTest(t, dir)
		it, err := s.Get(t.Context(), storage.Key{Kind: storage.KindGrant, ID: "g"})
		if err != nil {
			t.Fatal(err)
		}
		// One more may have been committed and not yet told.
		if it.Version != acknowledged && it.Version != acknowledged+1 {
			t.Errorf("round %d: version %d after version %d was acknowledged", round, it.Version, acknowledged)
		}
		if got := binary.BigEndian.Uint64(it.Sealed[3000:]); got != uint64(it.Version) {
			t.Errorf("round %d: version %d holds what version %d wrote", round, it.Version, got)
		}
		if es, err := s.Events(t.Context(), "g", 1); err != nil || len(es) != 1 || es[0].Seq != uint64(it.Version) {
			t.Errorf("round %d: the newest journal entry is %v, error %v, want number %d", round, es, err, it.Version)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
