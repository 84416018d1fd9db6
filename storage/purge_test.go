package storage_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/badgerstore"
	"github.com/holdfast-io/holdfast/storage/memstore"
)

func consented(g storage.Grant) storage.Grant {
	pair := family.Pair{Refresh: secret.New("new-refresh"), Access: secret.New("new-access"), ExpiresIn: time.Hour}
	g.State, _ = family.Replace(g.State, at, at, pair)
	return g
}

func TestAPurgeTakesRecordJournalAndConsentsAtOnce(t *testing.T) {
	s := openStore(t, testConfig(t))
	g, other := fullGrant(t, "acme/automation/jira"), fullGrant(t, "acme/automation/confluence")
	mine, theirs := vectorConsent(), vectorConsent()
	mine.ID, mine.Address, theirs.ID, theirs.Address = "cns_mine", g.Address, "cns_theirs", other.Address
	for _, u := range []storage.Update{{Grant: &g, Consent: &mine, Events: vectorEvents()}, {Grant: &other, Consent: &theirs, Events: vectorEvents()}} {
		if err := s.Swap(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	consents, err := s.ConsentsFor(t.Context(), g.Address)
	if err != nil || len(consents) != 1 || consents[0].ID != mine.ID {
		t.Fatalf("consents %v, %v", consents, err)
	}
	stale := g
	stale.Version++
	if _, err := s.PurgeGrant(t.Context(), &stale, consents, time.Hour); !errors.Is(err, storage.ErrConflict) {
		t.Fatalf("purging another version: %v", err)
	}
	purged, err := s.PurgeGrant(t.Context(), &g, consents, time.Hour)
	if err != nil || purged != (storage.Purged{Events: 2, Consents: 1}) {
		t.Fatalf("purged %+v, %v", purged, err)
	}
	if _, err := s.Grant(t.Context(), g.ID); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("the record: %v", err)
	}
	if _, err := s.Consent(t.Context(), mine.ID); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("its consent: %v", err)
	}
	if events, err := s.Events(t.Context(), g.ID, 0); len(events) > 0 || err != nil {
		t.Errorf("the journal: %v, %v", events, err)
	}
	if _, err := s.Grant(t.Context(), other.ID); err != nil {
		t.Error(err)
	}
	if _, err := s.Consent(t.Context(), theirs.ID); err != nil {
		t.Error(err)
	}
	for range 2 { // the second has nothing to do
		if all, err := s.CollectPurged(t.Context()); !all || err != nil {
			t.Errorf("collected: %v, %v", all, err)
		}
	}
}

// What was purged and consented anew is taken for neither rolled back nor the old
// one; the purged row, put back over it, is found.
func TestAPurgedGrantThatIsConsentedAnewGoesOnAboveTheOldOne(t *testing.T) {
	cfg := testConfig(t)
	backend := memstore.New()
	cfg.Backend = backend.Opener()
	s := openStore(t, cfg)
	old := fullGrant(t, "acme/automation/jira")
	for range 3 {
		if err := s.Swap(t.Context(), storage.Update{Grant: &old, Events: vectorEvents()}); err != nil {
			t.Fatal(err)
		}
	}
	row, err := backend.Get(t.Context(), storage.Key{Kind: storage.KindGrant, ID: old.ID})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.PurgeGrant(t.Context(), &old, nil, time.Hour); err != nil {
		t.Fatal(err)
	}
	fresh, err := s.NewGrant(t.Context(), old.Address)
	if err != nil {
		t.Fatal(err)
	}
	fresh = consented(fresh)
	if err := s.Swap(t.Context(), storage.Update{Grant: &fresh, Events: vectorEvents()}); err != nil {
		t.Fatal(err)
	}
	if fresh.Version <= old.Version || fresh.State.Generation <= old.State.Generation || fresh.State.Fence <= old.State.Fence {
		t.Fatalf("version %d, generation %d, fence %d; the old one had %d, %d, %d",
			fresh.Version, fresh.State.Generation, fresh.State.Fence, old.Version, old.State.Generation, old.State.Fence)
	}
	got, err := s.Grant(t.Context(), old.ID)
	if err != nil || got.Version != fresh.Version {
		t.Fatalf("version %d of %d, %v", got.Version, fresh.Version, err)
	}
	if d := cmp.Diff(fresh.State, got.State, equal); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	// A late writer of the old one meets a conflict at every version.
	for v := storage.Version(1); v <= old.Version; v++ {
		late := old
		late.Version = v
		if err := s.Swap(t.Context(), storage.Update{Grant: &late, Events: vectorEvents()}); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("a writer of version %d: %v", v, err)
		}
	}
	// A settlement of the old family is nobody's.
	sp := family.Spend{AttemptID: "a", Fence: old.State.Fence, Generation: old.State.Generation, FamilyFirst: old.State.FamilyFirst, Announced: at}
	if _, events := family.Settle(got.State, family.Timing{}, at, sp, family.Outcome{Class: family.Settled, Pair: family.Pair{Refresh: secret.New("late")}}); len(events) > 0 {
		t.Errorf("it was kept: %v", events)
	}
	// Somebody puts the purged row back: the new journal says otherwise.
	present, err := backend.Get(t.Context(), row.Key)
	if err != nil {
		t.Fatal(err)
	}
	putBack(t, backend, present.Version, row)
	if _, err := s.Grant(t.Context(), old.ID); !errors.Is(err, storage.ErrRolledBack) {
		t.Errorf("the purged row is taken for the grant: %v", err)
	}
}

// putBack replaces a record alone; its journal stays as it is.
func putBack(t *testing.T, b *memstore.Store, present storage.Version, row storage.Item) {
	t.Helper()
	entries, err := b.Events(t.Context(), row.Key.ID, 64)
	if err != nil {
		t.Fatal(err)
	}
	for i, j := 0, len(entries)-1; i < j; i, j = i+1, j-1 {
		entries[i], entries[j] = entries[j], entries[i]
	}
	if err := b.Swap(t.Context(), []storage.Change{{Old: present, Item: storage.Item{Key: row.Key}, Delete: true}}, nil); err != nil {
		t.Fatal(err)
	}
	if err := b.Load(t.Context(), []storage.Item{row}, entries); err != nil {
		t.Fatal(err)
	}
}

// The first consent of a store in which nothing was purged begins as ever.
func TestWithoutAPurgeNumbersBeginAtOne(t *testing.T) {
	s := openStore(t, testConfig(t))
	g, err := s.NewGrant(t.Context(), address(t, "acme/automation/jira"))
	if err != nil {
		t.Fatal(err)
	}
	if g = consented(g); g.State.Generation != 1 || g.State.Fence != 1 {
		t.Errorf("generation %d, fence %d", g.State.Generation, g.State.Fence)
	}
}

// A purge whose files were not collected yet is remembered over a restart.
func TestWhatIsToBeCollectedSurvivesARestart(t *testing.T) {
	cfg := testConfig(t)
	asked := 0
	cfg.Backend = func(dir string, key []byte) (storage.Backend, error) {
		inner, err := badgerstore.Opener(badgerstore.Options{})(dir, key)
		if err != nil {
			return nil, err
		}
		return &collecting{Store: inner.(*badgerstore.Store), asked: &asked}, nil
	}
	s, err := storage.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	g := fullGrant(t, "acme/automation/jira")
	if err := s.Swap(t.Context(), storage.Update{Grant: &g}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.PurgeGrant(t.Context(), &g, nil, time.Hour); err != nil {
		t.Fatal(err)
	}
	if all, err := s.CollectPurged(t.Context()); all || err != nil {
		t.Fatalf("collected: %v, %v", all, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, cfg)
	if all, err := s.CollectPurged(t.Context()); !all || err != nil || asked != 2 {
		t.Errorf("collected: %v, %v, asked %d times", all, err, asked)
	}
}

// collecting fails at its first collection.
type collecting struct {
	*badgerstore.Store
	asked *int
}

func (c *collecting) Collect(_ context.Context, gone []storage.Key) (bool, error) {
	*c.asked++
	return *c.asked > 1 && len(gone) == 1, nil
}

// A purge remembers the ids of the consents that it deleted for as long as their
// links are good, over a restart and other purges, and no longer.
func TestDeletedConsentsAreRememberedWhileTheirLinksAreGood(t *testing.T) {
	cfg := testConfig(t)
	cfg.Backend = memstore.New().Opener()
	now := at
	cfg.Now = func() time.Time { return now }
	s, err := storage.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	purge := func(text, id string, made time.Time) {
		t.Helper()
		g, c := fullGrant(t, text), vectorConsent()
		c.ID, c.Address, c.CreatedAt = id, g.Address, made
		if err := s.Swap(t.Context(), storage.Update{Grant: &g, Consent: &c}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.PurgeGrant(t.Context(), &g, []storage.Consent{c}, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	spent := func(want map[string]bool) {
		t.Helper()
		for id, ok := range want {
			if got, err := s.Spent(t.Context(), id); err != nil || got != ok {
				t.Errorf("%s at %v: spent %v, %v; want %v", id, now.Sub(at), got, err, ok)
			}
		}
	}
	purge("acme/a/jira", "cns_old", at.Add(-2*time.Hour))
	purge("acme/b/jira", "cns_young", at)
	spent(map[string]bool{"cns_old": false, "cns_young": true, "cns_other": false})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	now = at.Add(time.Hour)
	s = openStore(t, cfg)
	purge("acme/c/jira", "cns_new", now)
	spent(map[string]bool{"cns_young": true, "cns_new": true})
	now = at.Add(2 * time.Hour)
	purge("acme/d/jira", "cns_last", now)
	spent(map[string]bool{"cns_young": false, "cns_new": true, "cns_last": true})
}
