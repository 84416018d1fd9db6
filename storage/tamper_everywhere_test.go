package storage_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// meddler changes what is in a backend behind its store's back.
type meddler struct {
	*storage.Store
	t *testing.T
	b storage.Backend
}

// meddled is a store with two grants of two generations each, and what the rows
// and journals were at the first.
func meddled(t *testing.T, cfg storage.Config) (m *meddler, a, b storage.Grant, old storage.Item, oldJournal []storage.Entry) {
	t.Helper()
	cfg, backend := tapped(cfg)
	m = &meddler{Store: openStore(t, cfg), t: t}
	m.b = *backend
	swap := func(g *storage.Grant) {
		t.Helper()
		g.State.Fence++
		g.State.Generation++
		e := family.Event{Type: family.EventSettled, At: at, Generation: g.State.Generation, Fence: g.State.Fence}
		if err := m.Swap(t.Context(), storage.Update{Grant: g, Events: []family.Event{e}}); err != nil {
			t.Fatal(err)
		}
	}
	a, b = fullGrant(t, "acme/automation/jira"), fullGrant(t, "evil/automation/jira")
	swap(&a)
	swap(&b)
	old, oldJournal = m.row(a.ID)
	swap(&a)
	swap(&b)
	return m, a, b, old, oldJournal
}

// row is a grant's record with its journal, oldest first.
func (m *meddler) row(id string) (storage.Item, []storage.Entry) {
	m.t.Helper()
	it, err1 := m.b.Get(m.t.Context(), storage.Key{Kind: storage.KindGrant, ID: id})
	entries, err2 := m.b.Events(m.t.Context(), id, storage.JournalLength)
	if err := errors.Join(err1, err2); err != nil {
		m.t.Fatal(err)
	}
	slices.Reverse(entries)
	return it, entries
}

// put replaces a record and its journal.
func (m *meddler) put(it storage.Item, entries []storage.Entry) {
	m.t.Helper()
	if was, err := m.b.Get(m.t.Context(), it.Key); err == nil {
		c := storage.Change{Old: was.Version, Item: storage.Item{Key: it.Key}, Delete: true}
		if err := m.b.Swap(m.t.Context(), []storage.Change{c}, nil); err != nil {
			m.t.Fatal(err)
		}
	}
	if err := m.b.(storage.Loader).Load(m.t.Context(), []storage.Item{it}, entries); err != nil {
		m.t.Fatal(err)
	}
}

// wantRefused wants the grant to be refused, named and counted, and left out of listings.
func (m *meddler) wantRefused(what, id string) {
	m.t.Helper()
	before := m.Refused()
	_, err := m.Grant(m.t.Context(), id)
	if !errors.Is(err, storage.ErrCorrupt) && !errors.Is(err, storage.ErrUnavailable) {
		m.t.Errorf("%s: got %v, want it refused", what, err)
		return
	}
	if errors.Is(err, storage.ErrCorrupt) {
		if !bytes.Contains([]byte(err.Error()), []byte(id)) || !slices.Contains(m.Damaged(), id) {
			m.t.Errorf("%s: %v names it not, damaged are %v", what, err, m.Damaged())
		}
		if m.Refused() == before {
			m.t.Errorf("%s: it was not counted", what)
		}
	}
}

func TestAWholeRowOfAnotherGrantOrOfAnOlderGenerationIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, cfg storage.Config) {
		m, a, b, old, oldJournal := meddled(t, cfg)
		rowA, journalA := m.row(a.ID)
		rowB, journalB := m.row(b.ID)
		as := func(id string, it storage.Item, entries []storage.Entry) (storage.Item, []storage.Entry) {
			it.Key.ID = id
			entries = slices.Clone(entries)
			for i := range entries {
				entries[i].GrantID = id
			}
			return it, entries
		}
		row, journal := as(b.ID, rowA, journalA)
		for _, c := range []struct {
			name    string
			row     storage.Item
			journal []storage.Entry
		}{
			{"another grant's row and journal", row, journal},
			{"another grant's row", row, journalB},
			{"another grant's row without a journal", row, nil},
			{"another grant's journal", rowB, journal},
		} {
			m.put(c.row, c.journal)
			m.wantRefused(c.name, b.ID)
			if g, err := m.Grant(t.Context(), a.ID); err != nil || g.Version != a.Version {
				t.Errorf("%s: the other grant: %v", c.name, err)
			}
		}
		m.put(rowB, journalB)
		if _, err := m.Grant(t.Context(), b.ID); err != nil {
			t.Errorf("put back whole: %v", err)
		}

		m.put(old, journalA)
		m.wantRefused("an older generation's row", a.ID)
		if _, err := m.Grant(t.Context(), a.ID); !errors.Is(err, storage.ErrRolledBack) {
			t.Errorf("an older generation's row: got %v, want %v", err, storage.ErrRolledBack)
		}
		// An older seal under a newer public part, and the other way round.
		mixed := rowA
		mixed.Sealed = old.Sealed
		m.put(mixed, journalA)
		m.wantRefused("an older generation's sealed part", a.ID)
		mixed = rowA
		mixed.Public = old.Public
		m.put(mixed, oldJournal)
		m.wantRefused("an older generation's public part", a.ID)
		mixed = old
		mixed.Version = rowA.Version
		m.put(mixed, journalA)
		m.wantRefused("an older generation's row under the new version", a.ID)
	})
}

func TestAFlippedBitAnywhereInARecordIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, cfg storage.Config) {
		m, a, _, _, _ := meddled(t, cfg)
		row, journal := m.row(a.ID)
		// The sealed part, its format and its key's id included.
		last := row.Sealed
		for i := range row.Sealed {
			bad := bytes.Clone(row.Sealed)
			bad[i] ^= 1 << (i % 8)
			if err := m.b.Reseal(t.Context(), []storage.Reseal{{Key: row.Key, Was: last, Now: bad}}); err != nil {
				t.Fatal(err)
			}
			last = bad
			m.wantRefused(fmt.Sprintf("sealed byte %d of %d", i, len(bad)), a.ID)
		}
		for i := range row.Public {
			it := row
			it.Public = bytes.Clone(row.Public)
			it.Public[i] ^= 1 << (i % 8)
			m.put(it, journal)
			m.wantRefused(fmt.Sprintf("public byte %d of %d", i, len(it.Public)), a.ID)
		}
		m.put(row, journal)
		newest := journal[len(journal)-1]
		seq := len(journal)
		last = newest.Sealed
		for i := range newest.Sealed {
			bad := bytes.Clone(newest.Sealed)
			bad[i] ^= 1 << (i % 8)
			if err := m.b.Reseal(t.Context(), []storage.Reseal{{Key: row.Key, Seq: uint64(seq), Was: last, Now: bad}}); err != nil {
				t.Fatal(err)
			}
			last = bad
			m.wantRefused(fmt.Sprintf("journal byte %d of %d", i, len(bad)), a.ID)
		}
		m.put(row, journal)
		if _, err := m.Grant(t.Context(), a.ID); err != nil {
			t.Errorf("put back whole: %v", err)
		}
	})
}

func TestAFlippedBitAnywhereInTheRingIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, cfg storage.Config) {
		cfg, backend := tapped(cfg)
		s, err := storage.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		m := &meddler{Store: s, t: t, b: *backend}
		whole, err := m.b.Get(t.Context(), storage.Key{Kind: storage.KindRing, ID: "ring"})
		if err != nil {
			t.Fatal(err)
		}
		// A rotation reads the ring as it is stored: so the store need not be opened each time.
		other := whole
		other.Version++
		step := func(what string, edit func(*storage.Item)) {
			it := other
			it.Sealed, it.Public = bytes.Clone(whole.Sealed), bytes.Clone(whole.Public)
			edit(&it)
			m.put(it, nil)
			if _, err := s.BeginKeyRotation(t.Context()); !errors.Is(err, storage.ErrCorrupt) || !bytes.Contains([]byte(err.Error()), []byte("the key ring")) {
				t.Errorf("%s: got %v, want it refused by name", what, err)
			}
		}
		for i := range whole.Sealed {
			step(fmt.Sprintf("sealed byte %d", i), func(it *storage.Item) { it.Sealed[i] ^= 1 << (i % 8) })
		}
		for i := range whole.Public {
			step(fmt.Sprintf("public byte %d", i), func(it *storage.Item) { it.Public[i] ^= 1 << (i % 8) })
		}
		step("the version alone", func(*storage.Item) {})
		broken := whole
		broken.Sealed = bytes.Clone(whole.Sealed)
		broken.Sealed[len(broken.Sealed)/2] ^= 1
		m.put(broken, nil)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := storage.Open(t.Context(), cfg); !errors.Is(err, storage.ErrCorrupt) || !bytes.Contains([]byte(err.Error()), []byte("the key ring")) {
			t.Errorf("opening with a changed ring: %v", err)
		}
	})
}

func TestAFlippedBitAnywhereInTheHeaderIsRefusedOrSaysTheSame(t *testing.T) {
	cfg, _ := closedStore(t)
	file := filepath.Join(cfg.Dir, storage.HeaderFile)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := headerFields(t, whole)
	same := 0
	for i := range whole {
		for bit := range 8 {
			bad := bytes.Clone(whole)
			bad[i] ^= 1 << bit
			if err := os.WriteFile(file, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := storage.Look(t.Context(), cfg); err == nil {
				// Another spelling of the same: the case of a field's name, blanks,
				// the unused bits of base64.
				same++
				if d := cmp.Diff(want, headerFields(t, bad)); d != "" {
					t.Errorf("bit %d of byte %d was taken (-want +got):\n%s", bit, i, d)
				}
			}
		}
	}
	if same > len(whole) {
		t.Errorf("%d of %d changes were taken", same, 8*len(whole))
	}
	if err := os.WriteFile(file, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := storage.Look(t.Context(), cfg); err != nil {
		t.Errorf("put back whole: %v", err)
	}
}

// headerFields decodes what a header says.
func headerFields(t *testing.T, b []byte) any {
	t.Helper()
	var h struct {
		Format      int
		StoreID     string `json:"store_id"`
		Environment string
		Provider    string
		KEKID       string    `json:"kek_id"`
		WrappedRoot []byte    `json:"wrapped_root_key"`
		CreatedAt   time.Time `json:"created_at"`
		RestoredAt  time.Time `json:"restored_at"`
		Finding     string
		MAC         []byte
	}
	if err := json.Unmarshal(b, &h); err != nil {
		t.Fatal(err)
	}
	return h
}
