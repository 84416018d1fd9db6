// Package storetest is the conformance suite of storage.Backend. A backend
// passes all of it; there is nothing to opt out of.
package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/storage"
)

// Run tests a backend. open returns an empty one, which the suite closes; it
// is called once for each part.
func Run(t *testing.T, open func(t *testing.T) storage.Backend) {
	for _, part := range []struct {
		name string
		test func(t *testing.T, b storage.Backend)
	}{
		{"a record comes back as it was swapped in", testRoundTrip},
		{"a missing record is not found", testNotFound},
		{"a swap from another version conflicts and writes nothing", testConflict},
		{"several records and entries are swapped together or not at all", testAtomic},
		{"a deleted record is gone with its index and journal", testDelete},
		{"a record that is made anew begins above its floor", testFloor},
		{"a record that is only checked is compared and not written", testCheck},
		{"a purge deletes all of it or nothing", testPurge},
		{"a record of hundreds of kilobytes fits", testBig},
		{"what the caller does to its bytes later changes nothing", testAliasing},
		{"sealed bytes are replaced and nothing else", testReseal},
		{"what changed meanwhile is not replaced", testResealConflict},
		{"a listing pages in order of id and by kind", testList},
		{"a listing by due time pages in that order", testDue},
		{"a changed due time moves the record in the index", testDueMoves},
		{"a journal keeps the newest entries of its grant", testJournal},
		{"one of many concurrent swaps of a version wins", testOneWinner},
		{"a conflict does not touch swaps beside it", testGroup},
		{"an ended context is no success", testContext},
		{"a loaded record keeps its version", testLoad},
		{"a record and its newest entry are read together as one by one", testNewest},
		{"a closed store refuses everything", testClosed},
	} {
		t.Run(part.name, func(t *testing.T) {
			b := open(t)
			t.Cleanup(func() {
				if err := b.Close(); err != nil {
					t.Errorf("closing: %v", err)
				}
			})
			part.test(t, b)
		})
	}
}

var epoch = time.Date(2026, 11, 1, 12, 0, 0, 5, time.UTC)

func grantKey(id string) storage.Key { return storage.Key{Kind: storage.KindGrant, ID: id} }

// change is a swap of grant id from version old, its content telling both.
func change(id string, old storage.Version) storage.Change {
	text := fmt.Sprintf("%s@%d", id, old+1)
	return storage.Change{Old: old, Item: storage.Item{Key: grantKey(id), Public: []byte("public " + text), Sealed: []byte("sealed " + text)}}
}

func entries(id string, texts ...string) []storage.Entry {
	var out []storage.Entry
	for _, s := range texts {
		out = append(out, storage.Entry{GrantID: id, Sealed: []byte(s)})
	}
	return out
}

func mustSwap(t *testing.T, b storage.Backend, changes []storage.Change, es ...storage.Entry) {
	t.Helper()
	if err := b.Swap(t.Context(), changes, es); err != nil {
		t.Fatalf("Swap: %v", err)
	}
}

func put(t *testing.T, b storage.Backend, id string, old storage.Version) {
	t.Helper()
	mustSwap(t, b, []storage.Change{change(id, old)})
}

func wantErr(t *testing.T, doing string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", doing, err, want)
	}
}

// wantVersion checks the record's version and content; 0 means it must not exist.
func wantVersion(t *testing.T, b storage.Backend, id string, v storage.Version) {
	t.Helper()
	it, err := b.Get(t.Context(), grantKey(id))
	if v == 0 {
		wantErr(t, "reading "+id, err, storage.ErrNotFound)
		return
	}
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	want := change(id, v-1).Item
	want.Version = v
	it.Due = time.Time{}
	if d := cmp.Diff(want, it); d != "" {
		t.Errorf("record %s (-want +got):\n%s", id, d)
	}
}

func wantJournal(t *testing.T, b storage.Backend, id string, limit int, want ...string) {
	t.Helper()
	es, err := b.Events(t.Context(), id, limit)
	if err != nil {
		t.Fatalf("Events: %v", err)
	}
	var got []string
	for i, e := range es {
		got = append(got, string(e.Sealed))
		if e.GrantID != id {
			t.Errorf("an entry of %s in the journal of %s", e.GrantID, id)
		}
		if i > 0 && e.Seq != es[i-1].Seq-1 {
			t.Errorf("entry %d comes after entry %d", e.Seq, es[i-1].Seq)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("journal of %s, newest first (-want +got):\n%s", id, d)
	}
}

// list pages through q and returns the ids.
func list(t *testing.T, b storage.Backend, q storage.Query) []string {
	t.Helper()
	var ids []string
	for {
		page, err := b.List(t.Context(), q)
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		for _, it := range page {
			ids = append(ids, it.Key.ID)
		}
		if len(page) > q.Limit {
			t.Fatalf("a page of %d records for a limit of %d", len(page), q.Limit)
		}
		if len(page) < q.Limit || len(ids) > 1000 {
			return ids
		}
		q.After = ids[len(ids)-1]
	}
}
