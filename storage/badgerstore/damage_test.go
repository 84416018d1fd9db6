package badgerstore

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/storage"
)

// content is all that a backend says about a store: records or why they cannot be read.
type content map[string]string

// read reads what fill wrote. Damage shows as the text "damaged".
func read(t *testing.T, s *Store) content {
	t.Helper()
	c := content{}
	note := func(name string, v any, err error) {
		switch {
		case errors.Is(err, storage.ErrCorrupt):
			c[name] = "damaged"
		case err != nil:
			c[name] = err.Error()
		default:
			c[name] = fmt.Sprint(v)
		}
	}
	for i := range filled {
		id := fmt.Sprint("grant", i)
		it, err := s.Get(t.Context(), storage.Key{Kind: storage.KindGrant, ID: id})
		note(id, it, err)
		es, err := s.Events(t.Context(), id, storage.JournalLength)
		note(id+" journal", es, err)
	}
	for name, q := range map[string]storage.Query{
		"list": {Kind: storage.KindGrant, Limit: 1000},
		"due":  {Kind: storage.KindGrant, Limit: 1000, DueBefore: due.Add(time.Hour)},
	} {
		items, err := s.List(t.Context(), q)
		var ids []string
		for _, it := range items {
			ids = append(ids, it.Key.ID)
		}
		note(name, ids, err)
	}
	return c
}

const filled = 12

var due = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// fill swaps records in several times, over several starts, so that there
// are tables, older value logs and a journal.
func fill(t *testing.T, dir string, starts int) {
	t.Helper()
	for start := range starts {
		s := openTest(t, dir)
		swapAll(t, s, start)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func swapAll(t *testing.T, s *Store, version int) {
	t.Helper()
	// Fewer each time, so that some records lie in the older files only.
	for i := range filled / (version + 1) {
		id := fmt.Sprint("grant", i)
		c := storage.Change{Old: storage.Version(version), Item: storage.Item{
			Key: storage.Key{Kind: storage.KindGrant, ID: id}, Public: []byte(fmt.Sprint("public ", id, version)),
			Sealed: []byte(strings.Repeat(fmt.Sprint("sealed ", id, version), 20)), Due: due.Add(time.Duration(i*version) * time.Second),
		}}
		es := []storage.Entry{{GrantID: id, Sealed: []byte(strings.Repeat(fmt.Sprint("entry ", version), 20))}}
		if err := s.Swap(t.Context(), []storage.Change{c}, es); err != nil {
			t.Fatal(err)
		}
	}
}

// hashDir tells apart any two states of a directory.
func hashDir(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		sum := sha256.Sum256(b)
		rel, _ := filepath.Rel(dir, p)
		out[rel] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(from, p)
		dst := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(dst, 0o700)
		}
		return copySparse(p, dst, math.MaxInt64)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func flip(t *testing.T, name string, offset int64, bit int) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{b[offset] ^ 1<<bit}, offset); err != nil {
		t.Fatal(err)
	}
}

// offsets samples the bytes of a file up to its trailing zeros, the first 24 every dense bytes.
func offsets(t *testing.T, name string, dense int64, n int) []int64 {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	used := int64(len(strings.TrimRight(string(b), "\x00")))
	var out []int64
	for i := int64(0); i < min(used, 24); i += dense {
		out = append(out, i)
	}
	step := max(used/int64(n), 1)
	for i := int64(24); i < used; i += step {
		out = append(out, i)
	}
	if used > 0 {
		out = append(out, used-1)
	}
	return out
}

// checkDamaged opens a damaged copy: it must be refused, naming a file and
// changing nothing, or hold what it held. In files that are only checked when
// they are read, records may say that they are damaged; none may be missing.
func checkDamaged(t *testing.T, dir, what string, want content, lazily bool) (refused bool) {
	t.Helper()
	before := hashDir(t, dir)
	s, err := Open(dir, testKey, quiet())
	if err != nil {
		if !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: the error %q is no sentinel", what, err)
		}
		if !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "holdfast restore") && !strings.Contains(err.Error(), "delete") &&
			!strings.Contains(err.Error(), "touch") && !strings.Contains(err.Error(), "newer Holdfast") {
			t.Errorf("%s: the error %q lacks the file or the way out", what, err)
		}
		if d := cmp.Diff(before, hashDir(t, dir)); d != "" {
			t.Errorf("%s: a refused open changed files (-before +after):\n%s", what, d)
		}
		return true
	}
	got := read(t, s)
	if lazily {
		for k, v := range got {
			if v == "damaged" {
				got[k] = want[k]
			}
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s: silently changed (-want +got):\n%s", what, d)
	}
	if err := s.Close(); err != nil {
		t.Errorf("%s: closing: %v", what, err)
	}
	return false
}

func filesBelow(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	for name := range hashDir(t, dir) {
		out = append(out, name)
	}
	return out
}

func TestAFlippedBitInAClosedStoreIsNoticed(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 3)
	s := openTest(t, dir)
	want := read(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	refused, opened := 0, 0
	for _, name := range filesBelow(t, dir) {
		for i, offset := range offsets(t, filepath.Join(dir, name), 3, 8) {
			c := filepath.Join(t.TempDir(), "copy")
			copyDir(t, dir, c)
			flip(t, filepath.Join(c, name), offset, i%8)
			lazily := strings.HasSuffix(name, valueLogSuffix)
			if checkDamaged(t, c, fmt.Sprintf("%s, byte %d", name, offset), want, lazily) {
				refused++
			} else {
				opened++
			}
		}
	}
	t.Logf("%d damaged copies were refused, %d opened", refused, opened)
	if refused == 0 || opened == 0 {
		t.Error("want damage of both kinds: refused at open, and harmless or found at reading")
	}
}

func TestAMissingOrForeignFileIsNoticed(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, 3)
	for _, name := range filesBelow(t, dir) {
		if filepath.Base(name) == inventoryFile || filepath.Base(name) == discardFile {
			continue // without one, the store is checked as after a crash
		}
		c := filepath.Join(t.TempDir(), "copy")
		copyDir(t, dir, c)
		if err := os.Remove(filepath.Join(c, name)); err != nil {
			t.Fatal(err)
		}
		if !checkDamaged(t, c, name+" missing", nil, false) {
			t.Errorf("a store without %s opened", name)
		}
	}
	c := filepath.Join(t.TempDir(), "copy")
	copyDir(t, dir, c)
	if err := os.WriteFile(filepath.Join(c, dataDir, "00099.mem"), []byte("an old log"), 0o600); err != nil {
		t.Fatal(err)
	}
	if !checkDamaged(t, c, "a foreign log", nil, false) {
		t.Error("a store with a foreign log opened")
	}
}
