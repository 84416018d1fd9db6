package family

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// checkPlain holds the shortcut of hot calls against what it stands for.
func (w *world) checkPlain(t *rapid.T) {
	for _, n := range []Need{{}, {MinTTL: time.Minute}, {MinTTL: w.timing.AccessGrace}, {IfNotGeneration: w.state.Generation}, {Force: true}} {
		if !w.state.Plain(&w.timing, w.now, n) {
			continue
		}
		d := Plan(w.state, w.timing, w.now, n)
		if want := (Decision{Verb: Serve, Until: w.state.ServableUntil(w.timing)}); d != want {
			t.Fatalf("plain for %+v, and the plan is %+v", n, d)
		}
		if !reflect.DeepEqual(Normalize(w.state, w.timing, w.now), w.state) {
			t.Fatal("plain, and time changes it")
		}
	}
}

func TestFreshTokenIsServedPlainly(t *testing.T) {
	s := started()
	tm := timing()
	for _, row := range []struct {
		name   string
		second int
		edit   func(*State)
		need   Need
		want   bool
	}{
		{name: "new", want: true},
		{name: "new, for a life that it has", need: Need{MinTTL: tm.AccessGrace}, want: true},
		{name: "refresh ahead is due", second: 3600 - int(tm.RefreshAhead/time.Second)},
		{name: "forced", need: Need{Force: true}},
		{name: "rejected", edit: func(s *State) { s.Access.Rejected = true }},
		{name: "scrubbed", edit: func(s *State) { s.Access = Access{} }},
		{name: "quarantined", edit: func(s *State) { s.Phase = Quarantined }},
		{name: "revoked", edit: func(s *State) { s.Phase = Revoked }},
		{name: "in doubt", edit: func(s *State) { s.Doubt = &Doubt{Generation: 1, FirstAnnounced: t0} }},
		{name: "being refreshed", edit: func(s *State) { s.Attempt = &Attempt{Generation: 1, LeaseUntil: t0.Add(time.Minute)} }},
		{name: "exchanged in the future", edit: func(s *State) { s.LastExchange = t0.Add(time.Hour) }},
		{name: "held back for ever", edit: func(s *State) { s.NotBefore = t0.Add(9999 * time.Hour) }},
	} {
		edited := s
		if row.edit != nil {
			row.edit(&edited)
		}
		if got := edited.Plain(&tm, at(row.second), row.need); got != row.want {
			t.Errorf("%s: %v", row.name, got)
		}
	}
}
