package storage_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/holdfast-io/holdfast/storage"
)

// faulty breaks swaps of one record.
type faulty struct {
	storage.Backend
	kind storage.Kind
	id   string
	// kept: the swap is done all the same, and its outcome unknown.
	kept bool
}

func (f *faulty) Swap(ctx context.Context, changes []storage.Change, entries []storage.Entry) error {
	for _, c := range changes {
		if c.Item.Key.Kind != f.kind || (f.id != "" && c.Item.Key.ID != f.id) {
			continue
		}
		if !f.kept {
			return storage.ErrUnavailable
		}
		return errors.Join(storage.ErrUnknown, f.Backend.Swap(ctx, changes, entries))
	}
	return f.Backend.Swap(ctx, changes, entries)
}

func (f *faulty) Sequence(ctx context.Context) (uint64, error) {
	return f.Backend.(storage.Sequencer).Sequence(ctx)
}

func withFault(cfg storage.Config, f faulty) storage.Config {
	open := cfg.Backend
	cfg.Backend = func(dir string, key []byte) (storage.Backend, error) {
		b, err := open(dir, key)
		fault := f
		fault.Backend = b
		return &fault, err
	}
	return cfg
}

// A start that ends between the witness's announcement and its confirmation
// leaves the store at the old start or at the new one: neither is a finding.
func TestACrashWhileAStartIsCountedIsNoFinding(t *testing.T) {
	for _, row := range []struct {
		name         string
		before, kept bool
		want         uint64 // the epoch of the start after the crash
	}{
		{"before the store counted it", true, false, 3},
		{"after the store counted it", true, true, 4},
		{"before, at the first start with a witness", false, false, 3},
		{"after, at the first start with a witness", false, true, 4},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := witnessedConfig(t)
			first := cfg
			if !row.before {
				first.WitnessFile = ""
			}
			run(t, first, spendable(t, "acme/automation/jira"))
			run(t, first)
			crash := withFault(cfg, faulty{kind: storage.KindMeta, id: "epoch", kept: row.kept})
			// More than once: the process is restarted again and again.
			for range 2 {
				if _, err := storage.Open(t.Context(), crash); err == nil {
					t.Fatal("it opened")
				}
				if row.kept {
					break
				}
			}
			run(t, cfg, func(s *storage.Store) {
				if s.Finding() != "" || s.Epoch() != row.want {
					t.Errorf("in start %d (want %d): found %q", s.Epoch(), row.want, s.Finding())
				}
			})
		})
	}
}

func TestAQuarantineSurvivesCrashesUntilItIsComplete(t *testing.T) {
	cfg := witnessedConfig(t)
	run(t, cfg, spendable(t, "acme/a/jira"), spendable(t, "acme/b/jira"), spendable(t, "acme/c/jira"))
	if err := os.Remove(cfg.WitnessFile); err != nil {
		t.Fatal(err)
	}
	// A start that ended before anything was quarantined: the witness is new and
	// agrees with the store, but the header remembers.
	var found string
	run(t, cfg, func(s *storage.Store) { found = s.Finding() })
	if !strings.HasPrefix(found, "moved or copied") {
		t.Fatalf("found %q", found)
	}
	// One that ended in the midst of it.
	third := address(t, "acme/c/jira").GrantID()
	run(t, withFault(cfg, faulty{kind: storage.KindGrant, id: third}), func(s *storage.Store) {
		if n, err := s.QuarantineAll(t.Context()); err == nil {
			t.Fatalf("%d quarantined, and no error", n)
		}
		if err := s.ClearFinding(t.Context()); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("the finding was cleared before all grants were quarantined: %v", err)
		}
	})
	// One that ended before the finding was recorded.
	run(t, withFault(cfg, faulty{kind: storage.KindMeta, id: "finding"}), func(s *storage.Store) {
		if n, err := s.QuarantineAll(t.Context()); err == nil {
			t.Fatalf("%d quarantined, and no error", n)
		}
	})
	run(t, cfg, func(s *storage.Store) {
		if s.Finding() != found || !s.MustQuarantine() {
			t.Errorf("found %q, must quarantine: %v; want %q as at first", s.Finding(), s.MustQuarantine(), found)
		}
		wantQuarantined(t, s, true)
	})
}

func TestAFindingEndsConsentsThatWaitForAConfirmation(t *testing.T) {
	cfg := witnessedConfig(t)
	waiting := storage.Consent{ID: "con_1", Status: storage.ConsentConfirm, Pending: &storage.PendingFamily{Account: "a"}}
	begun := storage.Consent{ID: "con_2", Status: storage.ConsentAtProvider}
	run(t, cfg, func(s *storage.Store) {
		if err := errors.Join(s.Swap(t.Context(), storage.Update{Consent: &waiting}), s.Swap(t.Context(), storage.Update{Consent: &begun})); err != nil {
			t.Fatal(err)
		}
	})
	if err := os.Remove(cfg.WitnessFile); err != nil {
		t.Fatal(err)
	}
	run(t, cfg, func(s *storage.Store) {
		if _, err := s.QuarantineAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		c, err := s.Consent(t.Context(), "con_1")
		if err != nil || c.Pending != nil || c.Status != storage.ConsentSuperseded {
			t.Errorf("%+v, error %v: its family would be spent by two", c, err)
		}
		if c, err := s.Consent(t.Context(), "con_2"); err != nil || c.Status != storage.ConsentAtProvider {
			t.Errorf("%+v, error %v", c, err)
		}
	})
}
