package storage_test

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/badgerstore"
)

// witnessedConfig is of a store on disk with its witness beside it.
func witnessedConfig(t *testing.T) storage.Config {
	t.Helper()
	cfg := testConfig(t)
	cfg.WitnessFile = cfg.Dir + ".witness"
	cfg.Log = slog.New(slog.DiscardHandler)
	cfg.Backend = badgerstore.Opener(badgerstore.Options{Log: cfg.Log})
	return cfg
}

// run starts a store, does some work and ends it in order.
func run(t *testing.T, cfg storage.Config, work ...func(*storage.Store)) {
	t.Helper()
	s, err := storage.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { // a failed test closes it too
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, w := range work {
		w(s)
	}
}

// spendable adds a grant with a live family.
func spendable(t *testing.T, addr string) func(*storage.Store) {
	return func(s *storage.Store) {
		t.Helper()
		g := fullGrant(t, addr)
		g.State.Phase = family.Active
		err := s.Swap(t.Context(), storage.Update{Grant: &g, Events: []family.Event{{Type: family.EventConsented, At: at, Fence: g.State.Fence}}})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// copyDir copies a store's directory with its holes: a log is as long as it may become.
func copyDir(t *testing.T, from, to string) {
	t.Helper()
	zeros := make([]byte, 1<<16)
	err := filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(name, from))
		if d.IsDir() {
			return os.Mkdir(target, 0o700)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		for at := 0; at < len(b) && err == nil; at += len(zeros) {
			piece := b[at:min(at+len(zeros), len(b))]
			if !bytes.Equal(piece, zeros[:len(piece)]) {
				_, err = f.WriteAt(piece, int64(at))
			}
		}
		return errors.Join(err, f.Truncate(int64(len(b))), f.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
}

func replaceDir(t *testing.T, dir, by string) {
	t.Helper()
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	copyDir(t, by, dir)
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func writeFile(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// What may happen to a store that was started twice, and what its next start
// makes of it. want "" is a store that goes on.
var happenings = []struct {
	name   string
	happen func(t *testing.T, cfg *storage.Config)
	want   string
}{
	{"nothing", func(*testing.T, *storage.Config) {}, ""},
	{"its directory is copied and started elsewhere", func(t *testing.T, cfg *storage.Config) {
		copyDir(t, cfg.Dir, cfg.Dir+"-2")
		cfg.Dir, cfg.WitnessFile = cfg.Dir+"-2", cfg.Dir+"-2.witness"
	}, "moved or copied: the store was started 2 times"},
	{"its directory is moved", func(t *testing.T, cfg *storage.Config) {
		if err := os.Rename(cfg.Dir, cfg.Dir+"-2"); err != nil {
			t.Fatal(err)
		}
		cfg.Dir, cfg.WitnessFile = cfg.Dir+"-2", cfg.Dir+"-2.witness"
	}, "moved or copied"},
	{"it is copied together with its witness, which nothing can tell", func(t *testing.T, cfg *storage.Config) {
		copyDir(t, cfg.Dir, cfg.Dir+"-2")
		writeFile(t, cfg.Dir+"-2.witness", readFile(t, cfg.WitnessFile))
		cfg.Dir, cfg.WitnessFile = cfg.Dir+"-2", cfg.Dir+"-2.witness"
	}, ""},
	{"a copy of an earlier start is put back", func(t *testing.T, cfg *storage.Config) {
		copyDir(t, cfg.Dir, cfg.Dir+"-2")
		run(t, *cfg, spendable(t, "acme/second/jira"))
		replaceDir(t, cfg.Dir, cfg.Dir+"-2")
	}, "rolled back or restored from a snapshot: the store is at start 2, and its witness saw start 3"},
	{"a copy that was started elsewhere is put back", func(t *testing.T, cfg *storage.Config) {
		startElsewhere(t, *cfg)
		replaceDir(t, cfg.Dir, cfg.Dir+"-2")
	}, "started elsewhere with another witness, or with none: the store is at start 3, and its witness saw start 2"},
	{"both went on for one start, and the copy is put back", func(t *testing.T, cfg *storage.Config) {
		startElsewhere(t, *cfg)
		run(t, *cfg)
		replaceDir(t, cfg.Dir, cfg.Dir+"-2")
	}, "started elsewhere with another witness: the store's start 3 is not the one that its witness saw"},
	{"a Holdfast that keeps no witness has run on it", func(t *testing.T, cfg *storage.Config) {
		older := *cfg
		older.WitnessFile = ""
		run(t, older)
	}, "started elsewhere with another witness, or with none"},
	{"its witness is lost", func(t *testing.T, cfg *storage.Config) {
		if err := os.Remove(cfg.WitnessFile); err != nil {
			t.Fatal(err)
		}
	}, "moved or copied"},
	{"its witness is cut off", func(t *testing.T, cfg *storage.Config) {
		writeFile(t, cfg.WitnessFile, readFile(t, cfg.WitnessFile)[:40])
	}, "its witness is damaged or was edited"},
	{"its witness is edited to another start", func(t *testing.T, cfg *storage.Config) {
		b := readFile(t, cfg.WitnessFile)
		writeFile(t, cfg.WitnessFile, bytes.Replace(b, []byte(`"epoch": 2`), []byte(`"epoch": 1`), 1))
	}, "its witness is damaged or was edited"},
	{"its witness is another store's", func(t *testing.T, cfg *storage.Config) {
		other := witnessedConfig(t)
		run(t, other)
		writeFile(t, cfg.WitnessFile, readFile(t, other.WitnessFile))
	}, "another store was put here, or this one was copied: the witness is of store str_"},
}

// startElsewhere leaves in Dir-2 a copy of the store that ran once more.
func startElsewhere(t *testing.T, cfg storage.Config) {
	t.Helper()
	copyDir(t, cfg.Dir, cfg.Dir+"-2")
	cfg.Dir, cfg.WitnessFile = cfg.Dir+"-2", cfg.Dir+"-2.witness"
	run(t, cfg, adoptAll(t))
}

// adoptAll is what an operator does who says that this store is the surviving one.
func adoptAll(t *testing.T) func(*storage.Store) {
	return func(s *storage.Store) {
		_, err := s.QuarantineAll(t.Context())
		grants, err2 := s.Grants(t.Context(), storage.Filter{})
		if err := errors.Join(err, err2, s.ClearFinding(t.Context())); err != nil {
			t.Fatal(err)
		}
		for _, g := range grants {
			var events []family.Event
			g.State, events = family.Adopt(g.State, at, "")
			if err := s.Swap(t.Context(), storage.Update{Grant: &g, Events: events}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAStoreThatMayBeACopyStartsQuarantined(t *testing.T) {
	for _, row := range happenings {
		t.Run(row.name, func(t *testing.T) {
			cfg := witnessedConfig(t)
			run(t, cfg, spendable(t, "acme/automation/jira"))
			run(t, cfg)
			row.happen(t, &cfg)
			run(t, cfg, func(s *storage.Store) {
				if !strings.HasPrefix(s.Finding(), row.want) && !strings.HasSuffix(s.Finding(), row.want) || (row.want == "") != (s.Finding() == "") {
					t.Fatalf("found %q, want %q", s.Finding(), row.want)
				}
				if s.MustQuarantine() != (row.want != "") {
					t.Fatalf("must quarantine: %v", s.MustQuarantine())
				}
				wantQuarantined(t, s, row.want != "")
			})
			if row.want == "" {
				return
			}
			// The next start finds nothing new, and still says what was found.
			run(t, cfg, func(s *storage.Store) {
				if s.MustQuarantine() || s.Finding() == "" {
					t.Errorf("at the next start: found %q, must quarantine: %v", s.Finding(), s.MustQuarantine())
				}
				if err := s.ClearFinding(t.Context()); err != nil || s.Finding() != "" {
					t.Errorf("cleared with %v, and left %q", err, s.Finding())
				}
			})
			run(t, cfg, func(s *storage.Store) {
				if s.Finding() != "" {
					t.Errorf("after an operator's decision: %q", s.Finding())
				}
			})
		})
	}
}

// A copy that was taken while the store was open is as good as a crashed store,
// but lacks commits that the witness saw.
func TestACopyOfTheSameStartIsFoundByItsCommits(t *testing.T) {
	cfg := witnessedConfig(t)
	run(t, cfg, spendable(t, "acme/automation/jira"), func(*storage.Store) { copyDir(t, cfg.Dir, cfg.Dir+"-2") }, spendable(t, "acme/second/jira"))
	replaceDir(t, cfg.Dir, cfg.Dir+"-2")
	run(t, cfg, func(s *storage.Store) {
		const want = "rolled back or restored from a snapshot: the store ends at commit 3, and its witness saw commit 4"
		if s.Finding() != want {
			t.Errorf("found %q, want %q", s.Finding(), want)
		}
		wantQuarantined(t, s, true)
	})
}

// wantQuarantined quarantines and looks at the grants and their journals.
func wantQuarantined(t *testing.T, s *storage.Store, want bool) {
	t.Helper()
	if _, err := s.QuarantineAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	grants, err := s.Grants(t.Context(), storage.Filter{})
	if err != nil || len(grants) == 0 {
		t.Fatalf("%d grants, error %v", len(grants), err)
	}
	for _, g := range grants {
		if (g.State.Phase == family.Quarantined) != want {
			t.Errorf("%s is %s", g.Address, g.State.Phase)
		}
		if want && !g.Due.IsZero() {
			t.Errorf("%s is due, and would be looked at again and again", g.Address)
		}
		events, err := s.Events(t.Context(), g.ID, 1)
		if err != nil {
			t.Fatal(err)
		}
		if want && (events[0].Type != family.EventQuarantined || events[0].Detail != s.Finding()) {
			t.Errorf("the journal of %s ends with %+v, want what was found", g.Address, events[0])
		}
	}
	if s.MustQuarantine() {
		t.Error("it still says that it must be quarantined")
	}
}

func TestAnOlderVersionsStoreIsNotQuarantinedAtItsFirstStart(t *testing.T) {
	cfg := witnessedConfig(t)
	older := cfg
	older.WitnessFile = ""
	run(t, older, spendable(t, "acme/automation/jira"))
	run(t, older)
	run(t, cfg, func(s *storage.Store) {
		if s.Finding() != "" || s.MustQuarantine() || s.Epoch() != 3 {
			t.Fatalf("in start %d: found %q", s.Epoch(), s.Finding())
		}
	})
	// From then on it has a witness, and its absence says something.
	if err := os.Remove(cfg.WitnessFile); err != nil {
		t.Fatal(err)
	}
	run(t, cfg, func(s *storage.Store) {
		if !strings.HasPrefix(s.Finding(), "moved or copied") {
			t.Errorf("found %q", s.Finding())
		}
	})
}

func TestANewStoreTakesTheWitnessOfAnotherSilently(t *testing.T) {
	cfg := witnessedConfig(t)
	run(t, cfg)
	if err := os.RemoveAll(cfg.Dir); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		run(t, cfg, func(s *storage.Store) {
			if s.Finding() != "" {
				t.Errorf("found %q", s.Finding())
			}
		})
	}
}

func TestARestoredStoreAndItsWitnessAgree(t *testing.T) {
	for _, adopt := range []bool{false, true} {
		for _, left := range []string{"nothing", "the witness of the lost store"} {
			t.Run(map[bool]string{true: "adopted over ", false: "restored over "}[adopt]+left, func(t *testing.T) {
				cfg := witnessedConfig(t)
				run(t, cfg, spendable(t, "acme/automation/jira"))
				var backup bytes.Buffer
				if _, err := storage.Backup(t.Context(), cfg, &backup); err != nil {
					t.Fatal(err)
				}
				run(t, cfg, spendable(t, "acme/second/jira"))
				if err := os.RemoveAll(cfg.Dir); err != nil {
					t.Fatal(err)
				}
				if left == "nothing" {
					cfg.Dir = filepath.Join(t.TempDir(), "restored")
					cfg.WitnessFile = cfg.Dir + ".witness"
				}
				if _, err := storage.Restore(t.Context(), cfg, &backup, adopt); err != nil {
					t.Fatal(err)
				}
				run(t, cfg, func(s *storage.Store) {
					if adopt && s.Finding() != "" || !adopt && !strings.HasPrefix(s.Finding(), "restored from a backup") {
						t.Errorf("found %q", s.Finding())
					}
					wantQuarantined(t, s, !adopt)
				})
				run(t, cfg, func(s *storage.Store) {
					if s.MustQuarantine() {
						t.Errorf("at the second start: %q", s.Finding())
					}
				})
			})
		}
	}
}

func TestAWitnessInTheStoresDirectoryIsRefused(t *testing.T) {
	cfg := testConfig(t)
	cfg.WitnessFile = filepath.Join(cfg.Dir, "deep", "witness")
	if _, err := storage.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "lies in the store's directory") {
		t.Errorf("got %v", err)
	}
}

func TestAWitnessThatCanNotBeWrittenKeepsTheStoreFromStarting(t *testing.T) {
	cfg := testConfig(t)
	cfg.WitnessFile = filepath.Join(filepath.Dir(cfg.Dir), "nowhere", "witness")
	if _, err := storage.Open(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "correct store.witness_file") {
		t.Errorf("got %v", err)
	}
}
