package badgerstore

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4/options"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/storetest"
)

var testKey = []byte("0123456789abcdef0123456789abcdef")

func quiet() Options {
	return Options{Log: slog.New(slog.DiscardHandler), valueLogSize: 1 << 20, memTableSize: 1 << 20}
}

func openTest(t *testing.T, dir string) *Store {
	t.Helper()
	return openWith(t, dir, quiet())
}

func openWith(t *testing.T, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, testKey, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return s
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storage.Backend { return openTest(t, t.TempDir()) })
}

// Not for the whole package: Badger 4.9.6 leaves goroutines behind when its
// open fails, which other tests make it do.
func TestCloseLeavesNoGoroutine(t *testing.T) {
	before := goleak.IgnoreCurrent()
	s := openTest(t, t.TempDir())
	swapAll(t, s, 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	goleak.VerifyNone(t, before)
}

func TestADirectoryInUseIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	swapAll(t, s, 0)
	before := hashDir(t, dir)
	_, err := Open(dir, testKey, quiet())
	want := fmt.Sprintf("%s is in use by another process (pid %d)", dir, os.Getpid())
	if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "stop that one first") {
		t.Errorf("got %v, want %q and what to do", err, want)
	}
	if d := cmp.Diff(before, hashDir(t, dir)); d != "" {
		t.Errorf("the refused open changed files (-before +after):\n%s", d)
	}
}

func TestTheSettingsThatDurabilityRestsOn(t *testing.T) {
	s := openTest(t, t.TempDir())
	o := s.db.Opts()
	if !o.SyncWrites || !o.VerifyValueChecksum || !o.DetectConflicts || o.ReadOnly || o.InMemory {
		t.Errorf("SyncWrites %v, VerifyValueChecksum %v, DetectConflicts %v, ReadOnly %v, InMemory %v",
			o.SyncWrites, o.VerifyValueChecksum, o.DetectConflicts, o.ReadOnly, o.InMemory)
	}
	if o.ChecksumVerificationMode != options.OnTableAndBlockRead || string(o.EncryptionKey) != string(testKey) || o.NumVersionsToKeep != 1 {
		t.Errorf("checksums %v, encryption key of %d bytes, %d versions", o.ChecksumVerificationMode, len(o.EncryptionKey), o.NumVersionsToKeep)
	}
}

func TestAFailedSyncIsUnknownAndEndsTheStore(t *testing.T) {
	s := openTest(t, t.TempDir())
	swapAll(t, s, 0)
	// The text of value.go in Badger 4.9.6, which tells nobody but its log.
	s.log.Errorf("Error while curlf sync: %v\n", errors.New("input/output error"))
	c := []storage.Change{{Old: 1, Item: storage.Item{Key: storage.Key{Kind: storage.KindGrant, ID: "grant0"}}}}
	if err := s.Swap(t.Context(), c, nil); !errors.Is(err, storage.ErrUnknown) {
		t.Errorf("the swap whose sync failed: got %v, want %v", err, storage.ErrUnknown)
	}
	err := s.Swap(t.Context(), c, nil)
	if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "must be reopened") {
		t.Errorf("the swap after that: got %v", err)
	}
	if _, err := s.Get(t.Context(), c[0].Item.Key); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("a read after that: got %v", err)
	}
	if err := s.Health(t.Context()); !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, storage.ErrReopen) {
		t.Errorf("Health after that: got %v", err)
	}
	if err := s.MustReopen(); !errors.Is(err, storage.ErrReopen) {
		t.Errorf("MustReopen after that: got %v", err)
	}
}

func TestWithoutFreeSpaceNothingIsWritten(t *testing.T) {
	o := quiet()
	o.MinFree = 1 << 62
	s, err := Open(t.TempDir(), testKey, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	key := storage.Key{Kind: storage.KindGrant, ID: "g"}
	err = s.Swap(t.Context(), []storage.Change{{Item: storage.Item{Key: key}}}, nil)
	for name, err := range map[string]error{"Swap": err, "Health": s.Health(t.Context())} {
		if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "MiB free in "+s.dir) || !strings.Contains(err.Error(), "make room") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := s.Get(t.Context(), key); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("the refused record: %v", err)
	}
}

// group makes n swaps of so many records, whose ids begin with prefix.
func group(prefix string, n, records int) []*member {
	var out []*member
	for i := range n {
		m := &member{done: make(chan error, 1)}
		for j := range records {
			key := storage.Key{Kind: storage.KindMeta, ID: fmt.Sprint(prefix, i, ".", j)}
			m.changes = append(m.changes, storage.Change{Item: storage.Item{Key: key}})
		}
		out = append(out, m)
	}
	return out
}

func TestAGroupThatIsTooBigIsSplit(t *testing.T) {
	s := openTest(t, t.TempDir())
	limit := int(s.db.MaxBatchCount())
	members := group("a", 8, limit/3)
	members[5].changes[0].Old = 3 // conflicts
	s.commit(members)
	for i, m := range members {
		if err := <-m.done; (err != nil) != (i == 5) {
			t.Errorf("member %d of a split group: %v", i, err)
		}
	}
	if n := s.commits.Load(); n < 3 {
		t.Errorf("%d commits for a group that fits no two", n)
	}
	one := group("b", 1, limit+1)
	s.commit(one)
	if err := <-one[0].done; err == nil || errors.Is(err, storage.ErrUnknown) || !strings.Contains(err.Error(), "too big") {
		t.Errorf("a swap beyond every limit: %v", err)
	}
	if err := s.Health(t.Context()); err != nil {
		t.Errorf("after that: %v", err)
	}
}

func TestAGroupIsOneCommit(t *testing.T) {
	s := openTest(t, t.TempDir())
	before := s.commits.Load()
	members := group("a", 50, 1)
	s.commit(members)
	for _, m := range members {
		if err := <-m.done; err != nil {
			t.Fatal(err)
		}
	}
	if got := s.commits.Load() - before; got != 1 {
		t.Errorf("50 swaps at once took %d commits", got)
	}
}

func TestCollectionShrinksTheValueLogAndKeepsEveryRecord(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir)
	key := storage.Key{Kind: storage.KindGrant, ID: "kept"}
	big := bytes.Repeat([]byte("x"), 100<<10)
	swap := func(k storage.Key, v int) {
		t.Helper()
		c := storage.Change{Old: storage.Version(v), Item: storage.Item{Key: k, Public: []byte(fmt.Sprint("p", v)), Sealed: big}}
		if err := s.Swap(t.Context(), []storage.Change{c}, nil); err != nil {
			t.Fatal(err)
		}
	}
	files := func() int {
		t.Helper()
		names, err := dataFiles(s.data())
		if err != nil {
			t.Fatal(err)
		}
		return len(valueLogs(names))
	}
	swap(key, 0)
	for v := range 60 {
		swap(storage.Key{Kind: storage.KindGrant, ID: "churned"}, v)
		if v%15 == 0 { // flushes what is in memory
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openTest(t, dir)
		}
	}
	// What compaction does in time: it finds the garbage.
	if err := s.db.Flatten(1); err != nil {
		t.Fatal(err)
	}
	before := files()
	s.collect()
	if after := files(); after >= before {
		t.Errorf("%d value log files before the collection, %d after it", before, after)
	}
	for k, v := range map[string]storage.Version{"kept": 1, "churned": 60} {
		it, err := s.Get(t.Context(), storage.Key{Kind: storage.KindGrant, ID: k})
		if err != nil || it.Version != v || !bytes.Equal(it.Sealed, big) {
			t.Errorf("%s after the collection: version %d, error %v", k, it.Version, err)
		}
	}
}

func TestADamagedStoreIsNotCollected(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 3)
	s := openTest(t, dir)
	if err := s.checkLogs(); err != nil {
		t.Fatalf("whole files: %v", err)
	}
	names, err := dataFiles(s.data())
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(s.data(), valueLogs(names)[0])
	flip(t, name, 300, 1)
	if err := s.checkLogs(); !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), name) {
		t.Errorf("a damaged file: %v", err)
	}
}
