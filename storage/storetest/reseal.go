package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/storage"
)

// testReseal: new sealed bytes are all that changes, and nobody notices.
func testReseal(t *testing.T, b storage.Backend) {
	due := epoch.Add(time.Hour)
	putDue(t, b, "g", 0, due)
	mustSwap(t, b, []storage.Change{change("h", 0)}, entries("h", "e1", "e2")...)
	before, err := b.Get(t.Context(), grantKey("g"))
	if err != nil {
		t.Fatal(err)
	}
	list2 := []storage.Reseal{
		{Key: grantKey("g"), Was: before.Sealed, Now: []byte("anew")},
		{Key: grantKey("h"), Seq: 1, Was: []byte("e1"), Now: []byte("e1 anew")},
	}
	if err := b.Reseal(t.Context(), list2); err != nil {
		t.Fatal(err)
	}
	want := before
	want.Sealed = []byte("anew")
	got, err := b.Get(t.Context(), grantKey("g"))
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("record, error %v (-want +got):\n%s", err, d)
	}
	if d := cmp.Diff([]string{"g"}, list(t, b, storage.Query{Kind: storage.KindGrant, DueBefore: due.Add(1), Limit: 9})); d != "" {
		t.Errorf("due index (-want +got):\n%s", d)
	}
	wantJournal(t, b, "h", 9, "e2", "e1 anew")
	// A swap from the version that was read before goes through.
	putDue(t, b, "g", 1, due)
	wantVersion(t, b, "g", 2)
	mustSwap(t, b, []storage.Change{change("h", 1)}, entries("h", "e3")...)
	wantJournal(t, b, "h", 9, "e3", "e2", "e1 anew")
}

// testResealConflict: what is gone or was changed meanwhile is left alone, and
// with it all that was to be replaced together with it.
func testResealConflict(t *testing.T, b storage.Backend) {
	var texts []string
	for i := range storage.JournalLength + 1 {
		texts = append(texts, fmt.Sprintf("e%d", i+1))
	}
	mustSwap(t, b, []storage.Change{change("g", 0)}, entries("g", texts...)...)
	good := storage.Reseal{Key: grantKey("g"), Was: []byte("sealed g@1"), Now: []byte("anew")}
	for name, bad := range map[string]storage.Reseal{
		"other bytes":         {Key: grantKey("g"), Was: []byte("sealed g@0"), Now: []byte("x")},
		"no such record":      {Key: grantKey("none"), Was: nil, Now: []byte("x")},
		"another kind":        {Key: storage.Key{Kind: storage.KindApp, ID: "g"}, Was: good.Was, Now: []byte("x")},
		"other entry's bytes": {Key: grantKey("g"), Seq: 3, Was: []byte("e4"), Now: []byte("x")},
		"a dropped entry":     {Key: grantKey("g"), Seq: 1, Was: []byte("e1"), Now: []byte("x")},
		"a future entry":      {Key: grantKey("g"), Seq: 66, Was: nil, Now: []byte("x")},
		"no such journal":     {Key: grantKey("none"), Seq: 1, Was: nil, Now: []byte("x")},
	} {
		if err := b.Reseal(t.Context(), []storage.Reseal{good, bad}); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("%s: got %v, want %v", name, err, storage.ErrConflict)
		}
	}
	if it, err := b.Get(t.Context(), grantKey("g")); err != nil || string(it.Sealed) != "sealed g@1" {
		t.Errorf("a refused replacement left %q, error %v", it.Sealed, err)
	}
}
