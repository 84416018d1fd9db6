package broker

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// TestASlotIsGivenBackOnce lets the drain come to a settlement that ended after
// it was looked up. A slot that is free twice has two owners, of whom one loses its token.
func TestASlotIsGivenBackOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kek")
	if _, err := seal.CreateFile(path); err != nil {
		t.Fatal(err)
	}
	kek, err := seal.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	store, err := storage.Open(t.Context(), storage.Config{
		Dir: filepath.Join(t.TempDir(), "store"), Environment: "test", Provider: "atlassian", KEK: kek, Log: log, SpillSlots: 2,
		Backend: memstore.New().Opener(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	reserve := func() (*storage.Slot, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		return store.Spill().Reserve(ctx)
	}
	slot, err := reserve()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reserve(); err != nil { // somebody else's
		t.Fatal(err)
	}
	b := &Broker{store: store, log: log, now: time.Now}
	s := (&settlement{slot: slot, outcome: family.Outcome{Class: family.Settled}}).owned()
	b.unstored.add(s)
	b.settled(s)
	b.drainOne(t.Context(), s, true)
	if _, err := reserve(); err != nil {
		t.Fatalf("the slot was not given back: %v", err)
	}
	if again, err := reserve(); err == nil {
		t.Fatalf("the slot has two owners (%t)", again == slot)
	}
}
