package storage_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/storage"
)

// fullApp has every field set.
func fullApp(id string) storage.App {
	return storage.App{
		ID: id, VerdictsHeld: true, HeldAt: at.Add(time.Second),
		Pause: &storage.AppPause{By: "ops", Reason: "the provider asked for it", At: at},
		Windows: []storage.AppWindow{
			{Replica: "r-1", Minutes: []storage.AppMinute{{At: at, Attempts: 7, Refusals: 2}, {At: at.Add(time.Minute), Attempts: 1}}},
			{Replica: "r-2", Minutes: []storage.AppMinute{{At: at, Attempts: 3, Refusals: 3}}},
		},
		Deaths: []storage.AppDeath{{GrantID: "grt_1", At: at, Age: 365 * 24 * time.Hour, Idle: time.Hour}},
		Events: []storage.AppEvent{{Type: storage.AppPaused, At: at, Detail: "by ops"}, {Type: storage.AppResumed, At: at.Add(time.Hour)}},
	}
}

func TestAnAppsRecordComesBackAfterReopening(t *testing.T) {
	cfg := testConfig(t)
	s, err := storage.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.App(t.Context(), "jira-app"); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("before anything was recorded: %v, want %v", err, storage.ErrNotFound)
	}
	want := fullApp("jira-app")
	if err := s.SwapApp(t.Context(), &want); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, cfg)
	got, err := s.App(t.Context(), "jira-app")
	if d := cmp.Diff(want, got, equal); d != "" || err != nil || got.Version != 1 {
		t.Errorf("version %d, error %v (-stored +read):\n%s", got.Version, err, d)
	}
}

func TestOfTwoWritersOfAnAppsRecordOneIsToldToReadAgain(t *testing.T) {
	s := openStore(t, testConfig(t))
	first, second := fullApp("jira-app"), fullApp("jira-app")
	if err := s.SwapApp(t.Context(), &first); err != nil {
		t.Fatal(err)
	}
	if err := s.SwapApp(t.Context(), &second); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("the second new record: %v, want %v", err, storage.ErrConflict)
	}
	first.Pause = nil
	if err := s.SwapApp(t.Context(), &first); err != nil || first.Version != 2 {
		t.Errorf("version %d, error %v; want 2", first.Version, err)
	}
	if err := s.SwapApp(t.Context(), &storage.App{}); err == nil {
		t.Error("an app without an id was stored")
	}
}

func TestAnAppsRecordKeepsItsNewestDeathsAndEvents(t *testing.T) {
	s := openStore(t, testConfig(t))
	a := storage.App{ID: "jira-app"}
	for i := range 2 * storage.MostAppDeaths {
		a.Deaths = append(a.Deaths, storage.AppDeath{GrantID: fmt.Sprint(i), At: at})
		a.Events = append(a.Events, storage.AppEvent{Type: storage.AppPaused, At: at, Detail: fmt.Sprint(i)})
	}
	if err := s.SwapApp(t.Context(), &a); err != nil {
		t.Fatal(err)
	}
	got, err := s.App(t.Context(), "jira-app")
	if err != nil {
		t.Fatal(err)
	}
	newest := fmt.Sprint(2*storage.MostAppDeaths - 1)
	if n := len(got.Deaths); n != storage.MostAppDeaths || got.Deaths[n-1].GrantID != newest {
		t.Errorf("%d deaths kept, the last one %+v", n, got.Deaths[n-1])
	}
	if n := len(got.Events); n != storage.MostAppEvents || got.Events[n-1].Detail != newest {
		t.Errorf("%d events kept, the last one %+v", n, got.Events[n-1])
	}
}

func TestAnEditedOrMovedAppRecordIsRefused(t *testing.T) {
	s := newTampered(t)
	for _, id := range []string{"jira-app", "wiki-app"} {
		a := fullApp(id)
		if err := s.SwapApp(t.Context(), &a); err != nil {
			t.Fatal(err)
		}
	}
	whole := s.item(storage.KindApp, "jira-app")
	other := s.item(storage.KindApp, "wiki-app")
	for name, edit := range map[string]func(*storage.Item){
		"moved":                  func(it *storage.Item) { it.Public, it.Sealed = other.Public, other.Sealed },
		"of another app":         func(it *storage.Item) { it.Sealed = other.Sealed },
		"an older version":       func(it *storage.Item) { it.Version++ },
		"a flipped bit":          func(it *storage.Item) { it.Sealed = append([]byte(nil), it.Sealed...); it.Sealed[30] ^= 1 },
		"nothing sealed":         func(it *storage.Item) { it.Sealed = nil },
		"an unknown field added": func(it *storage.Item) { it.Public = append(append([]byte(nil), it.Public...), 0x98, 0x06, 0x01) },
	} {
		it := whole
		edit(&it)
		s.replace(it, nil)
		_, err := s.App(t.Context(), "jira-app")
		wantCorrupt(t, name, err, `app "jira-app"`)
	}
	s.replace(whole, nil)
	if _, err := s.App(t.Context(), "jira-app"); err != nil {
		t.Errorf("put back whole: %v", err)
	}
}
