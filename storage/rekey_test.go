package storage_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/badgerstore"
	"github.com/holdfast-io/holdfast/storage/memstore"
	"github.com/holdfast-io/holdfast/storage/seal"
)

// tapped keeps hold of the backend that a store is over.
func tapped(cfg storage.Config) (storage.Config, *storage.Backend) {
	open, b := cfg.Backend, new(storage.Backend)
	cfg.Backend = func(dir string, key []byte) (_ storage.Backend, err error) {
		*b, err = open(dir, key)
		return *b, err
	}
	return cfg, b
}

// onBoth runs a test over each backend.
func onBoth(t *testing.T, test func(t *testing.T, cfg storage.Config)) {
	t.Run("memstore", func(t *testing.T) {
		cfg := testConfig(t)
		cfg.Backend = memstore.New().Opener()
		test(t, cfg)
	})
	t.Run("badger", func(t *testing.T) {
		cfg := testConfig(t)
		cfg.Backend = badgerstore.Opener(badgerstore.Options{})
		test(t, cfg)
	})
}

var everyKind = []storage.Kind{storage.KindMeta, storage.KindApp, storage.KindConsent, storage.KindGrant}

// fill puts in records of every kind, more than a batch of them.
func fill(t *testing.T, s *storage.Store) []storage.Grant {
	t.Helper()
	var grants []storage.Grant
	for i := range 20 {
		g := fullGrant(t, fmt.Sprintf("acme/user-%d/jira", i))
		for n := range 1 + i%3 {
			e := family.Event{Type: family.EventAnnounced, At: at, Fence: uint64(n), AttemptID: fmt.Sprint(n)}
			if err := s.Swap(t.Context(), storage.Update{Grant: &g, Events: []family.Event{e}}); err != nil {
				t.Fatal(err)
			}
		}
		grants = append(grants, g)
	}
	for i := range 3 {
		c := storage.Consent{ID: fmt.Sprintf("con_%d", i), Status: storage.ConsentDenied, ExpiresAt: at, Detail: "kept"}
		err1 := s.Swap(t.Context(), storage.Update{Consent: &c})
		err2 := s.SwapMeta(t.Context(), &storage.Meta{Name: fmt.Sprintf("m%d", i), Value: []byte("value")})
		err3 := s.SwapApp(t.Context(), &storage.App{ID: fmt.Sprintf("app-%d", i), Pause: &storage.AppPause{By: "op"}})
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
	}
	return grants
}

// content is all that can be read of a store, without its version numbers.
func content(t *testing.T, s *storage.Store) map[string]any {
	t.Helper()
	all := map[string]any{}
	grants, err := s.Grants(t.Context(), storage.Filter{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range grants {
		one, err1 := s.Grant(t.Context(), g.ID)
		events, err2 := s.Events(t.Context(), g.ID, 0)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		all[g.ID], all[g.ID+" journal"] = one, events
	}
	for i := range 3 {
		c, err1 := s.Consent(t.Context(), fmt.Sprintf("con_%d", i))
		m, err2 := s.Meta(t.Context(), fmt.Sprintf("m%d", i))
		a, err3 := s.App(t.Context(), fmt.Sprintf("app-%d", i))
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		all[c.ID], all[m.Name], all[a.ID] = c, m, a
	}
	return all
}

// keysInUse counts what each data key seals in the backend.
func keysInUse(t *testing.T, b storage.Backend) map[seal.KeyID]int {
	t.Helper()
	use := map[seal.KeyID]int{}
	count := func(sealed []byte) {
		id, ok := seal.SealedBy(sealed[1:])
		if !ok {
			t.Fatalf("%x names no key", sealed[:6])
		}
		use[id]++
	}
	for _, kind := range everyKind {
		items, err := b.List(t.Context(), storage.Query{Kind: kind, Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range items {
			count(it.Sealed)
			entries, err := b.Events(t.Context(), it.Key.ID, storage.JournalLength)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				count(e.Sealed)
			}
		}
	}
	return use
}

func nothing(storage.ResealProgress) error { return nil }

// passes makes passes until the rotation is done.
func passes(t *testing.T, s *storage.Store) storage.ResealResult {
	t.Helper()
	for range 5 {
		r, err := s.ResealPass(t.Context(), nothing)
		if err != nil {
			t.Fatal(err)
		}
		if r.Done {
			return r
		}
	}
	t.Fatal("five passes did not end the rotation")
	return storage.ResealResult{}
}

func TestARotationSealsEverythingAnewAndChangesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, cfg storage.Config) {
		cfg, b := tapped(cfg)
		s, err := storage.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		fill(t, s)
		before := content(t, s)
		old := slices.Collect(maps.Keys(keysInUse(t, *b)))
		kept, err := (*b).Get(t.Context(), storage.Key{Kind: storage.KindConsent, ID: "con_0"})
		if err != nil || len(old) != 1 {
			t.Fatalf("keys %v, error %v", old, err)
		}
		if r, err := s.KeyRotation(t.Context()); err != nil || r != (storage.KeyRotation{}) {
			t.Errorf("before the first rotation: %+v, error %v", r, err)
		}

		begun, err := s.BeginKeyRotation(t.Context())
		if err != nil || !begun.Running() || !begun.StartedAt.Equal(at) {
			t.Fatalf("begun: %+v, error %v", begun, err)
		}
		if again, err := s.BeginKeyRotation(t.Context()); err != nil || again != begun {
			t.Errorf("begun again: %+v, error %v; want the one that runs", again, err)
		}
		if d := cmp.Diff(before, content(t, s), equal); d != "" {
			t.Errorf("read while it runs (-before +now):\n%s", d)
		}
		r := passes(t, s)
		if want := uint64(len(everyKind)*3 - 3 + 20 + len([]string{"epoch", "key_rotation"})); r.Records != want || r.Left != 0 {
			t.Errorf("the last pass saw %+v, want %d records and none left", r, want)
		}
		use := keysInUse(t, *b)
		if len(use) != 1 || use[old[0]] != 0 {
			t.Errorf("keys in use: %v, the old one was %v", use, old)
		}
		if d := cmp.Diff(before, content(t, s), equal); d != "" {
			t.Errorf("read afterwards (-before +now):\n%s", d)
		}
		if ended, err := s.KeyRotation(t.Context()); err != nil || ended.Running() || !ended.EndedAt.Equal(at) {
			t.Errorf("ended: %+v, error %v", ended, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}

		// What the old key sealed is refused by then, even at its own place and version.
		s = openStore(t, cfg)
		if d := cmp.Diff(before, content(t, s), equal); d != "" {
			t.Errorf("read after reopening (-before +now):\n%s", d)
		}
		now, err := (*b).Get(t.Context(), kept.Key)
		if err == nil {
			err = (*b).Reseal(t.Context(), []storage.Reseal{{Key: kept.Key, Was: now.Sealed, Now: kept.Sealed}})
		}
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Consent(t.Context(), "con_0")
		wantCorrupt(t, "a record of the old key", err, "consent con_0")
	})
}

// A process that dies at any commit of a rotation leaves a store that opens, has
// lost nothing, and goes on with what is left.
func TestARotationThatDiesAtAnyCommitGoesOn(t *testing.T) {
	for _, fault := range []memstore.Fault{memstore.Refused, memstore.UnknownKept, memstore.UnknownLost} {
		t.Run(fmt.Sprint("fault ", int(fault)), func(t *testing.T) {
			for nth := 1; ; nth++ {
				if !diesAt(t, nth, fault) {
					if nth < 8 {
						t.Errorf("only %d commits: the test does not do what it is for", nth-1)
					}
					return
				}
			}
		})
	}
}

// diesAt reports whether the rotation came to its nth commit.
func diesAt(t *testing.T, nth int, fault memstore.Fault) bool {
	t.Helper()
	backend := memstore.New()
	cfg := testConfig(t)
	cfg.Backend = backend.Opener()
	s, err := storage.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s)
	before := content(t, s)
	commits := 0
	backend.SetFault(func([]storage.Change) memstore.Fault {
		if commits++; commits == nth {
			return fault
		}
		return memstore.None
	})
	_, err = s.BeginKeyRotation(t.Context())
	for done := false; err == nil && !done; {
		var r storage.ResealResult
		r, err = s.ResealPass(t.Context(), nothing)
		done = r.Done
	}
	if err == nil {
		return false
	}
	backend.SetFault(nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	backend.Crash()

	s, err = storage.Open(t.Context(), cfg)
	if err != nil {
		t.Fatalf("commit %d: %v", nth, err)
	}
	defer s.Close()
	if d := cmp.Diff(before, content(t, s), equal); d != "" {
		t.Fatalf("commit %d (-before +after the crash):\n%s", nth, d)
	}
	if _, err := s.BeginKeyRotation(t.Context()); err != nil {
		t.Fatal(err)
	}
	passes(t, s)
	if use := keysInUse(t, backend); len(use) != 1 {
		t.Errorf("commit %d: keys in use %v", nth, use)
	}
	if d := cmp.Diff(before, content(t, s), equal); d != "" {
		t.Errorf("commit %d (-before +after the rotation):\n%s", nth, d)
	}
	return true
}
