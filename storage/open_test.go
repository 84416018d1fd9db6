package storage_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
	"github.com/holdfast-io/holdfast/storage/seal"
)

func hashDir(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		sum := sha256.Sum256(b)
		out[p] = hex.EncodeToString(sum[:])
		return err
	})
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return out
}

// closedStore makes a store with one grant and closes it.
func closedStore(t *testing.T) (storage.Config, storage.Grant) {
	t.Helper()
	cfg := testConfig(t)
	g := fullGrant(t, "acme/automation/jira")
	s, err := storage.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	err = s.Swap(t.Context(), storage.Update{Grant: &g, Events: []family.Event{{Type: family.EventConsented, At: at}}})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return cfg, g
}

// editFile replaces from by to in a file of the store.
func editFile(t *testing.T, name, from, to string) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(from)) {
		t.Fatalf("%s has no %q", name, from)
	}
	if err := os.WriteFile(name, bytes.Replace(b, []byte(from), []byte(to), 1), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAnOpenThatFailsNamesTheWayOutAndChangesNothing(t *testing.T) {
	for _, row := range []struct {
		name    string
		prepare func(t *testing.T, cfg *storage.Config, header string)
		want    []string
	}{
		{"wrong KEK", func(t *testing.T, cfg *storage.Config, _ string) {
			kek, err := seal.CreateFile(filepath.Join(t.TempDir(), "other"))
			if err != nil {
				t.Fatal(err)
			}
			cfg.KEK = kek
		}, []string{"wrong KEK", "HEADER", "configure the key file that belongs to this store"}},
		{"missing KEK", func(_ *testing.T, cfg *storage.Config, _ string) { cfg.KEK = nil },
			[]string{"missing KEK", "configure the key file"}},
		{"another environment", func(_ *testing.T, cfg *storage.Config, _ string) { cfg.Environment = "staging" },
			[]string{"HEADER", `environment "test"`, `"staging"`, "correct the environment"}},
		{"another provider", func(_ *testing.T, cfg *storage.Config, _ string) { cfg.Provider = "atlassian" },
			[]string{"HEADER", `provider "sim"`, `"atlassian"`, "correct the provider"}},
		{"a newer format", func(t *testing.T, _ *storage.Config, header string) {
			editFile(t, header, `"format": 1,`, `"format": 2, "something": "new",`)
		}, []string{"HEADER", "format 2", "start the newer Holdfast"}},
		{"a header with an edited environment", func(t *testing.T, cfg *storage.Config, header string) {
			editFile(t, header, `"test"`, `"prod"`)
			cfg.Environment = "prod"
		}, []string{"HEADER is damaged", "holdfast restore"}},
		{"a header cut off", func(t *testing.T, _ *storage.Config, header string) {
			if err := os.Truncate(header, 100); err != nil {
				t.Fatal(err)
			}
		}, []string{"HEADER is damaged", "holdfast restore"}},
		{"a header gone", func(t *testing.T, _ *storage.Config, header string) {
			if err := os.Remove(header); err != nil {
				t.Fatal(err)
			}
		}, []string{"HEADER is missing", "put the header back"}},
		{"a store that must exist", func(_ *testing.T, cfg *storage.Config, _ string) {
			cfg.Dir += "-elsewhere"
			cfg.MustExist = true
		}, []string{"there is no store in", "correct the directory"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg, _ := closedStore(t)
			header := filepath.Join(cfg.Dir, storage.HeaderFile)
			row.prepare(t, &cfg, header)
			before := hashDir(t, filepath.Dir(cfg.Dir))
			s, err := storage.Open(t.Context(), cfg)
			if err == nil {
				_ = s.Close()
				t.Fatal("it opened")
			}
			for _, p := range row.want {
				p = strings.ReplaceAll(p, "HEADER", header)
				if !strings.Contains(err.Error(), p) {
					t.Errorf("the error %q lacks %q", err, p)
				}
			}
			if d := cmp.Diff(before, hashDir(t, filepath.Dir(cfg.Dir))); d != "" {
				t.Errorf("files changed (-before +after):\n%s", d)
			}
		})
	}
}

func TestAStoreInUseIsRefusedAndChangesNothing(t *testing.T) {
	cfg := testConfig(t)
	openStore(t, cfg)
	before := hashDir(t, cfg.Dir)
	_, err := storage.Open(t.Context(), cfg)
	want := fmt.Sprintf("%s is in use by another process (pid %d): stop that one first", cfg.Dir, os.Getpid())
	if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	if d := cmp.Diff(before, hashDir(t, cfg.Dir)); d != "" {
		t.Errorf("files changed (-before +after):\n%s", d)
	}
}

func TestAFlippedBitInTheHeaderIsNoticedOrMeansNothing(t *testing.T) {
	cfg, _ := closedStore(t)
	b := memstore.New() // the header is checked before any backend is asked
	cfg.Backend = b.Opener()
	header := filepath.Join(cfg.Dir, storage.HeaderFile)
	whole, err := os.ReadFile(header)
	if err != nil {
		t.Fatal(err)
	}
	s, err := storage.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	id, link := s.StoreID(), s.LinkKey()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for i := range whole {
		changed := bytes.Clone(whole)
		changed[i] ^= 1 << (i % 8)
		if err := os.WriteFile(header, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := storage.Open(t.Context(), cfg)
		if err != nil {
			if !strings.Contains(err.Error(), header) || !strings.Contains(err.Error(), "nothing was changed") {
				t.Errorf("byte %d: the error %q lacks the file", i, err)
			}
			refused++
			continue
		}
		if s.StoreID() != id || !bytes.Equal(s.LinkKey(), link) || s.MustQuarantine() {
			t.Errorf("byte %d: silently another store", i)
		}
		_ = s.Close()
	}
	if refused < len(whole)/2 {
		t.Errorf("%d of %d flips were noticed", refused, len(whole))
	}
}

func TestNoSecretReachesTheDisk(t *testing.T) {
	cfg := testConfig(t)
	s := openStore(t, cfg)
	g := fullGrant(t, "acme/automation/jira")
	if err := s.Swap(t.Context(), storage.Update{Grant: &g}); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		for name := range hashDir(t, cfg.Dir) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			// Not even what is public: Badger encrypts its files.
			for _, canary := range []string{"canary", "automation"} {
				if bytes.Contains(b, []byte(canary)) {
					t.Errorf("%s: %s holds %q in the clear", when, name, canary)
				}
			}
		}
	}
	check("open")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check("closed")
}

func TestAKeyRingThatVanishedIsNotReplaced(t *testing.T) {
	s := newTampered(t)
	s.put(fullGrant(t, "acme/automation/jira"))
	cfg := s.cfg
	it := s.item(storage.KindRing, "ring")
	c := storage.Change{Old: it.Version, Item: storage.Item{Key: it.Key}, Delete: true}
	if err := s.backend.Swap(t.Context(), []storage.Change{c}, nil); err != nil {
		t.Fatal(err)
	}
	_, err := storage.Open(t.Context(), cfg)
	wantCorrupt(t, "opening without the ring", err, "the key ring", "missing")
}
