package family

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// refusedOnce is a family whose token was refused, out of the blue, that many
// seconds after its consent.
func refusedOnce(t *testing.T, second int, adjust func(*State)) State {
	t.Helper()
	s := started()
	if adjust != nil {
		adjust(&s)
	}
	s, sp := begun(t, s, timing(), second, "a", Need{Force: true})
	return settledWith(s, second, sp, refused)
}

func TestOnlyARefusalThatNothingExplainsIsLookedInto(t *testing.T) {
	tm := timing()
	answered := func(o Outcome) State { // refused after an attempt that ended like this
		s, sp := begun(t, started(), tm, 100, "a", Need{Force: true})
		s = settledWith(s, 101, sp, o)
		s, sp = begun(t, s, tm, 200, "b", Need{Force: true})
		return settledWith(s, 201, sp, refused)
	}
	alternate := func() State {
		s := started()
		s.Doubt = &Doubt{Generation: 1, FirstAnnounced: t0.Add(-time.Hour)}
		s.Alternates = []Alternate{{Generation: 2, Refresh: pair("2").Refresh, Access: s.Access, At: t0}}
		s, sp := begun(t, s, tm, 100, "a", Need{Force: true})
		return settledWith(s, 101, sp, refused)
	}
	held := func() State {
		s, sp := begun(t, started(), tm, 100, "a", Need{Force: true})
		o := refused
		o.VerdictHeld = true
		return settledWith(s, 101, sp, o)
	}
	confirmed := func() State {
		s := refusedOnce(t, 100, func(s *State) { s.Suspicion = &Suspicion{Refusals: 1, First: t0, Last: t0} })
		return s
	}
	for name, row := range map[string]struct {
		state State
		want  bool
	}{
		"out of the blue":             {refusedOnce(t, 100, nil), true},
		"after a lost answer":         {answered(inDoubt), false},
		"after an attempt not sent":   {answered(Outcome{Class: NotSpent}), false},
		"of an alternate":             {alternate(), false},
		"while verdicts are held":     {held(), false},
		"once more":                   {confirmed(), false},
		"after a successful rotation": {answered(success("2")), true},
	} {
		if got := row.state.Inquiry != nil; got != row.want {
			t.Errorf("%s: looked into: %v, want %v", name, got, row.want)
		}
	}
}

func TestAnInquiryEndsWithWhatCanBeSeenFromIt(t *testing.T) {
	tm := timing()
	for _, row := range []struct {
		name   string
		refuse int // seconds after the consent; the access token lives 3600 s
		adjust func(*State)
		until  int
	}{
		{"soon after the access grace", 100, nil, 100 + 600 + int(tm.ClockMargin/time.Second)},
		{"or before the token's own end", 3300, nil, 3600 - 120 - int(tm.ClockMargin/time.Second)},
		{"not at all if it was seen rejected", 100, func(s *State) { s.Access.Rejected = true }, 100},
	} {
		i := refusedOnce(t, row.refuse, row.adjust).Inquiry
		if i == nil || !i.RefusedAt.Equal(at(row.refuse)) || !i.Next.Equal(at(row.refuse)) || !i.Until.Equal(at(row.until)) {
			t.Errorf("%s: %+v, want it to end at %v", row.name, i, at(row.until))
		}
	}
	if i := refusedOnce(t, 7200, nil).Inquiry; i == nil || i.Until.After(at(7200)) {
		t.Errorf("of a token that has ended: %+v", i)
	}
}

// TestWhatAnInquirySees goes through the looks at a token whose refresh token
// was refused 100 s after the consent.
func TestWhatAnInquirySees(t *testing.T) {
	type look struct {
		second int
		seen   Look
	}
	tm := timing()
	until := 700 + int(tm.ClockMargin/time.Second)
	for _, row := range []struct {
		name  string
		looks []look
		want  []EventType
		open  bool
	}{
		{"rejected at once: it died with the family", []look{{100, SeenRejected}}, []EventType{EventUnexplained}, false},
		{"accepted, then rejected", []look{{100, SeenAccepted}, {160, SeenRejected}}, []EventType{EventUnexplained, EventForeignUse}, false},
		{"rejected at the end of the grace", []look{{100, SeenAccepted}, {until, SeenRejected}}, []EventType{EventUnexplained, EventForeignUse}, false},
		{"accepted all along", []look{{100, SeenAccepted}, {160, SeenAccepted}, {until, SeenAccepted}}, []EventType{EventUnexplained}, false},
		{"rejected when it is too late to know", []look{{100, SeenAccepted}, {until + 61, SeenRejected}}, []EventType{EventUnexplained}, false},
		{"nobody answers at first", []look{{100, NotSeen}, {160, SeenAccepted}, {220, SeenRejected}}, []EventType{EventUnexplained, EventForeignUse}, false},
		{"nobody answers, then rejected", []look{{100, NotSeen}, {160, SeenRejected}}, []EventType{EventUnexplained}, false},
		{"too early to look again", []look{{100, SeenAccepted}, {159, SeenRejected}}, []EventType{EventUnexplained}, true},
		{"open until then", []look{{100, SeenAccepted}, {160, SeenAccepted}}, []EventType{EventUnexplained}, true},
	} {
		s := refusedOnce(t, 100, nil)
		var got []EventType
		for _, l := range row.looks {
			var events []Event
			s, events = Inquire(s, tm, at(l.second), l.seen, Facts{})
			for _, e := range events {
				got = append(got, e.Type)
			}
		}
		if !slices.Equal(got, row.want) || (s.Inquiry != nil) != row.open {
			t.Errorf("%s: got %v, open %v; want %v, %v", row.name, got, s.Inquiry != nil, row.want, row.open)
		}
	}
}

func TestAnInquiryIsDueWhateverBecameOfTheFamily(t *testing.T) {
	tm := limited(0, 0)
	s := refusedOnce(t, 100, nil)
	if got := s.Due(tm, ""); !got.Equal(at(100)) {
		t.Errorf("suspected: due at %v", got)
	}
	s, _ = Inquire(s, tm, at(100), SeenAccepted, Facts{})
	lapsed, _ := lapse(s, at(140), LapseRefused, nil)
	if got := lapsed.Due(tm, ""); !got.Equal(at(160)) || !lapsed.WantsLook(at(160)) {
		t.Errorf("lapsed: due at %v", got)
	}
}

func TestWhatTheBrokerOrAnOperatorDoesEndsTheInquiry(t *testing.T) {
	tm := timing()
	open, _ := Inquire(refusedOnce(t, 100, nil), tm, at(100), SeenAccepted, Facts{})
	again, sp := begun(t, open, tm, 150, "b", Need{Force: true})
	revoked, _ := Revoke(open, at(110), "")
	quarantined, _ := Quarantine(open, at(110), "")
	consented, _ := Replace(open, at(110), at(110), pair("9"))
	for name, row := range map[string]struct {
		state State
		want  bool
	}{
		"refused again":        {settledWith(again, 151, sp, refused), true},
		"accepted after all":   {settledWith(again, 151, sp, success("2")), false},
		"an answer lost":       {settledWith(again, 151, sp, inDoubt), false},
		"the owner was killed": {func() State { s, _ := Abandon(again, at(160)); return s }(), false},
		"revoked":              {revoked, false},
		"quarantined":          {quarantined, false},
		"consented again":      {consented, false},
	} {
		if got := row.state.Inquiry != nil; got != row.want {
			t.Errorf("%s: open: %v, want %v", name, got, row.want)
		}
	}
	if s, events := Inquire(again, tm, at(160), SeenRejected, Facts{}); len(events) > 0 || s.Inquiry == nil || again.WantsLook(at(160)) {
		t.Errorf("while an attempt runs a token was judged that it may have ended: %v", events)
	}
}

func TestFactsPruneTheCauses(t *testing.T) {
	all := "revoked_by_person app_uninstalled password_changed deactivated idle_limit absolute_limit scopes_overridden token_cap foreign_use"
	for _, row := range []struct {
		name  string
		after time.Duration
		seen  Look
		facts Facts
		gone  []string
	}{
		{"nothing is known", 300 * day, NotSeen, Facts{}, nil},
		{"used three days ago", 3 * day, NotSeen, Facts{}, []string{CauseIdle, CauseAbsolute}},
		{"no relations", 300 * day, NotSeen, Facts{NotRelated: true}, []string{CauseScopes}},
		{"the access token lives", time.Minute, SeenAccepted, Facts{}, []string{CauseRevoked, CauseDeactivated, CauseIdle, CauseAbsolute}},
	} {
		tm := limited(90, 365)
		s := refusedOnce(t, int(row.after/time.Second), nil)
		_, events := Inquire(s, tm, t0.Add(row.after), row.seen, row.facts)
		want := strings.Join(slices.DeleteFunc(strings.Fields(all), func(c string) bool { return slices.Contains(row.gone, c) }), " ")
		if len(events) != 1 || events[0].Detail != want {
			t.Errorf("%s: got %+v, want %q", row.name, events, want)
		}
	}
}
