package broker_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

const oneDay = 24 * time.Hour

func TestDeadlinesAreWarnedOfOnceAndWithoutAPOST(t *testing.T) {
	var log logText
	// Nothing but the absolute limit, so that no keep-alive comes between.
	w := newWorld(t, writesLog(&log), func(w *world) { w.cfg.Timing.IdleLimit = 0 })
	w.behave(func(b *atlassiansim.Behaviour) { b.IdleSeconds = 0 })
	w.consent(jira)
	restart := func() {
		if err := w.Close(ctx); err != nil {
			t.Fatal(err)
		}
		w.startBroker()
	}
	for _, row := range []struct {
		days float64 // to go on by
		want []string
	}{
		{334.9, nil},
		{0.2, []string{"absolute 30d documented"}},
		{0.1, []string{"absolute 30d documented"}},
		{24, []string{"absolute 30d documented", "absolute 7d documented"}},
		{4, []string{"absolute 30d documented", "absolute 7d documented"}},
		{1, []string{"absolute 30d documented", "absolute 7d documented", "absolute 1d documented"}},
	} {
		w.clock.Advance(time.Duration(row.days * float64(oneDay)))
		w.Sweep(ctx)
		restart()
		w.Sweep(ctx)
		if got := w.details(jira, family.EventDeadlineNear); !slices.Equal(got, row.want) {
			t.Errorf("after %v days more: %q, want %q", row.days, got, row.want)
		}
	}
	if n := w.refreshes(); n != 0 {
		t.Errorf("%d POSTs for warnings", n)
	}
	if lines := log.lines("level=WARN", "limit=absolute", "have it consented again before then", jira.String()); len(lines) != 3 {
		t.Errorf("logged %q", lines)
	}
	w.consent(jira)
	w.clock.Advance(335*oneDay + time.Hour)
	w.Sweep(ctx)
	if got := w.details(jira, family.EventDeadlineNear); len(got) != 4 {
		t.Errorf("after a new consent: %q", got)
	}
}

func TestAQuarantinedGrantIsWarnedOfToo(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	g := w.grant(jira) // due, as it is, when it would have to be kept alive
	var events []family.Event
	g.State, events = family.Quarantine(g.State, w.clock.Now(), "may be a copy")
	if err := w.store.Swap(ctx, storage.Update{Grant: &g, Events: events}); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(61 * oneDay)
	w.Sweep(ctx)
	w.Sweep(ctx)
	if got := w.details(jira, family.EventDeadlineNear); !slices.Equal(got, []string{"idle 30d documented"}) {
		t.Errorf("%q", got)
	}
	if n := w.refreshes(); n != 0 {
		t.Errorf("%d POSTs for a quarantined grant", n)
	}
	if g := w.grant(jira); !g.Due.After(w.clock.Now()) {
		t.Errorf("still due at %v", g.Due)
	}
}

// death is that of a grant at an age, so many days after the first of March.
func death(grant int, day, age, idle float64) storage.AppDeath {
	d := func(n float64) time.Duration { return time.Duration(n * float64(oneDay)) }
	return storage.AppDeath{GrantID: fmt.Sprint("grt_", grant), Age: d(age), Idle: d(idle),
		At: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Add(d(day))}
}

func TestAClusterIsOneAgeAtDifferentTimes(t *testing.T) {
	now := death(0, 80, 0, 0).At
	type deaths = []storage.AppDeath
	for _, row := range []struct {
		name           string
		deaths         deaths
		absolute, idle string
	}{
		{"one age at different times", deaths{death(1, 10, 30.1, 0.1), death(2, 20, 30.2, 0.1), death(3, 30, 30.3, 0.1), death(4, 40, 30.4, 0.1), death(5, 50, 30.5, 0.1)},
			"absolute 30d: 5 grants ended at this age, from 2026-03-11 to 2026-04-20", ""},
		{"in three batches", deaths{death(1, 10, 30, 0), death(2, 10, 30, 0), death(3, 20, 30, 0), death(4, 20, 30, 0), death(5, 30, 30, 0)},
			"absolute 30d: 5 grants ended at this age, from 2026-03-11 to 2026-03-31", ""},
		{"a wave: many ages at one time", deaths{death(1, 10, 3, 0), death(2, 10, 30, 0), death(3, 10, 55, 0), death(4, 10, 90, 0), death(5, 10, 200, 0)}, "", ""},
		{"an app revoked whose grants were consented on one day", deaths{death(1, 10, 30, 0), death(2, 10.1, 30.1, 0), death(3, 10.3, 30.3, 0), death(4, 10.6, 30.6, 0), death(5, 10.9, 30.9, 0)}, "", ""},
		{"the same, and a straggler", deaths{death(1, 10, 30, 0), death(2, 10, 30, 0), death(3, 10, 30, 0), death(4, 10, 30, 0), death(5, 40, 30, 0)}, "", ""},
		{"four grants", deaths{death(1, 10, 30, 0), death(2, 20, 30, 0), death(3, 30, 30, 0), death(4, 40, 30, 0), death(4, 71, 30, 0)}, "", ""},
		{"ages too far apart", deaths{death(1, 10, 30, 0), death(2, 20, 31.5, 0), death(3, 30, 33, 0), death(4, 40, 34.5, 0), death(5, 50, 36, 0)}, "", ""},
		{"two percent of a long age", deaths{death(1, 10, 300, 0), death(2, 20, 301, 0), death(3, 30, 303, 0), death(4, 40, 305, 0), death(5, 50, 305.9, 0)},
			"absolute 300d: 5 grants ended at this age, from 2026-03-11 to 2026-04-20", ""},
		{"consents given up at once", deaths{death(1, 10, 1, 0), death(2, 20, 1, 0), death(3, 30, 1, 0), death(4, 40, 1, 0), death(5, 50, 1, 0)}, "", ""},
		{"too long ago", deaths{death(1, -30, 30, 0), death(2, 20, 30, 0), death(3, 30, 30, 0), death(4, 40, 30, 0), death(5, 50, 30, 0)}, "", ""},
		{"idle since the consent: that is no age", deaths{death(1, 10, 30, 30), death(2, 20, 30, 30), death(3, 30, 30, 30), death(4, 40, 30, 30), death(5, 50, 30, 30)},
			"", "idle 30d: 5 grants ended at this age, from 2026-03-11 to 2026-04-20"},
		{"idle, at all ages", deaths{death(1, 10, 50, 20), death(2, 20, 90, 20.5), death(3, 30, 130, 20.2), death(4, 40, 200, 20), death(5, 50, 300, 20.9)},
			"", "idle 20d: 5 grants ended at this age, from 2026-03-11 to 2026-04-20"},
	} {
		for limit, want := range map[family.Limit]string{family.LimitAbsolute: row.absolute, family.LimitIdle: row.idle} {
			got, ok := broker.Cluster(row.deaths, limit, now)
			if ok != (want != "") || ok && got != want {
				t.Errorf("%s: %s: got %q, %v; want %q", row.name, limit, got, ok, want)
			}
		}
	}
}

func TestAFamilyThatOutlivedALimitContradictsIt(t *testing.T) {
	at := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	ago := func(days int) time.Time { return at.Add(-time.Duration(days) * oneDay) }
	for _, row := range []struct {
		name                          string
		settled, exchanged, consented time.Time
		limit                         family.Limit
		want                          bool
	}{
		{"older than the limit", ago(0), ago(0), ago(40), family.LimitAbsolute, true},
		{"within its tolerance", ago(0), ago(0), ago(31), family.LimitAbsolute, false},
		{"of another vintage", ago(0), ago(0), ago(200), family.LimitAbsolute, false},
		{"idle for longer", ago(0), ago(40), ago(40), family.LimitIdle, true},
		{"used in time", ago(0), ago(20), ago(300), family.LimitIdle, false},
		{"idle for longer, long ago", ago(91), ago(131), ago(131), family.LimitIdle, false},
		{"older than any that is told apart", ago(0), ago(500), ago(500), family.LimitIdle, true},
	} {
		if got := broker.Outlived(row.settled, row.exchanged, row.consented, row.limit, 30*oneDay, at); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}

// TestAnObservedLimitMovesDeadlinesAndKeepAlive lets five grants, consented at
// five times and never used, die after 30 idle days; a sixth must be kept alive.
func TestAnObservedLimitMovesDeadlinesAndKeepAlive(t *testing.T) {
	var log logText
	w := newWorld(t, writesLog(&log))
	w.behave(func(b *atlassiansim.Behaviour) { b.IdleSeconds = 30 * 24 * 3600 })
	var as []storage.Address
	for i := range 5 {
		as = append(as, mustAddress(fmt.Sprintf("acme/idle%d/jira", i)))
		w.consent(as[i])
		w.clock.Advance(2 * oneDay)
	}
	w.clock.Advance(21 * oneDay)
	for _, a := range as { // each is used on its 31st day
		w.lapse(a)
		w.clock.Advance(2*oneDay - time.Minute)
	}
	w.consent(jira)
	before := w.grant(jira).Due
	w.ShareApps(ctx)
	rec, err := w.store.App(ctx, "jira")
	if err != nil || len(rec.Deaths) != 5 {
		t.Fatalf("deaths %+v, %v", rec.Deaths, err)
	}
	at := slices.IndexFunc(rec.Events, func(e storage.AppEvent) bool { return e.Type == storage.AppDeathCluster })
	if at < 0 || !strings.HasPrefix(rec.Events[at].Detail, "idle 30d: 5 grants") && !strings.HasPrefix(rec.Events[at].Detail, "idle 31d: 5 grants") {
		t.Fatalf("events %+v", rec.Events)
	}
	w.FollowLimits(ctx)
	if due := w.grant(jira).Due; !due.Before(before) || due.Sub(w.clock.Now()) > 18*oneDay {
		t.Errorf("due at %v, before at %v", due, before)
	}
	info, _, err := w.Grant(ctx, op, "", jira)
	if err != nil || info.IdleSource != family.SourceObserved || info.IdleDeadline.Sub(w.clock.Now()) > 32*oneDay || info.AbsoluteSource != family.SourceDocumented {
		t.Errorf("idle deadline %v %s, absolute %s, %v", info.IdleDeadline, info.IdleSource, info.AbsoluteSource, err)
	}
	if lines := log.lines("level=WARN", "died at one age", "app=jira"); len(lines) != 1 {
		t.Errorf("logged %q", lines)
	}
	w.ShareApps(ctx)
	if rec, _ = w.store.App(ctx, "jira"); len(rec.Deaths) != 5 {
		t.Errorf("%d deaths after sharing again", len(rec.Deaths))
	}
	for range 20 { // kept alive at the half, the sixth outlives the limit
		w.clock.Advance(2 * oneDay)
		w.Sweep(ctx)
	}
	if g := w.grant(jira); g.State.Phase != family.Active || g.State.Generation < 3 {
		t.Errorf("phase %v, generation %d", g.State.Phase, g.State.Generation)
	}
}
