package storage_test

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
)

// spillVectorFile is the beginning of slot 0, without the filler, of the store
// that the format's vector holds.
const spillVectorFile = "testdata/v1/spill-slot"

func TestTheSpillsTestVectorOpens(t *testing.T) {
	cfg := vectorConfig(t)
	if *writeVector {
		newSpillVector(t, cfg)
	}
	b, err := os.ReadFile(spillVectorFile)
	if err != nil {
		t.Fatal(err)
	}
	mem := memstore.NewSpill()
	if _, err := mem.WriteAt(b, 0); err != nil {
		t.Fatal(err)
	}
	cfg.Spill = mem
	s := openStore(t, cfg)
	found := s.Spill().Found()
	if len(found) != 1 {
		t.Fatalf("found %d settlements: %v", len(found), s.Spill().Damaged())
	}
	if d := cmp.Diff(rotation("a-1"), found[0].Kept(), equal, cmpopts.IgnoreUnexported(family.Spend{})); d != "" {
		t.Errorf("settlement (-want +got):\n%s", d)
	}
}

func newSpillVector(t *testing.T, cfg storage.Config) {
	t.Helper()
	if _, err := os.Stat(spillVectorFile); err == nil {
		t.Fatalf("%s exists: a format's vector is never written again", spillVectorFile)
	}
	cfg.Spill, cfg.SpillSlots = memstore.NewSpill(), 1
	s := openStore(t, cfg)
	if err := reserve(t, s).Keep(rotation("a-1")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1024)
	if _, err := cfg.Spill.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(spillVectorFile, b, 0o644); err != nil {
		t.Fatal(err)
	}
}
