package broker

import (
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/storage"
)

func TestVerdictsAreHeldWhileManyAreRefused(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	before := now.Add(-time.Minute)
	for _, row := range []struct {
		name               string
		was                bool
		at                 time.Time
		attempts, refusals uint64
		want               bool
		wantAt             time.Time
	}{
		{"nothing happened", false, time.Time{}, 0, 0, false, time.Time{}},
		{"four refusals are few", false, time.Time{}, 4, 4, false, time.Time{}},
		{"five, and all of them", false, time.Time{}, 5, 5, true, now},
		{"five of 24", false, time.Time{}, 24, 5, true, now},
		{"a fifth is not more than a fifth", false, time.Time{}, 25, 5, false, time.Time{}},
		{"many, but a small share", false, time.Time{}, 1000, 200, false, time.Time{}},
		{"a hold that goes on", true, before, 10, 9, true, now},
		{"asked more seldom, refused still", true, before, 1, 1, true, before},
		{"silence is no recovery", true, before, 0, 0, true, before},
		{"most of them taken", true, before, 10, 2, false, before},
		{"the first one taken in silence", true, before, 1, 0, false, before},
		{"a day of few refusals", true, now.Add(-24 * time.Hour), 1, 1, false, now.Add(-24 * time.Hour)},
		{"a day of many", true, now.Add(-24 * time.Hour), 9, 9, true, now},
	} {
		if got, at := hold(row.was, row.at, now, row.attempts, row.refusals); got != row.want || !at.Equal(row.wantAt) {
			t.Errorf("%s: held %v since %v, want %v since %v", row.name, got, at, row.want, row.wantAt)
		}
	}
}

func TestCountsOfTheWindowAreKeptByTheMinute(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 30, 0, time.UTC)
	tally := verdictTally{replica: "me"}
	for i := range 20 { // every half minute
		tally.count(start.Add(time.Duration(i)*30*time.Second), i%2 == 0)
	}
	end := start.Add(19 * 30 * time.Second) // 12:10:00
	if len(tally.own) != keptMinutes || !tally.own[0].At.Equal(end.Add(-5*time.Minute)) {
		t.Errorf("kept %v", tally.own)
	}
	if n, k := tally.recent(end); n != 11 || k != 5 {
		t.Errorf("%d attempts and %d refusals since 12:05:00, want 11 and 5", n, k)
	}
	if n, _ := tally.recent(end.Add(time.Hour)); n != 0 {
		t.Errorf("%d attempts an hour later", n)
	}
}

func TestTheRecordHoldsEachReplicasFreshCountsOnce(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 10, 0, 0, time.UTC)
	minute := func(ago, attempts, refusals int) storage.AppMinute {
		return storage.AppMinute{At: now.Add(-time.Duration(ago) * time.Minute), Attempts: uint32(attempts), Refusals: uint32(refusals)}
	}
	me := verdictTally{replica: "me", own: []storage.AppMinute{minute(2, 3, 3), minute(0, 1, 1)}}
	rec := storage.App{ID: "jira", Windows: []storage.AppWindow{
		{Replica: "me", Minutes: []storage.AppMinute{minute(2, 2, 2)}},
		{Replica: "gone", Minutes: []storage.AppMinute{minute(9, 90, 0), minute(7, 90, 0)}},
		{Replica: "other", Minutes: []storage.AppMinute{minute(8, 90, 0), minute(1, 4, 1)}},
	}}
	me.mergeInto(&rec, now)
	want := []storage.AppWindow{
		{Replica: "other", Minutes: []storage.AppMinute{minute(1, 4, 1)}},
		{Replica: "me", Minutes: me.own},
	}
	if d := cmp.Diff(want, rec.Windows); d != "" {
		t.Errorf("windows (-want +got):\n%s", d)
	}
	if !rec.VerdictsHeld || len(rec.Events) != 1 || rec.Events[0].Type != storage.AppVerdictsHeld {
		t.Errorf("5 of 8 attempts refused: held %v, events %+v", rec.VerdictsHeld, rec.Events)
	}
	me.mergeInto(&rec, now.Add(time.Second))
	if len(rec.Events) != 1 {
		t.Errorf("one hold is one event: %+v", rec.Events)
	}
}

// TestAnOlderRecordTellsNothing: a slow reader must not bring back a pause that
// has ended, nor end one that holds.
func TestAnOlderRecordTellsNothing(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	a := &app{App: App{ID: "jira"}, log: slog.New(slog.DiscardHandler)}
	a.know(storage.App{Version: 2, Pause: &storage.AppPause{By: "op"}}, now)
	a.know(storage.App{Version: 1}, now.Add(time.Second))
	if a.tally.record.Pause == nil || !a.tally.knownAt.Equal(now) {
		t.Errorf("known: %+v at %v", a.tally.record, a.tally.knownAt)
	}
}
