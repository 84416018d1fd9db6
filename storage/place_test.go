package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
	"github.com/holdfast-io/holdfast/storage/pgstore"
	"github.com/holdfast-io/holdfast/storage/pgstore/pgtest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	pgtest.StopShared()
	os.Exit(code)
}

// onShared runs a test over each backend that keeps the header, too.
func onShared(t *testing.T, test func(t *testing.T, replica func(n int) storage.Config)) {
	t.Run("memstore", func(t *testing.T) { test(t, replicasOf(t, memstore.NewDatabase().Place())) })
	t.Run("postgres", func(t *testing.T) {
		o := pgstore.Options{DSN: secret.New(pgtest.Shared(t).Database(t)), Log: slog.New(slog.DiscardHandler)}
		test(t, replicasOf(t, pgstore.Place("PostgreSQL", o)))
	})
}

// replicasOf returns the configurations of replicas, alike but for their directory.
func replicasOf(t *testing.T, place *storage.DatabasePlace) func(n int) storage.Config {
	t.Helper()
	cfg := testConfig(t)
	cfg.Backend, cfg.Database, cfg.Log = nil, place, slog.New(slog.DiscardHandler)
	base := t.TempDir()
	return func(n int) storage.Config {
		c := cfg
		c.Dir = filepath.Join(base, fmt.Sprint("replica-", n))
		c.WitnessFile = c.Dir + ".witness"
		return c
	}
}

func TestReplicasThatStartAtOnceMakeOneStore(t *testing.T) {
	onShared(t, func(t *testing.T, replica func(int) storage.Config) {
		const n = 4
		stores := make([]*storage.Store, n)
		errs := make(chan error, n)
		for i := range n {
			go func() {
				var err error
				stores[i], err = storage.Open(t.Context(), replica(i))
				errs <- err
			}()
		}
		for range n {
			if err := <-errs; err != nil {
				t.Fatal(err)
			}
		}
		var epochs []uint64
		for i, s := range stores {
			if s.StoreID() != stores[0].StoreID() || s.Finding() != "" {
				t.Errorf("replica %d is of store %s, replica 0 of %s; found %q", i, s.StoreID(), stores[0].StoreID(), s.Finding())
			}
			epochs = append(epochs, s.Epoch())
			spendable(t, fmt.Sprintf("acme/user-%d/jira", i))(s)
		}
		slices.Sort(epochs)
		if !slices.Equal(epochs, []uint64{1, 2, 3, 4}) {
			t.Errorf("the starts were counted as %v", epochs)
		}
		for _, s := range stores {
			for i := range n {
				if _, err := s.Grant(t.Context(), address(t, fmt.Sprintf("acme/user-%d/jira", i)).GrantID()); err != nil {
					t.Error(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestAReplicaOfAnotherEnvironmentOrKeyIsRefused(t *testing.T) {
	onShared(t, func(t *testing.T, replica func(int) storage.Config) {
		run(t, replica(0))
		for want, edit := range map[string]func(*storage.Config){
			"belongs to environment": func(c *storage.Config) { c.Environment = "other" },
			"belongs to provider":    func(c *storage.Config) { c.Provider = "other" },
			"wrong KEK":              func(c *storage.Config) { c.KEK = newKEK(t) },
		} {
			c := replica(1)
			edit(&c)
			if _, err := storage.Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want an error with %q", err, want)
			}
		}
	})
}

// Nobody who seals by a former key may store it once the rotation has ended:
// nothing would open it.
func TestARotationOnOneReplicaIsLearntByTheOthers(t *testing.T) {
	onShared(t, func(t *testing.T, replica func(int) storage.Config) {
		one, other := openStore(t, replica(1)), openStore(t, replica(2))
		grants := fill(t, one)
		for range 3 {
			if _, err := one.BeginKeyRotation(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := other.Grant(t.Context(), grants[0].ID); err != nil {
				t.Errorf("read under the new ring: %v", err)
			}
			passes(t, one)
			for i := range grants {
				g := &grants[i]
				g.State.Fence++
				events := []family.Event{{Type: family.EventAnnounced, At: at, Fence: g.State.Fence}}
				if err := other.Swap(t.Context(), storage.Update{Grant: g, Events: events}); err != nil {
					t.Fatal(err)
				}
			}
			err1 := other.SwapApp(t.Context(), &storage.App{ID: fmt.Sprint("late-", one.Epoch())})
			err2 := other.DeleteConsent(t.Context(), "none", 1)
			if !errors.Is(err2, storage.ErrConflict) || err1 != nil && !errors.Is(err1, storage.ErrConflict) {
				t.Errorf("got %v and %v", err1, err2)
			}
			for _, g := range grants {
				for _, s := range []*storage.Store{one, other} {
					if got, err := s.Grant(t.Context(), g.ID); err != nil || got.State.Fence != g.State.Fence {
						t.Errorf("%s: fence %d, %v", g.Address, got.State.Fence, err)
					}
				}
			}
		}
	})
}

func TestRotationsUnderWritingReplicasLoseNothing(t *testing.T) {
	onShared(t, func(t *testing.T, replica func(int) storage.Config) {
		one, other := openStore(t, replica(1)), openStore(t, replica(2))
		grants := fill(t, one)[:4]
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, len(grants))
		for i := range grants {
			g := &grants[i]
			go func() {
				for ctx.Err() == nil {
					g.State.Fence++
					events := []family.Event{{Type: family.EventAnnounced, At: at, Fence: g.State.Fence}}
					if err := other.Swap(context.Background(), storage.Update{Grant: g, Events: events}); err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
		for range 3 {
			if _, err := one.BeginKeyRotation(t.Context()); err != nil {
				t.Fatal(err)
			}
			for {
				if r, err := one.ResealPass(t.Context(), nothing); err != nil {
					t.Fatal(err)
				} else if r.Done {
					break
				}
			}
		}
		stop()
		for range grants {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		third := openStore(t, replica(3)) // knows the newest ring alone
		for _, g := range grants {
			if got, err := third.Grant(t.Context(), g.ID); err != nil || got.State.Fence != g.State.Fence {
				t.Errorf("%s: fence %d, want %d; %v", g.Address, got.State.Fence, g.State.Fence, err)
			}
		}
	})
}

// What a replica spilled opens although others have removed its key since.
func TestASpilledSettlementOutlivesARotationElsewhere(t *testing.T) {
	onShared(t, func(t *testing.T, replica func(int) storage.Config) {
		kept := storage.Kept{GrantID: "grt_x", Pair: family.Pair{Access: secret.New("access"), Refresh: secret.New("refresh")}}
		run(t, replica(1), func(s *storage.Store) {
			slot, err := s.Spill().Reserve(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := slot.Keep(kept); err != nil {
				t.Fatal(err)
			}
		})
		other := openStore(t, replica(2))
		for range 2 {
			if _, err := other.BeginKeyRotation(t.Context()); err != nil {
				t.Fatal(err)
			}
			passes(t, other)
			// It comes back, and goes again before anything is drained.
			run(t, replica(1), func(s *storage.Store) {
				found := s.Spill().Found()
				if len(found) != 1 || found[0].Kept().Pair.Refresh.Reveal() != "refresh" {
					t.Errorf("found %d slots, damaged: %v", len(found), s.Spill().Damaged())
				}
			})
		}
		run(t, replica(1), func(s *storage.Store) {
			if err := s.Spill().Found()[0].Clear(); err != nil {
				t.Error(err)
			}
		})
		run(t, replica(1))
		if b, err := os.ReadFile(filepath.Join(replica(1).Dir, storage.RingsFile)); err != nil || bytes.Count(b, []byte("sealed")) != 1 {
			t.Errorf("former rings are still kept: %s, %v", b, err)
		}
	})
}

func TestAReplicaGoesOnWhenTheRootKeyIsWrappedAnew(t *testing.T) {
	onShared(t, func(t *testing.T, replica func(int) storage.Config) {
		cfg := replica(1)
		now := at
		cfg.Now = func() time.Time { return now }
		s := openStore(t, cfg)
		next := newKEK(t)
		if _, err := storage.Rewrap(t.Context(), replica(2), next); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Minute)
		if err := errors.Join(s.Health(t.Context()), s.CheckKEK(t.Context())); err != nil {
			t.Error(err)
		}
		spendable(t, "acme/a/jira")(s)
		if _, err := storage.Open(t.Context(), replica(3)); err == nil || !strings.Contains(err.Error(), "wrong KEK") {
			t.Errorf("opening with the former KEK: %v", err)
		}
		c := replica(3)
		c.KEK = next
		openStore(t, c)
	})
}

func TestWhatTheWitnessOfOneReplicaMayConclude(t *testing.T) {
	replica := replicasOf(t, memstore.NewDatabase().Place())
	other := func() { run(t, replica(2)) }
	t.Run("starts of others are normal", func(t *testing.T) {
		run(t, replica(1))
		for range 3 {
			other()
		}
		run(t, replica(1), func(s *storage.Store) { wantFinding(t, s, "") })
		if err := os.Remove(replica(1).WitnessFile); err != nil {
			t.Fatal(err)
		}
		run(t, replica(1), func(s *storage.Store) { wantFinding(t, s, "") })
	})
	t.Run("a file of another store keeps this replica from starting, and nobody else", func(t *testing.T) {
		foreign := replicasOf(t, memstore.New().Place())(9)
		run(t, foreign)
		c := replica(3)
		c.WitnessFile = foreign.WitnessFile
		if _, err := storage.Open(t.Context(), c); err == nil || !strings.Contains(err.Error(), "of another store") {
			t.Errorf("got %v", err)
		}
		c.WitnessFile = filepath.Join(t.TempDir(), "damaged")
		if err := os.WriteFile(c.WitnessFile, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := storage.Open(t.Context(), c); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("got %v", err)
		}
		run(t, replica(1), func(s *storage.Store) { wantFinding(t, s, "") })
	})
}

func wantFinding(t *testing.T, s *storage.Store, want string) {
	t.Helper()
	if got := s.Finding(); !strings.Contains(got, want) || want == "" && got != "" {
		t.Errorf("found %q, want %q", got, want)
	}
}

// A database that was put back in place, as from a dump, is in the same history.
func TestADatabaseThatWasPutBackIsFound(t *testing.T) {
	for _, row := range []struct {
		name  string
		since func(t *testing.T, replica func(int) storage.Config)
		want  string
	}{
		{"before a start of this replica", func(*testing.T, func(int) storage.Config) {}, "is at start 1, and a replica's witness saw start 2"},
		{"and started by others since", func(t *testing.T, replica func(int) storage.Config) { run(t, replica(2)); run(t, replica(2)) }, "start 2 is not the one"},
	} {
		t.Run(row.name, func(t *testing.T) {
			mem := memstore.New()
			db := mem
			place := &storage.DatabasePlace{Name: "memory", Open: func(ctx context.Context, look bool) (storage.Database, error) {
				return db.Place().Open(ctx, look)
			}}
			replica := replicasOf(t, place)
			run(t, replica(1), spendable(t, "acme/a/jira"))
			dump := mem.Durable()
			run(t, replica(1), spendable(t, "acme/b/jira"))
			db = dump
			row.since(t, replica)
			run(t, replica(1), func(s *storage.Store) { wantFinding(t, s, row.want) })
		})
	}
	t.Run("after the newest start", func(t *testing.T) {
		mem := memstore.New()
		db := mem
		place := &storage.DatabasePlace{Name: "memory", Open: func(ctx context.Context, look bool) (storage.Database, error) {
			return db.Place().Open(ctx, look)
		}}
		replica := replicasOf(t, place)
		var dump *memstore.Store
		run(t, replica(1), func(*storage.Store) { dump = mem.Durable() }, spendable(t, "acme/a/jira"), spendable(t, "acme/b/jira"))
		db = dump
		run(t, replica(1), func(s *storage.Store) { wantFinding(t, s, "ends at commit") })
	})
}

func TestABackupOfADatabaseIsRestoredIntoAnother(t *testing.T) {
	onShared(t, func(t *testing.T, replica func(int) storage.Config) {
		s := openStore(t, replica(1))
		grants := fill(t, s)
		for i := range 3 { // so that it takes more than one chunk
			if err := s.SwapMeta(t.Context(), &storage.Meta{Name: fmt.Sprint("big", i), Value: bytes.Repeat([]byte("value"), 40_000)}); err != nil {
				t.Fatal(err)
			}
		}
		var backup bytes.Buffer
		sum, err := storage.Backup(t.Context(), replica(2), &backup) // beside a replica that runs
		if err != nil {
			t.Fatal(err)
		}
		if _, err := storage.Restore(t.Context(), replica(3), bytes.NewReader(backup.Bytes()), true); err == nil || !strings.Contains(err.Error(), "holds a store already") {
			t.Errorf("into the same database: %v", err)
		}
		target := replicasOf(t, memstore.New().Place())(4)
		target.KEK = replica(1).KEK
		half := backup.Bytes()[:backup.Len()-10]
		if _, err := storage.Restore(t.Context(), target, bytes.NewReader(half), true); err == nil {
			t.Error("a backup that was cut off was restored")
		}
		if _, err := storage.Open(t.Context(), target); !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("what it left opens: %v", err)
		}
		target.Database = memstore.New().Place()
		target.WitnessFile = filepath.Join(t.TempDir(), "witness")
		back, err := storage.Restore(t.Context(), target, &backup, true)
		if err != nil || back != sum {
			t.Fatalf("backed up %+v, restored %+v, %v", sum, back, err)
		}
		restored := openStore(t, target)
		wantFinding(t, restored, "")
		for _, g := range grants {
			if got, err := restored.Grant(t.Context(), g.ID); err != nil || got.State.Fence != g.State.Fence {
				t.Errorf("%s: fence %d, %v", g.Address, got.State.Fence, err)
			}
		}
	})
}

func TestLookingAtADatabaseChangesNothing(t *testing.T) {
	onShared(t, func(t *testing.T, replica func(int) storage.Config) {
		if _, err := storage.Look(t.Context(), replica(1)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("looking at an empty one: %v", err)
		}
		run(t, replica(1))
		seen, err := storage.Look(t.Context(), replica(2))
		if err != nil || seen.Finding != "" || seen.StoreID == "" {
			t.Errorf("%+v, %v", seen, err)
		}
		run(t, replica(1), func(s *storage.Store) {
			if s.Epoch() != 2 {
				t.Errorf("start %d", s.Epoch())
			}
		})
	})
}
