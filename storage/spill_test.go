package storage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
)

// rotation is a settlement with every field set.
func rotation(attempt string) storage.Kept {
	return storage.Kept{
		GrantID: "grt_1",
		Spend:   family.Spend{AttemptID: attempt, Fence: 9, Generation: 7, FamilyFirst: 3, Kind: family.Repeat, Announced: at},
		Pair:    family.Pair{Refresh: secret.New("refresh-canary"), Access: secret.New("access-canary"), ExpiresIn: time.Hour, Scopes: []string{"a", "b"}},
	}
}

// spilling is a store over backends in memory, with its spill file on disk.
func spilling(t *testing.T) storage.Config {
	t.Helper()
	cfg := testConfig(t)
	cfg.Backend = memstore.New().Opener()
	return cfg
}

func reserve(t *testing.T, s *storage.Store) *storage.Slot {
	t.Helper()
	sl, err := s.Spill().Reserve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return sl
}

func TestWhatIsKeptInTheSpillIsFoundByTheNextStart(t *testing.T) {
	cfg := spilling(t)
	consent := storage.Kept{ConsentID: "con_1", Spend: family.Spend{AttemptID: "a-2"}, Pending: &storage.PendingFamily{
		Pair: rotation("").Pair, ReceivedAt: at, Account: "account-1", Sites: []storage.Site{{CloudID: "c-1"}}}}
	kept := []storage.Kept{rotation("a-1"), consent}
	s, err := storage.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kept {
		if err := reserve(t, s).Keep(k); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(cfg.Dir, storage.SpillName))
	if err != nil || bytes.Contains(raw, []byte("canary")) {
		t.Errorf("a token is in the file in the clear, or error %v", err)
	}
	s = openStore(t, cfg)
	found := s.Spill().Found()
	if len(found) != 2 || len(s.Spill().Found()) != 0 {
		t.Fatalf("found %d, want 2, and once", len(found))
	}
	for i, sl := range found {
		if d := cmp.Diff(kept[i], sl.Kept(), equal, cmpopts.IgnoreUnexported(family.Spend{})); d != "" {
			t.Errorf("slot %d (-kept +found):\n%s", i, d)
		}
	}
	short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := s.Spill().Reserve(short); !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "all 2 slots") {
		t.Errorf("reserving in a full file: %v", err)
	}
	if err := found[0].Clear(); err != nil {
		t.Fatal(err)
	}
	if err := reserve(t, s).Clear(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if again := openStore(t, cfg).Spill().Found(); len(again) != 1 || again[0].Kept().ConsentID != "con_1" {
		t.Errorf("after one was cleared: %d", len(again))
	}
}

func TestTheSpillFileIsPrivateAndHasNoHoles(t *testing.T) {
	cfg := spilling(t)
	s := openStore(t, cfg)
	check := func() {
		t.Helper()
		info, err := os.Stat(filepath.Join(cfg.Dir, storage.SpillName))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 || info.Size() != 2*storage.SlotSize {
			t.Errorf("mode %v, %d bytes", info.Mode(), info.Size())
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Blocks*512 < info.Size() {
			t.Errorf("%d bytes are allocated of %d", st.Blocks*512, info.Size())
		}
	}
	check()
	if err := reserve(t, s).Keep(rotation("a-1")); err != nil {
		t.Fatal(err)
	}
	check()
}

func TestTwoTokensOf64KiBFitIntoASlotAndWhatDoesNotIsRefused(t *testing.T) {
	s := openStore(t, spilling(t))
	big := rotation("a-1")
	big.Pair.Refresh, big.Pair.Access = secret.New(strings.Repeat("r", 64<<10)), secret.New(strings.Repeat("a", 64<<10))
	for range 100 {
		big.Pair.Scopes = append(big.Pair.Scopes, strings.Repeat("s", 100))
	}
	sl := reserve(t, s)
	if err := sl.Keep(big); err != nil {
		t.Fatal(err)
	}
	huge := big
	huge.Pair.Refresh = secret.New(strings.Repeat("r", storage.SlotSize))
	if err := sl.Keep(huge); err == nil || !strings.Contains(err.Error(), "a slot holds 262128") {
		t.Errorf("a pair beyond the slot's size: %v", err)
	}
	if got := sl.Kept(); !got.Pair.Refresh.Equal(big.Pair.Refresh) {
		t.Error("the refused one has replaced the first")
	}
}

func TestSlotsThatDoNotOpenAreReportedAndLeftAlone(t *testing.T) {
	other := spilling(t)
	s, err := storage.Open(t.Context(), other)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(reserve(t, s).Keep(rotation("foreign")), s.Close()); err != nil {
		t.Fatal(err)
	}
	foreign, err := os.ReadFile(filepath.Join(other.Dir, storage.SpillName))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name  string
		spoil func(b []byte) []byte
		want  string
	}{
		{"cut off within the entry", func(b []byte) []byte { copy(b[100:], foreign[storage.SlotSize+100:storage.SlotSize+4096]); return b }, "cut off"},
		{"a flipped bit", func(b []byte) []byte { b[40] ^= 1; return b }, "cut off"},
		{"zeros", func(b []byte) []byte { clear(b[:storage.SlotSize]); return b }, "no slot"},
		{"another store's", func(b []byte) []byte { copy(b, foreign[:storage.SlotSize]); return b }, "another store or key"},
		{"moved to another slot", func(b []byte) []byte { copy(b[storage.SlotSize:], b[:storage.SlotSize]); return b }, "another store or key"},
		{"a file cut off", func(b []byte) []byte { return b[:2*storage.SlotSize-1] }, "cut off"},
	} {
		t.Run(row.name, func(t *testing.T) {
			cfg := spilling(t)
			s, err := storage.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(reserve(t, s).Keep(rotation("a-1")), s.Close()); err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(cfg.Dir, storage.SpillName)
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			b = row.spoil(b)
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			s = openStore(t, cfg)
			damaged := s.Spill().Damaged()
			if len(damaged) != 1 || !errors.Is(damaged[0], storage.ErrCorrupt) || !strings.Contains(damaged[0].Error(), row.want) {
				t.Fatalf("reported %v, want %q", damaged, row.want)
			}
			// Whatever can be used goes on, and nothing of the damage is written over.
			for range 2 {
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if sl, err := s.Spill().Reserve(ctx); err == nil {
					_ = sl.Keep(rotation("a-2"))
				}
			}
			after, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			damage := 0
			if row.name == "moved to another slot" {
				damage = storage.SlotSize
			}
			if row.name != "a file cut off" && !bytes.Equal(after[damage:damage+storage.SlotSize], b[damage:damage+storage.SlotSize]) {
				t.Error("the slot that did not open was written to")
			}
		})
	}
}

func TestStoresOverOneDirectoryDoNotShareASpillFile(t *testing.T) {
	first := spilling(t)
	second := first
	second.Backend = memstore.New().Opener()
	one, two := openStore(t, first), openStore(t, second)
	for i, s := range []*storage.Store{one, two, two, one} {
		if err := reserve(t, s).Keep(rotation(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(one.Close(), two.Close()); err != nil {
		t.Fatal(err)
	}
	// Whoever comes next finds what either left; each has a key ring of its own here.
	for _, row := range []struct {
		cfg  storage.Config
		want []string
	}{{second, []string{"1", "2"}}, {first, []string{"0", "3"}}} {
		s := openStore(t, row.cfg)
		var attempts []string
		for _, sl := range s.Spill().Found() {
			attempts = append(attempts, sl.Kept().Spend.AttemptID)
		}
		if d := cmp.Diff(row.want, attempts); d != "" || len(s.Spill().Damaged()) != 2 {
			t.Errorf("found (-want +got), and %d of the other's:\n%s", len(s.Spill().Damaged()), d)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestASlotIsProvenBeforeItIsGivenAway(t *testing.T) {
	cfg := spilling(t)
	mem := memstore.NewSpill()
	cfg.Spill = mem
	s := openStore(t, cfg)
	mem.SetFault(func() error { return errors.New("read-only file system") })
	if _, err := s.Spill().Reserve(t.Context()); !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("reserving in a file that cannot be written: %v", err)
	}
	mem.SetFault(nil)
	a, b := reserve(t, s), reserve(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Spill().Reserve(ctx); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("reserving while all slots are out: %v", err)
	}
	if err := errors.Join(a.Clear(), b.Keep(rotation("a-1"))); err != nil {
		t.Fatal(err)
	}
	reserve(t, s)
}

func TestASpillFileThatWasDeletedUnderTheStoreIsNoticed(t *testing.T) {
	cfg := spilling(t)
	s := openStore(t, cfg)
	if err := os.Remove(filepath.Join(cfg.Dir, storage.SpillName)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Spill().Reserve(t.Context()); err == nil || !strings.Contains(err.Error(), "moved or deleted") {
		t.Errorf("got %v", err)
	}
}

func TestASettlementSurvivesACrashOnlyOnceItIsSynced(t *testing.T) {
	cfg := spilling(t)
	mem := memstore.NewSpill()
	cfg.Spill = mem
	s := openStore(t, cfg)
	sl, lost := reserve(t, s), reserve(t, s)
	if err := sl.Keep(rotation("kept")); err != nil {
		t.Fatal(err)
	}
	writes := 0
	mem.SetFault(func() error { // the write takes effect, its sync fails
		if writes++; writes%2 == 0 {
			return errors.New("input/output error")
		}
		return nil
	})
	if err := lost.Keep(rotation("lost")); err == nil {
		t.Fatal("kept although the sync failed")
	}
	if err := sl.Clear(); err == nil {
		t.Fatal("cleared although the sync failed")
	}
	mem.Crash()
	mem.SetFault(nil)
	again := openStore(t, cfg)
	found := again.Spill().Found()
	if len(found) != 1 || found[0].Kept().Spend.AttemptID != "kept" {
		t.Fatalf("found %d after the crash", len(found))
	}
}

func TestABackupHasNoSpillAndARestoredStoreGetsAnEmptyOne(t *testing.T) {
	cfg := testConfig(t)
	s, err := storage.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(reserve(t, s).Keep(rotation("a-1")), s.Close()); err != nil {
		t.Fatal(err)
	}
	var backup bytes.Buffer
	if _, err := storage.Backup(t.Context(), cfg, &backup); err != nil {
		t.Fatal(err)
	}
	if found := openStore(t, cfg).Spill().Found(); len(found) != 1 {
		t.Errorf("after the backup the store finds %d", len(found))
	}
	cfg.Dir = filepath.Join(t.TempDir(), "restored")
	if _, err := storage.Restore(t.Context(), cfg, &backup, false); err != nil {
		t.Fatal(err)
	}
	restored := openStore(t, cfg).Spill()
	if len(restored.Found())+len(restored.Damaged()) != 0 {
		t.Error("the restored store's spill is not empty")
	}
}

func TestAStoreOfBeforeGetsASpillFile(t *testing.T) {
	cfg, _ := closedStore(t)
	name := filepath.Join(cfg.Dir, storage.SpillName)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	reserve(t, openStore(t, cfg))
	if _, err := os.Stat(name); err != nil {
		t.Error(err)
	}
}

func TestASpillFileGrowsWithTheConfiguration(t *testing.T) {
	cfg := spilling(t)
	s := openStore(t, cfg)
	if err := reserve(t, s).Keep(rotation("a-1")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.SpillSlots = 5
	for range 2 { // it grows once
		s = openStore(t, cfg)
		if found := s.Spill().Found(); len(found) != 1 {
			t.Fatalf("found %d slots in use, want the 1 of before", len(found))
		}
		var slots []*storage.Slot
		for range 4 {
			slots = append(slots, reserve(t, s))
		}
		for _, sl := range slots {
			if err := sl.Clear(); err != nil {
				t.Fatal(err)
			}
		}
		files, err := filepath.Glob(filepath.Join(cfg.Dir, storage.SpillName+"*"))
		if err != nil || len(files) != 2 {
			t.Errorf("spill files %v, %v; want 2", files, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
