package family

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-io/holdfast/secret"
)

// world drives one grant with random events and checks the invariants against
// its own, independent bookkeeping of what was sent when.
type world struct {
	timing Timing
	now    time.Time
	state  State
	ids    int
	// flying are spends whose outcome has not been told yet; a crash forgets them.
	flying []Spend
	// announced is when each token was first announced since it became current
	// and may have left; a provably unsent token is deleted.
	announced map[string]time.Time
	gambled   map[string]time.Time // last tries, by token
	// generationOf is the generation that each refresh token was received for.
	generationOf map[string]uint64
	settledMax   uint64
	fence        uint64
	// refused are the tokens that the provider refused in earnest, or that were
	// one too many.
	refused map[string]bool
	// refusals since a token was last taken, or verdicts were last held.
	refusals []time.Time
	// decided: this step is an operator's decision about a quarantine.
	decided bool
}

func (w *world) newPair(generation uint64) Pair {
	w.ids++
	r := fmt.Sprintf("r%d", w.ids)
	w.generationOf[r] = generation
	return Pair{Refresh: secret.New(r), Access: secret.New(fmt.Sprintf("a%d", w.ids)), ExpiresIn: time.Hour}
}

func (w *world) begin(t *rapid.T) {
	need := Need{
		Force: rapid.IntRange(0, 9).Draw(t, "force") == 0, LastTryAllowed: rapid.Bool().Draw(t, "lastTry"),
		MinTTL: rapid.SampledFrom([]time.Duration{0, time.Minute, w.timing.AccessGrace}).Draw(t, "minTTL"),
	}
	w.beginFor(t, need)
}

func (w *world) beginFor(t *rapid.T, need Need) {
	before := w.state
	w.ids++
	next, sp, _, err := Begin(before, w.timing, w.now, fmt.Sprint("id", w.ids), need)
	if err != nil {
		return
	}
	token := sp.Token.Reveal()
	switch {
	case before.Phase != Active && before.Phase != Suspected:
		t.Fatalf("spends in phase %v", before.Phase)
	case before.Attempt != nil && w.now.Before(before.Attempt.LeaseUntil):
		t.Fatal("a second attempt while the lease runs")
	case sp.Fence <= w.fence:
		t.Fatalf("fence %d after %d", sp.Fence, w.fence)
	case w.generationOf[token] < w.settledMax:
		t.Fatalf("token of generation %d is sent after %d settled", w.generationOf[token], w.settledMax)
	case sp.SendBefore.Add(w.timing.HTTPTimeout + w.timing.ClockMargin).After(next.Attempt.LeaseUntil):
		t.Fatal("the guard lets an answer come after the lease")
	}
	left := before.Access.ExpiresAt.Sub(w.now)
	if _, open := before.FirstAnnounced(); !open && len(before.Alternates) == len(next.Alternates) &&
		!need.Force && !before.Access.Rejected && left > w.timing.AccessGrace {
		t.Fatalf("rotates with %v left", left)
	}
	w.checkLeeway(t, sp, token)
	if _, known := w.announced[token]; !known {
		w.announced[token] = w.now
	}
	w.fence = sp.Fence
	w.state, w.flying = next, append(w.flying, sp)
}

// checkLeeway allows a token that may have left before only inside the leeway
// of its first announcement (or of a last try), or as a last try.
func (w *world) checkLeeway(t *rapid.T, sp Spend, token string) {
	first, sent := w.announced[token]
	if !sent {
		return
	}
	if sp.Kind == LastTry {
		w.gambled[token] = w.now
		return
	}
	if gamble, ok := w.gambled[token]; ok {
		first = gamble
	}
	if latest := sp.SendBefore.Add(w.timing.HTTPTimeout); !latest.Before(first.Add(w.timing.Leeway)) {
		t.Fatalf("a token announced at %v may arrive at %v, after the leeway", first, latest)
	}
}

func (w *world) settle(t *rapid.T) {
	if len(w.flying) == 0 {
		return
	}
	i := rapid.IntRange(0, len(w.flying)-1).Draw(t, "which")
	class := Class(rapid.IntRange(1, 6).Draw(t, "class"))
	w.settleAs(t, i, class, class == Refused && rapid.Bool().Draw(t, "held"))
}

func (w *world) settleAs(t *rapid.T, i int, class Class, held bool) {
	sp := w.flying[i]
	w.flying = slices.Delete(w.flying, i, i+1)
	o := Outcome{Class: class, VerdictHeld: held}
	if class == Settled {
		o.Pair = w.newPair(sp.Generation + 1)
	}
	before := w.state
	if fenced := before.Attempt == nil || before.Attempt.ID != sp.AttemptID; class == Settled && fenced && rapid.IntRange(0, 2).Draw(t, "same") == 0 {
		o.Pair.Refresh = sp.Token // a provider that did not rotate
	}
	next, events := Settle(before, w.timing, w.now, sp, o)
	mine := before.Attempt != nil && before.Attempt.ID == sp.AttemptID
	if !mine && (next.Generation != before.Generation || next.Phase != before.Phase || !next.Refresh.Equal(before.Refresh)) {
		t.Fatal("a fenced attempt changed more than the alternates")
	}
	if mine && class != Settled && class != InDoubt && before.Doubt == nil { // the provider did not spend it
		delete(w.announced, sp.Token.Reveal())
	}
	if mine && sp.Kind == LastTry && class != InDoubt && class != Refused && class != Settled {
		delete(w.gambled, sp.Token.Reveal())
	}
	if class == Settled && mine && next.Refresh.Reveal() != o.Pair.Refresh.Reveal() {
		t.Fatal("the successor was not taken")
	}
	w.checkVerdict(t, before, next, o, mine)
	w.noteRefused(before, sp, o, mine)
	if len(events) > 0 && events[len(events)-1].Fence != next.Fence {
		t.Fatal("the newest journal entry does not carry the fence")
	}
	w.state = next
}

// noteRefused takes down which tokens may be dropped now.
func (w *world) noteRefused(before State, sp Spend, o Outcome, mine bool) {
	if mine && o.Class == Refused && (!o.VerdictHeld || before.Suspicion.heldEnough()) {
		w.refused[sp.Token.Reveal()] = true
	}
	if !mine && len(before.Alternates) == mostKept {
		w.refused[before.Alternates[0].Refresh.Reveal()] = true
	}
}

// checkKept wants each token of the newest generation kept until it was refused,
// and no verdict before that.
func (w *world) checkKept(t *rapid.T, before State) {
	s := w.state
	if s.FamilyFirst != before.FamilyFirst || s.Scrubbed() {
		return
	}
	kept := tokens(s)
	for token := range tokens(before) {
		if !kept[token] && w.generationOf[token] >= s.Generation && !w.refused[token] {
			t.Fatalf("%s of generation %d was dropped, and nobody had refused it", token, w.generationOf[token])
		}
	}
	if s.Phase == Lapsed && before.Phase != Lapsed && w.timing.InDoubt != InDoubtLapse {
		for token := range kept {
			if !w.refused[token] {
				t.Fatalf("lapsed, and nobody had refused %s of generation %d", token, w.generationOf[token])
			}
		}
	}
	for _, r := range s.Reserves {
		if r.Doubt.Generation != s.Generation || r.Doubt.FirstAnnounced.IsZero() {
			t.Fatalf("a reserve of generation %d, announced at %v, beside generation %d", r.Doubt.Generation, r.Doubt.FirstAnnounced, s.Generation)
		}
	}
}

// tokens are all refresh tokens of a state.
func tokens(s State) map[string]bool {
	all := map[string]bool{s.Refresh.Reveal(): true}
	for _, a := range s.Alternates {
		all[a.Refresh.Reveal()] = true
	}
	for _, r := range s.Reserves {
		all[r.Refresh.Reveal()] = true
	}
	return all
}

// checkVerdict believes refusals only if two came from outside a hold, the
// ConfirmDelay apart, or a last try was refused; a held one takes no token away,
// but that of an older generation.
func (w *world) checkVerdict(t *rapid.T, before, next State, o Outcome, mine bool) {
	if o.Class == Settled && mine {
		w.refusals = nil
	}
	if o.Class != Refused || !mine {
		return
	}
	lapsed := next.Phase == Lapsed && before.Phase != Lapsed
	if !o.VerdictHeld {
		w.refusals = append(w.refusals, w.now)
		lastTry := before.Doubt != nil && !before.Doubt.LastTry.IsZero()
		if lapsed && !lastTry && w.now.Sub(w.refusals[0]) < w.timing.ConfirmDelay {
			t.Fatalf("lapsed by refusals at %v", w.refusals)
		}
		return
	}
	w.refusals = nil
	if lapsed {
		t.Fatal("lapsed by a held refusal")
	}
	kept := append([]Alternate{{Generation: next.Generation, Refresh: next.Refresh}}, next.Alternates...)
	for _, had := range append([]Alternate{{Generation: before.Generation, Refresh: before.Refresh}}, before.Alternates...) {
		there := slices.ContainsFunc(kept, func(a Alternate) bool { return a.Refresh.Equal(had.Refresh) })
		if !there && had.Generation >= next.Generation {
			t.Fatal("a held refusal took a token away")
		}
	}
}

// stories lead in a few steps to where single random ones rarely come. Whatever a
// begin does there, also nothing, is checked as ever.
func (w *world) stories(step func(func(*rapid.T)) func(*rapid.T)) []func(*rapid.T) {
	wait := func(d time.Duration) { w.now = w.now.Add(d) }
	begin := step(func(t *rapid.T) { w.beginFor(t, Need{LastTryAllowed: true}) })
	settle := func(t *rapid.T, i int, class Class) {
		if n := len(w.flying); n > 0 {
			step(func(t *rapid.T) { w.settleAs(t, min(i, n-1), class, false) })(t)
		}
	}
	return []func(*rapid.T){
		func(t *rapid.T) { // two successors of one token, or the late one of a token in doubt
			w.flying = nil
			wait(2 * time.Hour)
			begin(t)
			wait(w.timing.Lease)
			begin(t)
			settle(t, 1, rapid.SampledFrom([]Class{Settled, Settled, InDoubt, Refused}).Draw(t, "class"))
			settle(t, 0, Settled)
		},
		func(t *rapid.T) { // an outage beyond the leeway
			wait(2 * time.Hour)
			begin(t)
			settle(t, len(w.flying), InDoubt)
			wait(w.timing.Leeway + time.Minute)
		},
		func(t *rapid.T) { // a refusal
			begin(t)
			settle(t, len(w.flying), Refused)
			wait(time.Duration(rapid.IntRange(1, 90).Draw(t, "s")) * time.Second)
		},
	}
}

// look shows the access token to the provider, whatever that says.
func (w *world) look(t *rapid.T) {
	seen := Look(rapid.IntRange(0, 2).Draw(t, "seen"))
	var events []Event
	w.state, events = Inquire(w.state, w.timing, w.now, seen, Facts{})
	_, left := w.announced[w.state.Refresh.Reveal()]
	for _, e := range events {
		if e.Type == EventForeignUse && (left || w.state.Doubt != nil || w.state.Attempt != nil) {
			t.Fatal("a stranger is blamed for what the broker's own spend may have done")
		}
	}
}

func (w *world) check(t *rapid.T, before State) {
	s := w.state
	w.checkKept(t, before)
	w.checkLiving(t, before)
	w.checkPlain(t)
	if i := s.Inquiry; i != nil && (s.Phase != Suspected && s.Phase != Lapsed || s.Doubt != nil || s.Suspicion == nil) {
		t.Fatalf("an inquiry in phase %v, with doubt %v and suspicion %v", s.Phase, s.Doubt, s.Suspicion)
	}
	switch {
	case s.Generation < before.Generation:
		t.Fatalf("generation went from %d to %d", before.Generation, s.Generation)
	case s.Fence < before.Fence:
		t.Fatalf("fence went from %d to %d", before.Fence, s.Fence)
	case before.Phase == Revoked && s.Phase != Revoked && s.FamilyFirst == before.FamilyFirst:
		t.Fatal("a revoked family came back")
	case before.Phase == Lapsed && s.Phase == Active && s.FamilyFirst == before.FamilyFirst:
		t.Fatal("a lapsed family came back")
	case len(s.Alternates) > mostKept || len(s.Reserves) > mostKept:
		t.Fatalf("%d alternates, %d reserves", len(s.Alternates), len(s.Reserves))
	case s.Refresh.Empty() && !s.Scrubbed():
		t.Fatal("the refresh token was deleted")
	case s.Scrubbed() && (!s.Refresh.Empty() || !s.Access.Token.Empty() || len(s.Alternates)+len(s.Reserves) > 0):
		t.Fatal("a scrubbed family holds a token")
	case before.Phase == Quarantined && (s.Phase == Active || s.Phase == Suspected) && s.FamilyFirst == before.FamilyFirst && !w.decided:
		t.Fatal("a quarantine ended by itself")
	case s.Phase == Lapsed && before.Phase == Active && before.Doubt == nil && before.Attempt == nil && !w.decided:
		t.Fatal("a family without any open question lapsed")
	}
	w.settledMax = max(w.settledMax, s.Generation)
	if until := s.ServableUntil(w.timing); !until.IsZero() {
		if until.After(s.Access.ExpiresAt) {
			t.Fatal("served past its expiry")
		}
		if first, open := s.FirstAnnounced(); open && until.After(first.Add(w.timing.AccessGrace)) {
			t.Fatal("served past the access grace of an announced attempt")
		}
	}
}

// decide ends a quarantine, or finds none.
func (w *world) decide(t *rapid.T) {
	w.decided = true
	before := w.state
	if rapid.IntRange(0, 3).Draw(t, "scrub") == 0 {
		w.state, _ = Scrub(before, w.now, "")
		return
	}
	w.state, _ = Adopt(before, w.now, "")
	was, wasOpen := before.FirstAnnounced()
	is, isOpen := w.state.FirstAnnounced()
	if was != is || wasOpen != isOpen || !w.state.Refresh.Equal(before.Refresh) {
		t.Fatal("an adoption changed more than the phase")
	}
}

func TestRandomEventsKeepTheInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tm := rapid.SampledFrom([]Timing{timing(), strictTiming(InDoubtLastTry), strictTiming(InDoubtLapse)}).Draw(t, "timing")
		w := &world{timing: tm, now: t0, announced: map[string]time.Time{}, gambled: map[string]time.Time{}, generationOf: map[string]uint64{}, refused: map[string]bool{}}
		w.state, _ = Start(t0, t0, w.newPair(1))
		w.settledMax, w.fence = 1, w.state.Fence
		step := func(f func(*rapid.T)) func(*rapid.T) {
			return func(t *rapid.T) {
				before := w.state
				f(t)
				w.check(t, before)
				w.decided = false
			}
		}
		stories := w.stories(step)
		t.Repeat(map[string]func(*rapid.T){
			"begin":  step(w.begin),
			"begin2": step(w.begin),
			"settle": step(w.settle),
			"late":   stories[0],
			"outage": stories[1],
			"refuse": stories[2],
			"crash":  step(func(*rapid.T) { w.flying = nil }),
			"ask again": step(func(*rapid.T) {
				if next, events := AskAgain(w.state, w.now, ""); len(events) > 0 {
					w.state, w.refusals = next, nil
				}
			}),
			"seconds": step(func(t *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(1, 90).Draw(t, "s")) * time.Second)
			}),
			"minutes": step(func(t *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(1, 70).Draw(t, "m")) * time.Minute)
			}),
			"reject": step(func(*rapid.T) { w.state, _, _ = Reject(w.state, w.now, w.state.Generation) }),
			"expire": step(func(*rapid.T) {
				if Plan(w.state, w.timing, w.now, Need{}).Verb == Expire {
					w.state, _ = Lapse(w.state, w.timing, w.now)
				}
			}),
			"reconsent": step(func(t *rapid.T) {
				if rapid.IntRange(0, 5).Draw(t, "rare") == 0 {
					w.refusals = nil
					w.state, _ = Replace(w.state, w.now, w.now, w.newPair(w.state.Generation+1))
					w.fence = w.state.Fence
				}
			}),
			"quarantine": step(func(t *rapid.T) {
				if rapid.IntRange(0, 5).Draw(t, "rare") == 0 {
					w.state, _ = Quarantine(w.state, w.now, "")
				}
			}),
			"decide": step(func(t *rapid.T) {
				if w.state.Phase == Quarantined || rapid.IntRange(0, 19).Draw(t, "rare") == 0 {
					w.decide(t)
				}
			}),
			"look": step(w.look),
			"warn": step(func(*rapid.T) { w.state, _, _ = Warn(w.state, w.timing, w.now) }),
			"revoke": step(func(t *rapid.T) {
				if rapid.IntRange(0, 19).Draw(t, "rare") == 0 {
					w.state, _ = Revoke(w.state, w.now, "")
				}
			}),
		})
	})
}
