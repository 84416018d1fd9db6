package simulation

import (
	"slices"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

// grant is one grant as the simulation sees it. Guarded by the world's mutex.
type grant struct {
	index       int
	address     storage.Address
	id, account string
	app         string
	// durable is the newest record that a crash would leave.
	durable storage.Grant
	// families are the provider's families by the generation they began with.
	families map[uint64]string
	// settledAt is when its newest rotation became durable, answeredAt when some
	// process had an answer that may have been a pair.
	settledAt, answeredAt time.Time
	// liveSince is when its family came alive, at its consent or out of a reserve.
	liveSince time.Time
	// renewedAt is when its newest generation became durable.
	renewedAt time.Time
	// unwrittenAt is when the store last did not write it, and worked otherwise.
	unwrittenAt time.Time
	// forcing counts the operators' wishes to rotate that are at work, by process.
	forcing map[*life]int
	// refusedAt is when the provider last refused it without meaning it.
	refusedAt time.Time
	// racing: a consent comes while its rotation is on its way.
	racing bool
	// late: the next settlement comes after its lease.
	late bool
	// armed is the id of the provider's fault that waits for its next request.
	armed string
	// onWire are the spends under way.
	onWire map[*wire]*sending
	posts  []time.Time // of the last five minutes
}

// announced is one durable announcement.
type announced struct {
	attempt family.Attempt
	// afterLastTry: it repeats a last try, whose own leeway runs.
	afterLastTry bool
	sent         bool
	// at is when it became durable; forced: an operator's wish, whoever may be hurt.
	at     time.Time
	forced bool
}

// known is what the simulation knows of a token that became durable.
type known struct {
	grant      *grant
	generation uint64
	family     uint64
}

// observe checks a step that has just become durable, and remembers what it
// brought. Called with mu held.
func (w *world) observe(l *life, s *step) {
	g, was, will := s.grant, s.grant.durable.State, s.next.State
	l.seen[g] = s.item.Version
	if will.Generation < was.Generation || will.Fence < was.Fence {
		w.fail(7, g, "generation %d with fence %d became generation %d with fence %d", was.Generation, was.Fence, will.Generation, will.Fence)
	}
	if will.FamilyFirst != was.FamilyFirst && !s.has(family.EventConsented) {
		w.fail(14, g, "another family without a consent")
	}
	then, wasOpen := was.FirstAnnounced()
	now, isOpen := will.FirstAnnounced()
	if wasOpen && isOpen && was.Refresh.Equal(will.Refresh) && !now.Equal(then) {
		w.fail(5, g, "the first announcement of generation %d moved by %s", will.Generation, now.Sub(then))
	}
	w.checkAnnouncement(l, s)
	w.checkEvents(l, s)
	w.checkLapse(s)
	w.remember(s)
	w.checkClean(s)
	if lives(will.Phase) && !lives(was.Phase) {
		g.liveSince = time.Now()
	}
	if will.Generation != was.Generation {
		g.renewedAt = time.Now()
	}
	g.durable = s.next
}

// checkAnnouncement is about an attempt that became durable by the step.
func (w *world) checkAnnouncement(l *life, s *step) {
	g, was, a := s.grant, s.grant.durable.State, s.next.State.Attempt
	if a == nil || was.Attempt != nil && was.Attempt.ID == a.ID {
		return
	}
	w.stats.attempts[a.Kind]++
	next := &announced{attempt: *a, at: time.Now(), forced: g.forcing[l] > 0}
	l.announced[labelOf(s.next.State.Refresh.Reveal()).ID] = next
	if o := was.Attempt; o != nil && was.FamilyFirst == s.next.State.FamilyFirst && a.Announced.Before(o.LeaseUntil) {
		w.fail(2, g, "attempt %s began %s before the lease of attempt %s ended", a.ID, o.LeaseUntil.Sub(a.Announced), o.ID)
	}
	same := was.Refresh.Equal(s.next.State.Refresh)
	from := a.FirstAnnounced
	doubt := s.next.State.Doubt
	if doubt != nil && !doubt.LastTry.IsZero() && a.Kind == family.Repeat {
		from, next.afterLastTry = doubt.LastTry, true
	}
	if a.Kind == family.Repeat && !a.Announced.Before(from.Add(timing.Leeway)) {
		w.fail(5, g, "a repeat was announced %s after the leeway", a.Announced.Sub(from.Add(timing.Leeway)))
	}
	if left := s.next.State.Access.ExpiresAt.Sub(a.Announced); a.Kind == family.First && same && left > timing.AccessGrace+timing.ClockMargin &&
		!s.next.State.Access.Rejected && g.forcing[l] == 0 {
		w.fail(11, g, "a rotation began while the access token had %s left", left)
	}
	switch {
	case a.Kind != family.LastTry:
	case next.forced:
		w.risked[g.app+g.account] = true
	default:
		w.checkVouched(g, a)
	}
}

// checkVouched: a last try is announced only if somebody else's settlement
// vouches for the provider.
func (w *world) checkVouched(g *grant, a *family.Attempt) {
	vouches := func(at time.Time) bool {
		return a.Announced.Sub(at) < 2*time.Minute+timing.ClockMargin && at.After(a.FirstAnnounced.Add(-timing.ClockMargin))
	}
	// The exchange of a code vouches for the provider too, whatever becomes of the consent.
	vouched := vouches(w.exchanged["client-"+g.app])
	for _, o := range w.grants {
		if o == g || o.app != g.app {
			continue
		}
		vouched = vouched || vouches(o.settledAt) || vouches(o.answeredAt)
	}
	if !vouched {
		w.fail(6, g, "a last try while nothing says that the provider is well")
	}
}

// checkAlone: whoever lived when a last try became durable must not be hurt by
// the provider's kill when it is sent.
func (w *world) checkAlone(g *grant, a *announced) {
	for _, o := range w.grants {
		if o != g && o.app == g.app && o.account == g.account && lives(o.durable.State.Phase) && !o.liveSince.After(a.at) {
			w.fail(6, g, "a last try was sent while %s lives under the same account and app", o.address)
		}
	}
}

func lives(p family.Phase) bool { return p == family.Active || p == family.Suspected }

func (w *world) checkEvents(l *life, s *step) {
	g, was := s.grant, s.grant.durable.State
	for _, e := range s.events {
		w.checkClear(s, e.Detail)
		w.note(l, g, "durable: %s generation %d %s", e.Type, e.Generation, e.Detail)
		switch e.Type {
		case family.EventSettled:
			w.stats.rotations++
			g.settledAt = time.Now()
			if was.Attempt == nil || was.Attempt.ID != e.AttemptID {
				w.fail(8, g, "attempt %s was settled without its fence", e.AttemptID)
			}
			if was.Doubt != nil {
				w.stats.saved++
			}
		case family.EventInDoubt:
			w.stats.doubts++
		case family.EventAlternatePromoted:
			if len(s.next.State.Reserves) < len(was.Reserves) && s.next.State.Doubt != nil {
				w.stats.returns++
			}
		case family.EventVerdictHeld:
			w.held[g.app] = time.Now()
		case family.EventAlternateKept:
			w.stats.alternates++
		case family.EventConsented:
			w.stats.consents++
			if s.next.State.Generation != was.Generation+1 {
				w.fail(14, g, "a consent went from generation %d to %d", was.Generation, s.next.State.Generation)
			}
		}
	}
}

// checkClear: an event, which goes out by the API, names no token.
func (w *world) checkClear(s *step, detail string) {
	for _, st := range []family.State{s.grant.durable.State, s.next.State} {
		for _, token := range []secret.String{st.Refresh, st.Access.Token} {
			if !token.Empty() && strings.Contains(detail, token.Reveal()) {
				w.fail(17, s.grant, "an event shows a token")
			}
		}
	}
}

// checkLapse: only a family that the provider has ended may lapse, and never
// at the first refusal.
func (w *world) checkLapse(s *step) {
	g, was, will := s.grant, s.grant.durable.State, s.next.State
	if will.Phase != family.Lapsed || was.Phase == family.Lapsed {
		return
	}
	w.stats.lapses++
	entry, _ := w.sim.Family(g.families[will.FamilyFirst])
	if w.inReach(entry) {
		w.fail(12, g, "the family lapsed (%s) while it lives at the provider", will.Lapse)
	}
	if sus := will.Suspicion; will.Doubt == nil && (sus == nil || sus.Refusals < 2 || sus.Last.Sub(sus.First) < timing.ConfirmDelay-2*timing.ClockMargin) {
		w.fail(12, g, "the family lapsed without a second refusal after the delay")
	}
	if !w.weather.beyond {
		w.fail(0, g, "the family lapsed (%s), though every loss could have been avoided", will.Lapse)
	}
}

// inReach reports whether anybody has a living token of a family. A pair that came
// back to a process which died before it could store it is in nobody's reach,
// once outages may outlast the leeway.
func (w *world) inReach(f atlassiansim.FamilyEntry) bool {
	if f.EndedWhy != "" || f.Stranded {
		return false
	}
	return !w.weather.beyond || slices.ContainsFunc(f.LiveRefresh, func(id string) bool { _, stored := w.refreshTokens[id]; return stored })
}

// remember takes in the tokens that have become durable.
func (w *world) remember(s *step) {
	g, st := s.grant, s.next.State
	take := func(refresh, access string, generation uint64) {
		r := labelOf(refresh)
		if have, ok := g.families[st.FamilyFirst]; ok && have != r.Family {
			w.fail(14, g, "a token of %s settled into the family that began with generation %d, which is %s", r.Family, st.FamilyFirst, have)
		}
		g.families[st.FamilyFirst] = r.Family
		// A token keeps its generation, but for one that the provider did not replace.
		if have, ok := w.refreshTokens[r.ID]; !ok || g.durable.State.Refresh.Reveal() == refresh {
			w.refreshTokens[r.ID] = known{g, generation, st.FamilyFirst}
		} else {
			generation = have.generation
		}
		w.accessTokens[access] = known{g, generation, st.FamilyFirst}
	}
	take(st.Refresh.Reveal(), st.Access.Token.Reveal(), st.Generation)
	for _, a := range st.Alternates {
		w.alternates[labelOf(a.Refresh.Reveal()).ID] = true
		take(a.Refresh.Reveal(), a.Access.Token.Reveal(), a.Generation)
	}
}

// checkClean: a record that shows its token as unspent is right about it. Of a
// sibling that came late nobody can know whether the provider lets it live.
func (w *world) checkClean(s *step) {
	st := s.next.State
	if _, open := st.FirstAnnounced(); open || st.Phase != family.Active || w.alternates[labelOf(st.Refresh.Reveal()).ID] {
		return
	}
	if !w.isLive(st.Refresh) {
		w.fail(4, s.grant, "generation %d is taken for unspent and is not", st.Generation)
	}
}

// isLive reports whether the provider would take a refresh token as unspent, or
// has ended its family for other reasons.
func (w *world) isLive(refresh secret.String) bool {
	l := labelOf(refresh.Reveal())
	entry, ok := w.sim.Family(l.Family)
	if !ok || entry.EndedWhy != "" {
		return ok
	}
	for _, id := range entry.LiveRefresh {
		if id == l.ID {
			return true
		}
	}
	return false
}

// overdue looks for families whose leeway runs out while nobody does anything
// about it. Called now and then, with mu held.
func (w *world) overdue() {
	if w.weather.beyond {
		return
	}
	for _, g := range w.grants {
		if first, open := g.durable.State.FirstAnnounced(); open && time.Since(first) > timing.Leeway-30*time.Second {
			w.fail(5, g, "left in doubt until its leeway was over")
		}
	}
}
