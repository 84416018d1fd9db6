package storage_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/badgerstore"
	"github.com/holdfast-io/holdfast/storage/seal"
)

var at = time.Date(2026, 11, 1, 12, 0, 0, 123456789, time.UTC)

// testConfig is of a store in its own directory beside its KEK.
func testConfig(t testing.TB) storage.Config {
	t.Helper()
	base := t.TempDir()
	kek, err := seal.CreateFile(filepath.Join(base, "kek"))
	if err != nil {
		t.Fatal(err)
	}
	return storage.Config{
		Dir: filepath.Join(base, "store"), Environment: "test", Provider: "sim", KEK: kek,
		Backend: badgerstore.Opener(badgerstore.Options{}), Now: func() time.Time { return at },
		SpillSlots: 2,
	}
}

func openStore(t *testing.T, cfg storage.Config) *storage.Store {
	t.Helper()
	s, err := storage.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func address(t testing.TB, s string) storage.Address {
	t.Helper()
	a, err := storage.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// fullGrant has every field set.
func fullGrant(t testing.TB, addr string) storage.Grant {
	t.Helper()
	a := address(t, addr)
	access := family.Access{Token: secret.New("access-token-canary"), ExpiresAt: at.Add(time.Hour), Scopes: []string{"read:jira-work"}, Rejected: true}
	return storage.Grant{
		ID: a.GrantID(), Address: a, App: "jira-app", Account: "account-1", CreatedAt: at, Due: at.Add(50 * time.Minute),
		Sites: []storage.Site{{CloudID: "c-1", Name: "acme", URL: "https://acme.example", Scopes: []string{"read:jira-work"}}},
		State: family.State{
			Phase: family.Suspected, Generation: 7, FamilyFirst: 3, FamilyStarted: at.Add(-time.Hour), LastExchange: at.Add(-time.Minute),
			Refresh: secret.New("refresh-token-canary"), Access: access, Fence: 9,
			Attempt:    &family.Attempt{ID: "a-1", Fence: 9, Generation: 7, Kind: family.Repeat, FirstAnnounced: at, Announced: at.Add(time.Second), LeaseUntil: at.Add(time.Minute)},
			Doubt:      &family.Doubt{Generation: 7, FirstAnnounced: at, Repeats: 2, LastTry: at.Add(time.Minute)},
			Alternates: []family.Alternate{{Generation: 6, Refresh: secret.New("alternate-canary"), Access: access, At: at}},
			Reserves:   []family.Reserve{{Refresh: secret.New("reserve-canary"), Doubt: family.Doubt{Generation: 7, FirstAnnounced: at, Repeats: 3, LastTry: at.Add(time.Hour)}}},
			Former:     []family.Former{{Generation: 6, Fingerprint: "hf1:0123", DiesAt: at.Add(time.Minute)}},
			Suspicion:  &family.Suspicion{Refusals: 2, First: at, Last: at.Add(time.Second), Code: "unauthorized_client"},
			NotBefore:  at.Add(time.Second), Failures: 4, Lapse: family.LapseRefused, EndedAt: at.Add(2 * time.Second),
		},
		ReauthAllowed: true, ProviderRevocation: "UNVERIFIED",
	}
}

// equal compares secrets by their text and times by their instant.
var equal = cmp.Options{
	cmp.Comparer(func(a, b secret.String) bool { return a.Equal(b) }),
	cmpopts.EquateApproxTime(0),
}

func TestWhatIsStoredComesBackAfterReopening(t *testing.T) {
	cfg := testConfig(t)
	g := fullGrant(t, "acme/automation/jira")
	c := storage.Consent{
		ID: "con_1", Address: g.Address, App: "jira-app", Scopes: []string{"a", "b"}, Status: storage.ConsentConfirm,
		CreatedAt: at, ExpiresAt: at.Add(time.Hour), StartedBy: "onboarding", ReturnURL: "https://x.example/", StateHash: []byte{1, 2},
		CookieHash: []byte{3}, Verifier: secret.New("verifier-canary"), AttemptID: "a-2", Account: "account-1", Detail: "some detail",
		Pending: &storage.PendingFamily{
			Pair:       family.Pair{Refresh: secret.New("r"), Access: secret.New("a"), ExpiresIn: time.Hour, Scopes: []string{"s"}},
			ReceivedAt: at, Account: "account-1", Sites: g.Sites, LostScopes: []string{"x"}, LostSites: g.Sites,
		},
	}
	events := []family.Event{
		{Type: family.EventConsented, At: at, Generation: 7, Fence: 9, AttemptID: "a-1", Detail: "first"},
		{Type: family.EventAnnounced, At: at, Generation: 7, Fence: 9, AttemptID: "a-1"},
	}
	s, err := storage.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Swap(t.Context(), storage.Update{Grant: &g, Consent: &c, Events: events}); err != nil {
		t.Fatal(err)
	}
	if g.Version != 1 || c.Version != 1 {
		t.Fatalf("versions after the swap are %d and %d, want 1 and 1", g.Version, c.Version)
	}
	id := s.StoreID()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	s = openStore(t, cfg)
	if s.StoreID() != id || s.Epoch() != 2 {
		t.Errorf("reopened as %s in epoch %d, want %s in epoch 2", s.StoreID(), s.Epoch(), id)
	}
	got, err := s.Grant(t.Context(), g.ID)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(g, got, equal); d != "" {
		t.Errorf("grant (-stored +read):\n%s", d)
	}
	gotC, err := s.Consent(t.Context(), c.ID)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(c, gotC, equal); d != "" {
		t.Errorf("consent (-stored +read):\n%s", d)
	}
	gotE, err := s.Events(t.Context(), g.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]family.Event{events[1], events[0]}, gotE, equal); d != "" {
		t.Errorf("journal, newest first (-want +got):\n%s", d)
	}
}
