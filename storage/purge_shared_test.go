package storage_test

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
)

// TestAGrantIsNotMadeBelowAFloorThatAnotherReplicaHasRaised: between reading the
// floor and making the grant another replica made the same one, and purged it.
func TestAGrantIsNotMadeBelowAFloorThatAnotherReplicaHasRaised(t *testing.T) {
	replica := replicasOf(t, memstore.NewDatabase().Place())
	one, other := openStore(t, replica(1)), openStore(t, replica(2))
	begin := func(s *storage.Store, g storage.Grant) (storage.Grant, error) {
		now := time.Now()
		var events []family.Event
		g.State, events = family.Replace(g.State, now, now, family.Pair{Refresh: secret.New("r"), Access: secret.New("a"), ExpiresIn: time.Hour})
		err := s.Swap(t.Context(), storage.Update{Grant: &g, Events: events})
		return g, err
	}
	address := storage.Address{Tenant: "acme", Subject: "s", Product: "jira", Name: storage.DefaultName}
	slow, err := one.NewGrant(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	quick, err := other.NewGrant(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	if quick, err = begin(other, quick); err != nil {
		t.Fatal(err)
	}
	quick.State, _ = family.Revoke(quick.State, time.Now(), "test")
	if err := other.Swap(t.Context(), storage.Update{Grant: &quick}); err != nil {
		t.Fatal(err)
	}
	if _, err := other.PurgeGrant(t.Context(), &quick, nil, time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := begin(one, slow); !errors.Is(err, storage.ErrConflict) {
		t.Fatalf("the grant was made below the floor: %v", err)
	}
	again, err := one.NewGrant(t.Context(), address)
	if err == nil {
		again, err = begin(one, again)
	}
	if err != nil || again.Version <= quick.Version || again.State.Fence <= quick.State.Fence {
		t.Fatalf("version %d and fence %d after %d and %d, %v", again.Version, again.State.Fence, quick.Version, quick.State.Fence, err)
	}
}
