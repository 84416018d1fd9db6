package storetest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/storage"
)

func testList(t *testing.T, b storage.Backend) {
	var want []string
	for i := range 25 {
		id := fmt.Sprintf("g%d", i) // g1 is a prefix of g10: order is that of bytes
		put(t, b, id, 0)
		c := change(id, 0)
		c.Item.Key.Kind = storage.KindConsent
		c.Item.Key.ID = "c" + id
		mustSwap(t, b, []storage.Change{c})
		want = append(want, id)
	}
	slices.Sort(want)
	for _, limit := range []int{1, 5, 7, 25, 1000} {
		if d := cmp.Diff(want, list(t, b, storage.Query{Kind: storage.KindGrant, Limit: limit})); d != "" {
			t.Errorf("pages of %d (-want +got):\n%s", limit, d)
		}
	}
	if d := cmp.Diff(want[10:], list(t, b, storage.Query{Kind: storage.KindGrant, After: want[9], Limit: 4})); d != "" {
		t.Errorf("after %s (-want +got):\n%s", want[9], d)
	}
	// A page goes on where it ended although that record has gone.
	mustSwap(t, b, []storage.Change{{Old: 1, Item: storage.Item{Key: grantKey(want[9])}, Delete: true}})
	if d := cmp.Diff(want[10:], list(t, b, storage.Query{Kind: storage.KindGrant, After: want[9], Limit: 4})); d != "" {
		t.Errorf("after the deleted %s (-want +got):\n%s", want[9], d)
	}
	page, err := b.List(t.Context(), storage.Query{Kind: storage.KindGrant, Limit: 1})
	if err != nil || len(page) != 1 || page[0].Version != 1 || string(page[0].Sealed) != "sealed g0@1" || string(page[0].Public) != "public g0@1" {
		t.Errorf("a listed record came as %+v, error %v", page, err)
	}
	if _, err := b.List(t.Context(), storage.Query{Kind: storage.KindGrant}); err == nil {
		t.Error("a listing without a limit succeeded")
	}
}

func putDue(t *testing.T, b storage.Backend, id string, old storage.Version, due time.Time) {
	t.Helper()
	c := change(id, old)
	c.Item.Due = due
	mustSwap(t, b, []storage.Change{c})
}

func testDue(t *testing.T, b storage.Backend) {
	putDue(t, b, "late", 0, epoch.Add(time.Hour))
	putDue(t, b, "never", 0, time.Time{})
	putDue(t, b, "same b", 0, epoch)
	putDue(t, b, "same a", 0, epoch)
	putDue(t, b, "nanosecond later", 0, epoch.Add(1))
	putDue(t, b, "before 1970", 0, time.Date(1969, 12, 31, 23, 59, 59, 999, time.UTC))
	putDue(t, b, "far", 0, epoch.AddDate(200, 0, 0))
	for _, row := range []struct {
		before time.Time
		want   []string
	}{
		{epoch, []string{"before 1970"}},
		{epoch.Add(1), []string{"before 1970", "same a", "same b"}},
		{epoch.Add(time.Hour), []string{"before 1970", "same a", "same b", "nanosecond later"}},
		{epoch.AddDate(300, 0, 0), []string{"before 1970", "same a", "same b", "nanosecond later", "late", "far"}},
	} {
		for _, limit := range []int{1, 2, 3, 100} {
			got := list(t, b, storage.Query{Kind: storage.KindGrant, DueBefore: row.before, Limit: limit})
			if d := cmp.Diff(row.want, got); d != "" {
				t.Errorf("due before %s in pages of %d (-want +got):\n%s", row.before, limit, d)
			}
		}
	}
}

func testDueMoves(t *testing.T, b storage.Backend) {
	q := storage.Query{Kind: storage.KindGrant, DueBefore: epoch.Add(time.Hour), Limit: 10}
	putDue(t, b, "a", 0, epoch)
	putDue(t, b, "b", 0, epoch.Add(time.Minute))
	putDue(t, b, "a", 1, epoch.Add(2*time.Minute))
	putDue(t, b, "b", 1, epoch.Add(time.Minute)) // unchanged
	if d := cmp.Diff([]string{"b", "a"}, list(t, b, q)); d != "" {
		t.Errorf("after a moved back (-want +got):\n%s", d)
	}
	putDue(t, b, "b", 2, time.Time{})
	if d := cmp.Diff([]string{"a"}, list(t, b, q)); d != "" {
		t.Errorf("after b lost its due time (-want +got):\n%s", d)
	}
	// Whoever handles a page moves its records away; the next page must not skip any.
	putDue(t, b, "c", 0, epoch)
	q.After = "b"
	if d := cmp.Diff([]string{"c", "a"}, list(t, b, q)); d != "" {
		t.Errorf("after a record that left the index (-want +got):\n%s", d)
	}
}

func testJournal(t *testing.T, b storage.Backend) {
	put(t, b, "g", 0)
	put(t, b, "gg", 0)
	mustSwap(t, b, nil, entries("gg", "other")...)
	var want []string
	for i := range storage.JournalLength + 10 {
		text := fmt.Sprintf("entry %d", i)
		want = append(want, text)
		mustSwap(t, b, []storage.Change{change("g", storage.Version(i+1))}, entries("g", text)...)
	}
	slices.Reverse(want)
	want = want[:storage.JournalLength]
	wantJournal(t, b, "g", storage.JournalLength, want...)
	wantJournal(t, b, "g", 1000, want...)
	wantJournal(t, b, "g", 3, want[:3]...)
	wantJournal(t, b, "g", 0)
	wantJournal(t, b, "gg", 64, "other")
	// More than fits, at once.
	var texts []string
	for i := range storage.JournalLength + 5 {
		texts = append(texts, fmt.Sprintf("at once %d", i))
	}
	mustSwap(t, b, nil, entries("g", texts...)...)
	slices.Reverse(texts)
	wantJournal(t, b, "g", 64, texts[:storage.JournalLength]...)
}
