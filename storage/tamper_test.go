package storage_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/broker/family"
	storagev1 "github.com/holdfast-io/holdfast/proto/holdfast/storage/v1"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
)

// tampered is a store over a backend whose records a test changes behind its back.
type tampered struct {
	*storage.Store
	t       *testing.T
	cfg     storage.Config
	backend *memstore.Store
}

func newTampered(t *testing.T) *tampered {
	t.Helper()
	b := memstore.New()
	cfg := testConfig(t)
	cfg.Backend = b.Opener()
	return &tampered{openStore(t, cfg), t, cfg, b}
}

func (s *tampered) put(g storage.Grant, events ...family.Event) storage.Grant {
	s.t.Helper()
	if err := s.Swap(s.t.Context(), storage.Update{Grant: &g, Events: events}); err != nil {
		s.t.Fatal(err)
	}
	return g
}

func (s *tampered) item(kind storage.Kind, id string) storage.Item {
	s.t.Helper()
	it, err := s.backend.Get(s.t.Context(), storage.Key{Kind: kind, ID: id})
	if err != nil {
		s.t.Fatal(err)
	}
	return it
}

// replace puts a record in the place of whatever is under its key, and with
// it, if entries is not nil, the grant's journal, given newest first.
func (s *tampered) replace(it storage.Item, entries []storage.Entry) {
	s.t.Helper()
	if entries == nil {
		var err error
		if entries, err = s.backend.Events(s.t.Context(), it.Key.ID, storage.JournalLength); err != nil {
			s.t.Fatal(err)
		}
	}
	if old, err := s.backend.Get(s.t.Context(), it.Key); err == nil {
		c := storage.Change{Old: old.Version, Item: storage.Item{Key: it.Key}, Delete: true}
		if err := s.backend.Swap(s.t.Context(), []storage.Change{c}, nil); err != nil {
			s.t.Fatal(err)
		}
	}
	var oldestFirst []storage.Entry
	for i := range entries {
		oldestFirst = append(oldestFirst, entries[len(entries)-1-i])
	}
	if err := s.backend.Load(s.t.Context(), []storage.Item{it}, oldestFirst); err != nil {
		s.t.Fatal(err)
	}
}

// wantCorrupt checks that err is ErrCorrupt and says each of the phrases.
func wantCorrupt(t *testing.T, what string, err error, phrases ...string) {
	t.Helper()
	if !errors.Is(err, storage.ErrCorrupt) {
		t.Errorf("%s: got %v, want %v", what, err, storage.ErrCorrupt)
		return
	}
	for _, p := range append(phrases, "holdfast restore", "nothing was changed") {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%s: the error %q lacks %q", what, err, p)
		}
	}
	for _, canary := range []string{"access-token-canary", "refresh-token-canary"} {
		if strings.Contains(err.Error(), canary) {
			t.Errorf("%s: the error %q tells a token", what, err)
		}
	}
}

func TestARecordMovedUnderAnotherKeyIsRefused(t *testing.T) {
	s := newTampered(t)
	a, b := s.put(fullGrant(t, "acme/automation/jira")), s.put(fullGrant(t, "evil/automation/jira"))
	moved := s.item(storage.KindGrant, a.ID)
	moved.Key.ID = b.ID
	s.replace(moved, nil)
	_, err := s.Grant(t.Context(), b.ID)
	wantCorrupt(t, "moved", err, "grant acme/automation/jira ("+b.ID+")", "the record of "+a.ID)

	// The same with a public part that fits the new key.
	fits := s.item(storage.KindGrant, a.ID)
	fits.Key.ID = b.ID
	fits.Public = editPublic(t, fits.Public, func(p *storagev1.GrantPublic) { p.Id, p.Address.Tenant = b.ID, "evil" })
	s.replace(fits, nil)
	_, err = s.Grant(t.Context(), b.ID)
	wantCorrupt(t, "moved and readdressed", err, "grant evil/automation/jira")
}

func editPublic(t *testing.T, public []byte, edit func(*storagev1.GrantPublic)) []byte {
	t.Helper()
	var p storagev1.GrantPublic
	if err := proto.Unmarshal(public, &p); err != nil {
		t.Fatal(err)
	}
	edit(&p)
	b, err := proto.Marshal(&p)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnEditedPublicPartIsRefused(t *testing.T) {
	s := newTampered(t)
	g := fullGrant(t, "acme/automation/jira")
	g.State.Phase = family.Revoked
	g = s.put(g)
	whole := s.item(storage.KindGrant, g.ID)
	for name, edit := range map[string]func(*storagev1.GrantPublic){
		"revoked to active": func(p *storagev1.GrantPublic) { p.Phase = storagev1.Phase_PHASE_ACTIVE },
		"app":               func(p *storagev1.GrantPublic) { p.App = "another" },
		"account":           func(p *storagev1.GrantPublic) { p.Account = "" },
		"generation":        func(p *storagev1.GrantPublic) { p.Generation-- },
		"fence":             func(p *storagev1.GrantPublic) { p.Fence++ },
		"due":               func(p *storagev1.GrantPublic) { p.Due = nil },
		"address":           func(p *storagev1.GrantPublic) { p.Address.Product = "confluence" },
	} {
		it := whole
		it.Public = editPublic(t, whole.Public, edit)
		s.replace(it, nil)
		_, err := s.Grant(t.Context(), g.ID)
		wantCorrupt(t, name, err, "grant acme/automation/")
	}
	it := whole
	it.Public = append(it.Public, 0x98, 0x06, 0x01) // field 99: means nothing to this program
	s.replace(it, nil)
	_, err := s.Grant(t.Context(), g.ID)
	wantCorrupt(t, "an unknown field added", err, "grant acme/automation/jira")

	it = whole
	it.Due = it.Due.Add(1)
	s.replace(it, nil)
	_, err = s.Grant(t.Context(), g.ID)
	wantCorrupt(t, "the index", err, "grant acme/automation/jira", "due time")

	s.replace(whole, nil)
	if _, err := s.Grant(t.Context(), g.ID); err != nil {
		t.Errorf("put back whole: %v", err)
	}
}

func TestAnEditedSealedPartOrVersionIsRefused(t *testing.T) {
	s := newTampered(t)
	g := s.put(fullGrant(t, "acme/automation/jira"))
	whole := s.item(storage.KindGrant, g.ID)
	for i := 0; i < len(whole.Sealed); i += 7 {
		it := whole
		it.Sealed = append([]byte(nil), whole.Sealed...)
		it.Sealed[i] ^= 0x80
		s.replace(it, nil)
		_, err := s.Grant(t.Context(), g.ID)
		if i == 0 { // the format's version
			if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "newer Holdfast") {
				t.Errorf("a newer format: %v", err)
			}
			continue
		}
		wantCorrupt(t, fmt.Sprintf("byte %d", i), err, "grant acme/automation/jira")
	}
	it := whole
	it.Version++
	s.replace(it, nil)
	_, err := s.Grant(t.Context(), g.ID)
	wantCorrupt(t, "version", err, "grant acme/automation/jira")
	it = whole
	it.Sealed = nil
	s.replace(it, nil)
	_, err = s.Grant(t.Context(), g.ID)
	wantCorrupt(t, "nothing sealed", err, "grant acme/automation/jira")
}

func TestAnOldRowPutBackIsFoundByItsJournal(t *testing.T) {
	s := newTampered(t)
	g := fullGrant(t, "acme/automation/jira")
	g.State.Fence = 1
	g = s.put(g, family.Event{Type: family.EventAnnounced, At: at, Fence: 1})
	old := s.item(storage.KindGrant, g.ID)
	g.State.Fence = 2
	g = s.put(g, family.Event{Type: family.EventAnnounced, At: at, Fence: 2})
	if _, err := s.Grant(t.Context(), g.ID); err != nil {
		t.Fatal(err)
	}
	s.replace(old, nil)
	_, err := s.Grant(t.Context(), g.ID)
	wantCorrupt(t, "the old row", err, "grant acme/automation/jira", "older than its journal", "fence 1", "fence 2")
	if !errors.Is(err, storage.ErrRolledBack) {
		t.Errorf("got %v, want %v", err, storage.ErrRolledBack)
	}
}

func TestAJournalEntryOfAnotherGrantOrOutOfOrderIsRefused(t *testing.T) {
	s := newTampered(t)
	a := s.put(fullGrant(t, "acme/automation/jira"), family.Event{Type: family.EventAnnounced, At: at})
	a = s.put(a, family.Event{Type: family.EventSettled, At: at})
	b := s.put(fullGrant(t, "acme/automation/confluence"), family.Event{Type: family.EventRevoked, At: at})
	ofA, err := s.backend.Events(t.Context(), a.ID, 64)
	if err != nil {
		t.Fatal(err)
	}
	s.replace(s.item(storage.KindGrant, a.ID), []storage.Entry{ofA[1], ofA[0]})
	_, err = s.Events(t.Context(), a.ID, 0)
	wantCorrupt(t, "out of order", err, "journal of grant "+a.ID, "out of order")

	ofA[0].GrantID, ofA[1].GrantID = b.ID, b.ID
	s.replace(s.item(storage.KindGrant, b.ID), ofA)
	_, err = s.Events(t.Context(), b.ID, 0)
	wantCorrupt(t, "of another grant", err, "journal entry", b.ID)
	_, err = s.Grant(t.Context(), b.ID)
	wantCorrupt(t, "the grant with that journal", err, "journal entry", "acme/automation/confluence")
}

func TestOtherRecordsAreBoundToTheirKeyToo(t *testing.T) {
	s := newTampered(t)
	for _, id := range []string{"con_1", "con_2"} {
		c := storage.Consent{ID: id, Status: storage.ConsentDenied, ExpiresAt: at}
		if err := s.Swap(t.Context(), storage.Update{Consent: &c}); err != nil {
			t.Fatal(err)
		}
		if err := s.SwapMeta(t.Context(), &storage.Meta{Name: id, Value: []byte(id)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range []storage.Kind{storage.KindConsent, storage.KindMeta} {
		it := s.item(kind, "con_1")
		it.Key.ID = "con_2"
		s.replace(it, nil)
	}
	_, err := s.Consent(t.Context(), "con_2")
	wantCorrupt(t, "a consent", err, "consent con_2", "con_1")
	_, err = s.Meta(t.Context(), "con_2")
	wantCorrupt(t, "a value", err, `"con_2"`)
}

func TestADamagedGrantDoesNotHideTheOthers(t *testing.T) {
	s := newTampered(t)
	s.put(fullGrant(t, "acme/a/jira"))
	bad := s.put(fullGrant(t, "acme/b/jira"))
	s.put(fullGrant(t, "acme/c/jira"))
	it := s.item(storage.KindGrant, bad.ID)
	it.Sealed[20] ^= 1
	s.replace(it, nil)
	page, err := s.Grants(t.Context(), storage.Filter{})
	if err != nil || len(page) != 2 {
		t.Errorf("%d grants listed, error %v; want 2", len(page), err)
	}
	if d := s.Damaged(); len(d) != 1 || d[0] != bad.ID {
		t.Errorf("damaged: %v, want %s", d, bad.ID)
	}
}
