package broker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

const (
	// verdictWindow is how far back attempts count. They are counted by the
	// minute, so that it is up to a minute longer.
	verdictWindow = 5 * time.Minute
	// keptMinutes covers the window with the minute that has begun.
	keptMinutes = 6
	// heldInSilence ends a hold during which the provider has neither refused many
	// nor taken any: after a day of refusals a few families may well be dead.
	heldInSilence = 24 * time.Hour
	// knownFor is how long what was read of an app's record is relied on: an
	// operator's pause binds all replicas within 15 s.
	knownFor = 10 * time.Second
	// readPatience bounds reading the record before a refusal is settled.
	readPatience = 2 * time.Second
)

// verdictTally is what this replica counted of an app's attempts, and what it knows of
// the other replicas and of the operators. Guarded by app.mu.
type verdictTally struct {
	replica string
	own     []storage.AppMinute // oldest first, at most keptMinutes
	// counted goes up with own; shared is what it was when own was last written.
	counted, shared uint64
	// record as last read or written, never changed in place; knownAt is when
	// that began, zero: never.
	record  storage.App
	knownAt time.Time
	// held: verdicts are held; heldAt is when too many were last refused for one.
	held   bool
	heldAt time.Time
	// edits wait to be recorded.
	edits []func(*storage.App)
	// failing: the record could not be written the last time.
	failing bool
	// resumedAt is the newest resumption that this replica has followed.
	resumedAt time.Time
}

// count adds one attempt to the present minute.
func (t *verdictTally) count(now time.Time, refused bool) {
	minute := now.Truncate(time.Minute)
	last := len(t.own) - 1
	if last < 0 || t.own[last].At.Before(minute) {
		t.own = append(t.own, storage.AppMinute{At: minute})
		t.own = t.own[max(0, len(t.own)-keptMinutes):]
		last = len(t.own) - 1
	}
	t.own[last].Attempts++
	if refused {
		t.own[last].Refusals++
	}
	t.counted++
}

// recent counts what ended within the window, on all replicas.
func (t *verdictTally) recent(now time.Time) (attempts, refusals uint64) {
	return sum(t.minutes(), now, verdictWindow)
}

// minutes of all replicas, in no order.
func (t *verdictTally) minutes() []storage.AppMinute {
	all := slices.Clone(t.own)
	for _, w := range t.record.Windows {
		if w.Replica != t.replica {
			all = append(all, w.Minutes...)
		}
	}
	return all
}

// sum counts what ended within a span of time before now, and in the minute in which that began.
func sum(minutes []storage.AppMinute, now time.Time, span time.Duration) (attempts, refusals uint64) {
	for _, m := range minutes {
		if m.At.Add(time.Minute).After(now.Add(-span)) && !m.At.After(now) { // later ones are of a wrong clock
			attempts, refusals = attempts+uint64(m.Attempts), refusals+uint64(m.Refusals)
		}
	}
	return attempts, refusals
}

// judge says whether verdicts are held by what the minutes of all replicas
// count. A wave that follows much traffic is a small share of the whole window
// for longer than the first of its refusals take to be confirmed, so that it is
// looked for in the last minute, and in this one, as well.
func judge(was bool, at, now time.Time, minutes []storage.AppMinute) (bool, time.Time) {
	for _, span := range [...]time.Duration{0, time.Minute} {
		if attempts, refusals := sum(minutes, now, span); wave(attempts, refusals) {
			return true, now
		}
	}
	attempts, refusals := sum(minutes, now, verdictWindow)
	return hold(was, at, now, attempts, refusals)
}

// many is more than a fifth; in a wave they are not few either.
func many(attempts, refusals uint64) bool { return 5*refusals > attempts }
func wave(attempts, refusals uint64) bool { return refusals >= 5 && many(attempts, refusals) }

// hold says whether verdicts are held: at least 5 refusals, and more than 20% of
// the attempts. A hold ends by what the provider takes, not by silence: the
// families that it refused are asked ever more seldom, which must not look
// like its recovery. at is when there were last that many.
func hold(was bool, at, now time.Time, attempts, refusals uint64) (bool, time.Time) {
	switch {
	case wave(attempts, refusals):
		return true, now
	case was && now.Sub(at) < heldInSilence && (many(attempts, refusals) || attempts == 0):
		return true, at
	}
	return false, at
}

// weigh counts the outcome of a spend, and says whether it is a refusal that
// proves nothing, since so many families of the app are refused. For a refusal
// it may read the app's record, which takes readPatience at most.
func (b *Broker) weigh(ctx context.Context, a *app, g *storage.Grant, o family.Outcome) bool {
	now := b.now()
	refused := o.Class == family.Refused
	again := g.State.Suspicion != nil && g.State.Suspicion.AskedAgain
	a.mu.Lock()
	if o.Class != family.NotSpent && !(refused && again) { // see family.Suspicion
		a.tally.count(now, refused)
	}
	stale := now.Sub(a.tally.knownAt) > b.knownFor()
	a.mu.Unlock()
	if !refused {
		return false
	}
	if stale {
		ctx, cancel := detach(ctx, readPatience)
		defer cancel()
		if err := b.readApp(ctx, a); err != nil {
			b.log.Warn("reading what other replicas know of an app failed; its own counts decide", "app", a.ID, "error", err)
		}
	}
	return a.verdictsHeld(now)
}

// verdictsHeld says whether a refusal proves nothing now.
func (a *app) verdictsHeld(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	held, at := judge(a.tally.held, a.tally.heldAt, now, a.tally.minutes())
	a.setHeld(held, at)
	return held
}

// setHeld needs a.mu.
func (a *app) setHeld(held bool, at time.Time) {
	was := a.tally.held
	a.tally.held, a.tally.heldAt = held, at
	switch {
	case held && !was:
		a.log.Warn("so many families are refused at once that verdicts are held; each stays and is asked again later", "app", a.ID)
	case was && !held:
		a.log.Info("verdicts are no longer held", "app", a.ID)
	}
}

// mergeInto writes this replica's counts into rec, drops what is too old to
// count, and decides about the hold with all of it.
func (t *verdictTally) mergeInto(rec *storage.App, now time.Time) {
	rec.Windows = slices.DeleteFunc(rec.Windows, func(w storage.AppWindow) bool { return w.Replica == t.replica })
	rec.Windows = append(rec.Windows, storage.AppWindow{Replica: t.replica, Minutes: slices.Clone(t.own)})
	oldest := now.Add(-keptMinutes * time.Minute)
	var all []storage.AppMinute
	for i := range rec.Windows {
		w := &rec.Windows[i]
		w.Minutes = slices.DeleteFunc(w.Minutes, func(m storage.AppMinute) bool { return m.At.Before(oldest) })
		all = append(all, w.Minutes...)
	}
	rec.Windows = slices.DeleteFunc(rec.Windows, func(w storage.AppWindow) bool { return len(w.Minutes) == 0 })
	was, at := rec.VerdictsHeld, rec.HeldAt
	if t.heldAt.After(at) {
		was, at = t.held, t.heldAt
	}
	held, at := judge(was, at, now, all)
	if held != rec.VerdictsHeld {
		e := storage.AppEvent{Type: storage.AppVerdictsReleased, At: now, Detail: "families are believed to be dead again after two refusals"}
		if held {
			attempts, refusals := sum(all, now, verdictWindow)
			e.Type, e.Detail = storage.AppVerdictsHeld, fmt.Sprintf("%d of the %d attempts of the last minutes were refused", refusals, attempts)
		}
		rec.Events = append(rec.Events, e)
	}
	rec.VerdictsHeld, rec.HeldAt = held, at
}
