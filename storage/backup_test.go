package storage_test

import (
	"bytes"
	"errors"
	"fmt"
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

// backedUp makes a store with some of everything, and a backup of it.
func backedUp(t testing.TB) (storage.Config, []storage.Grant, []byte) {
	t.Helper()
	cfg := testConfig(t)
	s, err := storage.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var grants []storage.Grant
	phases := []family.Phase{family.Active, family.Suspected, family.Lapsed, family.Revoked}
	for i := range 8 {
		g := fullGrant(t, fmt.Sprintf("acme/user%d/jira", i))
		g.State.Phase = phases[i%4]
		for n := range i + 1 {
			g.State.Fence++
			e := family.Event{Type: family.EventAnnounced, At: at, Fence: g.State.Fence, Detail: fmt.Sprint(n)}
			if err := s.Swap(t.Context(), storage.Update{Grant: &g, Events: []family.Event{e}}); err != nil {
				t.Fatal(err)
			}
		}
		grants = append(grants, g)
	}
	c := storage.Consent{ID: "con_1", Status: storage.ConsentPending, ExpiresAt: at}
	if err := errors.Join(s.Swap(t.Context(), storage.Update{Consent: &c}), s.Close()); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	sum, err := storage.Backup(t.Context(), cfg, &b)
	if err != nil {
		t.Fatal(err)
	}
	// The ring, the epoch, a consent and eight grants with 1 to 8 entries.
	if d := cmp.Diff(storage.BackupSummary{StoreID: sum.StoreID, Records: 11, Entries: 36}, sum); d != "" {
		t.Errorf("summary (-want +got):\n%s", d)
	}
	return cfg, grants, b.Bytes()
}

func TestARestoredBackupHoldsEverythingAndIsQuarantined(t *testing.T) {
	cfg, grants, backup := backedUp(t)
	if bytes.Contains(backup, []byte("canary")) || bytes.Contains(backup, []byte("acme")) {
		t.Error("the backup holds a token or an address in the clear")
	}
	original := openStore(t, cfg)
	cfg.Dir = filepath.Join(t.TempDir(), "deep", "restored")
	sum, err := storage.Restore(t.Context(), cfg, bytes.NewReader(backup), false)
	if err != nil {
		t.Fatal(err)
	}
	if sum.Records != 11 || sum.Entries != 36 {
		t.Errorf("restored %+v", sum)
	}
	cfg.MustExist = true
	s := openStore(t, cfg)
	if !s.MustQuarantine() || original.MustQuarantine() || s.StoreID() != original.StoreID() {
		t.Errorf("restored: %v, the original: %v; ids %s and %s", s.MustQuarantine(), original.MustQuarantine(), s.StoreID(), original.StoreID())
	}
	for _, want := range grants {
		got, err := s.Grant(t.Context(), want.ID)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got, equal); d != "" {
			t.Errorf("grant (-backed up +restored):\n%s", d)
		}
		wantE, err1 := original.Events(t.Context(), want.ID, 0)
		gotE, err2 := s.Events(t.Context(), want.ID, 0)
		if d := cmp.Diff(wantE, gotE); d != "" || err1 != nil || err2 != nil {
			t.Errorf("journal (-backed up +restored), errors %v, %v:\n%s", err1, err2, d)
		}
	}
	n, err := s.QuarantineAll(t.Context())
	if err != nil || n != 4 {
		t.Fatalf("%d quarantined, error %v; want the 4 active and suspected ones", n, err)
	}
	for _, old := range grants {
		g, err := s.Grant(t.Context(), old.ID)
		if err != nil {
			t.Fatal(err)
		}
		want := old.State.Phase
		if want == family.Active || want == family.Suspected {
			want = family.Quarantined
		}
		if g.State.Phase != want {
			t.Errorf("a %s grant is %s after the quarantine", old.State.Phase, g.State.Phase)
		}
	}
	if s.MustQuarantine() {
		t.Error("the store still says that it must be quarantined")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if again := openStore(t, cfg); again.MustQuarantine() {
		t.Error("after reopening, the store again says that it must be quarantined")
	}
}

func TestAnAdoptedStoreGoesOnAsItWas(t *testing.T) {
	cfg, _, backup := backedUp(t)
	cfg.Dir = filepath.Join(t.TempDir(), "moved")
	if _, err := storage.Restore(t.Context(), cfg, bytes.NewReader(backup), true); err != nil {
		t.Fatal(err)
	}
	if openStore(t, cfg).MustQuarantine() {
		t.Error("the store says that it must be quarantined although an operator vouched for it")
	}
}

func TestADamagedBackupIsRefusedAndLeavesNothing(t *testing.T) {
	cfg, _, backup := backedUp(t)
	parent := t.TempDir()
	cfg.Dir = filepath.Join(parent, "restored")
	// Records in memory: only what the backup's own checks find is of interest here.
	cfg.Backend = func(string, []byte) (storage.Backend, error) { return memstore.New(), nil }
	restore := func(what string, b []byte) {
		t.Helper()
		_, err := storage.Restore(t.Context(), cfg, bytes.NewReader(b), false)
		if err == nil {
			t.Errorf("%s: restored", what)
			_ = os.RemoveAll(cfg.Dir)
			return
		}
		if !strings.Contains(err.Error(), "nothing was changed") {
			t.Errorf("%s: the error %q does not say that nothing was changed", what, err)
		}
		if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
			t.Errorf("%s: left %v, error %v", what, left, err)
		}
	}
	if _, err := storage.Restore(t.Context(), cfg, bytes.NewReader(backup), false); err != nil {
		t.Fatalf("the whole backup: %v", err)
	}
	if err := os.RemoveAll(cfg.Dir); err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(backup); n += 1 + len(backup)/100 {
		restore(fmt.Sprintf("cut off after %d bytes", n), backup[:n])
		b := bytes.Clone(backup)
		b[n] ^= 1 << (n % 8)
		// In the header's JSON a flip may change nothing but white space, which the chunks notice.
		restore(fmt.Sprintf("byte %d flipped", n), b)
	}
	restore("one byte short", backup[:len(backup)-1])
	restore("one byte more", append(bytes.Clone(backup), 0))
	restore("not a backup", []byte("hello"))
}

func TestARestoreNeedsItsKEKAndAnEmptyDirectory(t *testing.T) {
	cfg, _, backup := backedUp(t)
	before := hashDir(t, cfg.Dir)
	_, err := storage.Restore(t.Context(), cfg, bytes.NewReader(backup), false)
	if err == nil || !strings.Contains(err.Error(), cfg.Dir+" is not empty: move it away or restore elsewhere") {
		t.Errorf("into the store itself: %v", err)
	}
	if d := cmp.Diff(before, hashDir(t, cfg.Dir)); d != "" {
		t.Errorf("files changed (-before +after):\n%s", d)
	}
	cfg.Dir = t.TempDir() // exists and is empty
	if cfg.KEK, err = seal.CreateFile(filepath.Join(t.TempDir(), "other")); err != nil {
		t.Fatal(err)
	}
	_, err = storage.Restore(t.Context(), cfg, bytes.NewReader(backup), false)
	if err == nil || !strings.Contains(err.Error(), "wrong KEK") {
		t.Errorf("with another KEK: %v", err)
	}
	if left, err := os.ReadDir(cfg.Dir); err != nil || len(left) > 0 {
		t.Errorf("left %v, error %v", left, err)
	}
}
