package storetest

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/storage"
)

func testRoundTrip(t *testing.T, b storage.Backend) {
	for _, want := range []storage.Item{
		{Key: grantKey("full"), Public: []byte("p\x00p"), Sealed: bytes.Repeat([]byte{0, 255}, 100), Due: epoch},
		{Key: grantKey("no due"), Public: []byte("p"), Sealed: []byte("s")},
		{Key: grantKey("nothing sealed"), Public: []byte("p"), Sealed: []byte{}},
		{Key: storage.Key{Kind: storage.KindConsent, ID: "full"}, Public: []byte("consent"), Sealed: []byte("other kind, same id")},
		{Key: storage.Key{Kind: storage.KindApp, ID: "app"}, Public: []byte("app"), Sealed: []byte("x")},
		{Key: storage.Key{Kind: storage.KindRing, ID: "ring"}, Public: []byte("ring"), Sealed: []byte("x")},
		{Key: storage.Key{Kind: storage.KindMeta, ID: "clock"}, Public: []byte("meta"), Sealed: []byte("x")},
	} {
		mustSwap(t, b, []storage.Change{{Item: want}})
		want.Version = 1
		got, err := b.Get(t.Context(), want.Key)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("record (-want +got):\n%s", d)
		}
	}
	if err := b.Health(t.Context()); err != nil {
		t.Errorf("Health: %v", err)
	}
}

func testNotFound(t *testing.T, b storage.Backend) {
	put(t, b, "ab", 0)
	wantVersion(t, b, "a", 0)
	_, err := b.Get(t.Context(), storage.Key{Kind: storage.KindConsent, ID: "ab"})
	wantErr(t, "reading the id under another kind", err, storage.ErrNotFound)
	wantJournal(t, b, "ab", 64)
}

// testNewest is about backends that are a storage.Snapshotter.
func testNewest(t *testing.T, b storage.Backend) {
	s, ok := b.(storage.Snapshotter)
	if !ok {
		return
	}
	_, _, err := s.Newest(t.Context(), "g")
	wantErr(t, "reading what does not exist", err, storage.ErrNotFound)
	for v, texts := range [][]string{nil, {"one", "two"}, {"three"}} {
		mustSwap(t, b, []storage.Change{change("g", storage.Version(v))}, entries("g", texts...)...)
		got, newest, err := s.Newest(t.Context(), "g")
		if err != nil {
			t.Fatal(err)
		}
		want, err := b.Get(t.Context(), grantKey("g"))
		if err != nil {
			t.Fatal(err)
		}
		journal, err := b.Events(t.Context(), "g", 1)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("record (-Get +Newest):\n%s", d)
		}
		if d := cmp.Diff(journal, newest); d != "" {
			t.Errorf("journal (-Events +Newest):\n%s", d)
		}
	}
}

func testConflict(t *testing.T, b storage.Backend) {
	swap := func(c storage.Change) error { return b.Swap(t.Context(), []storage.Change{c}, entries("g", "never")) }
	wantErr(t, "changing what does not exist", swap(change("g", 1)), storage.ErrConflict)
	wantVersion(t, b, "g", 0)
	put(t, b, "g", 0)
	put(t, b, "g", 1)
	for name, old := range map[string]storage.Version{"creating what exists": 0, "from the version before": 1, "from a version to come": 3} {
		c := change("g", old)
		wantErr(t, name, swap(c), storage.ErrConflict)
		c.Delete = true
		wantErr(t, "deleting "+name, swap(c), storage.ErrConflict)
	}
	wantVersion(t, b, "g", 2)
	wantJournal(t, b, "g", 64)
}

func testAtomic(t *testing.T, b storage.Backend) {
	consent := change("g", 0)
	consent.Item.Key.Kind = storage.KindConsent
	all := append(entries("g", "g1", "g2"), entries("h", "h1")...)
	mustSwap(t, b, []storage.Change{change("g", 0), change("h", 0), consent}, all...)
	wantVersion(t, b, "g", 1)
	wantVersion(t, b, "h", 1)
	wantJournal(t, b, "g", 64, "g2", "g1")
	wantJournal(t, b, "h", 64, "h1")

	moved := change("g", 1)
	moved.Item.Due = epoch
	err := b.Swap(t.Context(), []storage.Change{moved, change("new", 0), change("h", 0)}, entries("g", "g3"))
	wantErr(t, "one stale record of three", err, storage.ErrConflict)
	wantVersion(t, b, "g", 1)
	wantVersion(t, b, "new", 0)
	wantJournal(t, b, "g", 64, "g2", "g1")
	if ids := list(t, b, storage.Query{Kind: storage.KindGrant, DueBefore: epoch.Add(time.Hour), Limit: 10}); len(ids) > 0 {
		t.Errorf("the due index has %v of a swap that conflicted", ids)
	}
}

func testDelete(t *testing.T, b storage.Backend) {
	c := change("g", 0)
	c.Item.Due = epoch
	mustSwap(t, b, []storage.Change{c}, entries("g", "1", "2")...)
	put(t, b, "gg", 0)
	mustSwap(t, b, []storage.Change{{Old: 1, Item: storage.Item{Key: grantKey("g")}, Delete: true}})
	wantVersion(t, b, "g", 0)
	wantVersion(t, b, "gg", 1)
	wantJournal(t, b, "g", 64)
	if ids := list(t, b, storage.Query{Kind: storage.KindGrant, DueBefore: epoch.Add(time.Hour), Limit: 10}); len(ids) > 0 {
		t.Errorf("the due index still has %v", ids)
	}
	mustSwap(t, b, []storage.Change{change("g", 0)}, entries("g", "anew")...)
	wantVersion(t, b, "g", 1)
	wantJournal(t, b, "g", 64, "anew")
}

// A record that is made anew goes on above a floor: who still holds the deleted
// one's version must not be taken for its reader.
func testFloor(t *testing.T, b storage.Backend) {
	put(t, b, "g", 0)
	put(t, b, "g", 1)
	mustSwap(t, b, []storage.Change{{Old: 2, Item: storage.Item{Key: grantKey("g")}, Delete: true}})
	anew := change("g", 5)
	anew.Old, anew.Floor = 0, 5
	mustSwap(t, b, []storage.Change{anew}, entries("g", "anew")...)
	wantVersion(t, b, "g", 6)
	for old := storage.Version(0); old < 6; old++ {
		c := change("g", old)
		c.Floor = 9
		wantErr(t, "a late writer", b.Swap(t.Context(), []storage.Change{c}, entries("g", "late")), storage.ErrConflict)
	}
	next := change("g", 6)
	next.Floor = 9 // says nothing about a record that is there
	mustSwap(t, b, []storage.Change{next})
	wantVersion(t, b, "g", 7)
	wantJournal(t, b, "g", 64, "anew")
}

func testCheck(t *testing.T, b storage.Backend) {
	put(t, b, "ring", 0)
	put(t, b, "ring", 1)
	check := func(id string, old storage.Version) storage.Change {
		return storage.Change{Old: old, Item: storage.Item{Key: grantKey(id)}, Check: true}
	}
	mustSwap(t, b, []storage.Change{change("g", 0), check("ring", 2), check("none", 0)}, entries("g", "1")...)
	wantVersion(t, b, "g", 1)
	wantVersion(t, b, "ring", 2)
	wantVersion(t, b, "none", 0)
	for name, c := range map[string]storage.Change{"an older one": check("ring", 1), "a newer one": check("ring", 3), "none": check("ring", 0), "one that is not there": check("none", 1)} {
		err := b.Swap(t.Context(), []storage.Change{change("g", 1), c}, entries("g", "never"))
		wantErr(t, "checking for "+name, err, storage.ErrConflict)
	}
	wantVersion(t, b, "g", 1)
	wantJournal(t, b, "g", 64, "1")
	// Many at once check what one of them changes.
	errs := all(16, func(i int) error {
		if i == 7 {
			return b.Swap(t.Context(), []storage.Change{change("ring", 2)}, nil)
		}
		return b.Swap(t.Context(), []storage.Change{change(fmt.Sprint("at once", i), 0), check("ring", 2)}, nil)
	})
	for i, err := range errs {
		if i != 7 && err != nil {
			wantErr(t, "a swap beside the change of what it checks", err, storage.ErrConflict)
			wantVersion(t, b, fmt.Sprint("at once", i), 0)
		}
	}
	wantVersion(t, b, "ring", 3)
}

// Records of other kinds are deleted in the same swap, and the commits go on
// being numbered; a backend that collects its files is done with what it deleted.
func testPurge(t *testing.T, b storage.Backend) {
	consent := storage.Key{Kind: storage.KindConsent, ID: "c"}
	mustSwap(t, b, []storage.Change{change("g", 0), {Item: storage.Item{Key: consent, Public: []byte("p")}}}, entries("g", "1", "2")...)
	sequence := func() uint64 {
		s, ok := b.(storage.Sequencer)
		if !ok {
			return 0
		}
		n, err := s.Sequence(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := sequence()
	stale := []storage.Change{{Old: 1, Item: storage.Item{Key: grantKey("g")}, Delete: true}, {Old: 7, Item: storage.Item{Key: consent}, Delete: true}}
	wantErr(t, "deleting one of two at another version", b.Swap(t.Context(), stale, nil), storage.ErrConflict)
	wantVersion(t, b, "g", 1)
	wantJournal(t, b, "g", 64, "2", "1")
	stale[1].Old = 1
	mustSwap(t, b, stale)
	wantVersion(t, b, "g", 0)
	wantJournal(t, b, "g", 64)
	_, err := b.Get(t.Context(), consent)
	wantErr(t, "reading the deleted consent", err, storage.ErrNotFound)
	if _, ok := b.(storage.Sequencer); ok && sequence() <= before {
		t.Errorf("the deletion has number %d, after %d", sequence(), before)
	}
	if c, ok := b.(storage.Collector); ok {
		if all, err := c.Collect(t.Context(), []storage.Key{grantKey("g"), consent}); !all || err != nil {
			t.Errorf("collected: %v, %v", all, err)
		}
	}
}

func testBig(t *testing.T, b storage.Backend) {
	c := change("big", 0)
	c.Item.Sealed = bytes.Repeat([]byte("64 KiB tokens, two alternates, and then some. "), 20_000)
	mustSwap(t, b, []storage.Change{c})
	got, err := b.Get(t.Context(), c.Item.Key)
	if err != nil || !bytes.Equal(got.Sealed, c.Item.Sealed) {
		t.Errorf("%d bytes came back as %d, error %v", len(c.Item.Sealed), len(got.Sealed), err)
	}
}

func testAliasing(t *testing.T, b storage.Backend) {
	c, es := change("g", 0), entries("g", "entry")
	mustSwap(t, b, []storage.Change{c}, es...)
	for _, s := range [][]byte{c.Item.Public, c.Item.Sealed, es[0].Sealed} {
		clear(s)
	}
	got, err := b.Get(t.Context(), grantKey("g"))
	if err != nil {
		t.Fatal(err)
	}
	clear(got.Public)
	clear(got.Sealed)
	if page, err := b.List(t.Context(), storage.Query{Kind: storage.KindGrant, Limit: 1}); err == nil && len(page) == 1 {
		clear(page[0].Sealed)
	}
	wantVersion(t, b, "g", 1)
	wantJournal(t, b, "g", 1, "entry")
}

func testLoad(t *testing.T, b storage.Backend) {
	l, ok := b.(storage.Loader)
	if !ok {
		t.Fatalf("%T is no storage.Loader, so that no backup can be restored into it", b)
	}
	it := change("g", 6).Item
	it.Version, it.Due = 7, epoch
	if err := l.Load(t.Context(), []storage.Item{it}, entries("g", "1", "2")); err != nil {
		t.Fatal(err)
	}
	wantVersion(t, b, "g", 7)
	wantJournal(t, b, "g", 64, "2", "1")
	if d := cmp.Diff([]string{"g"}, list(t, b, storage.Query{Kind: storage.KindGrant, DueBefore: epoch.Add(1), Limit: 10})); d != "" {
		t.Errorf("due index (-want +got):\n%s", d)
	}
	wantErr(t, "loading it again", l.Load(t.Context(), []storage.Item{it}, nil), storage.ErrConflict)
	put(t, b, "g", 7)
	wantVersion(t, b, "g", 8)
}
