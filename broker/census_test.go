package broker_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/family"
)

func TestTheCensusSaysHowTheFamiliesOfEachAppFare(t *testing.T) {
	w := newWorld(t)
	start := w.clock.Now()
	w.consent(jira)
	w.clock.Advance(24 * time.Hour)
	w.consent(wiki)
	w.loseAnswer()
	if _, err := w.ForceRefresh(ctx, op, "", jira); broker.ReasonOf(err) != broker.ReasonProviderUnavailable {
		t.Fatalf("got %v, want a lost answer", err)
	}
	if _, err := w.Revoke(ctx, op, "", wiki, "left the team"); err != nil {
		t.Fatal(err)
	}
	day := 24 * time.Hour
	got, err := w.Count(ctx)
	want := map[string]broker.AppCensus{
		"jira": {Phases: map[family.Phase]int{family.Active: 1}, InDoubt: 1,
			NextIdle: start.Add(90 * day), NextAbsolute: start.Add(365 * day)},
		"confluence": {Phases: map[family.Phase]int{family.Revoked: 1}},
	}
	if diff := cmp.Diff(want, got.Apps, cmpopts.EquateApproxTime(time.Minute)); err != nil || diff != "" {
		t.Fatalf("%v %s", err, diff)
	}
	w.clock.Advance(335 * day)
	if got, err = w.Count(ctx); err != nil || got.Apps["jira"].EndingSoon != 1 {
		t.Fatalf("%d end within 30 days (%v), want 1", got.Apps["jira"].EndingSoon, err)
	}
}
