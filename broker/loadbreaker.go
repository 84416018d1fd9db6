package broker

import (
	"maps"
	"time"

	"github.com/holdfast-io/holdfast/broker/family"
)

// The circuit breaker's measures. Nothing about Atlassian's outages is measured;
// each is chosen for what a wrong choice costs.
const (
	// rowOpens grants that fail one after the other, nobody succeeding between
	// them within rowLasts, open the circuit. Grants and not attempts: one family
	// that the provider always fails for must not stop the others.
	rowOpens = 3
	rowLasts = 10 * time.Minute
	// shareOpens of at least shareLeast attempts of the last minute open it too.
	shareOpens = 0.5
	shareLeast = 10
	// The canary is let through after probeFirst, then after twice as long each
	// time, up to probeMost.
	probeFirst = 5 * time.Second
	probeMost  = time.Minute
	// canaryRests is how long a canary's place is kept for it when it does not come.
	canaryRests = time.Minute
	// canaryAnyway is when a canary is let through although grants in doubt are
	// repeated: it may be only for those that the provider fails.
	canaryAnyway = 2 * time.Minute
)

// breaker keeps an outage of the provider from putting one family after the
// other in doubt. It is closed, or open:
//
//	         rowOpens grants fail in a row,
//	         or shareOpens of a minute's attempts
//	CLOSED ----------------------------------> OPEN: grants in doubt repeat; else the
//	   ^                                         |   canary spends, now and then;
//	   +-----------------------------------------+   all others are refused
//	              any attempt settles
//
// Grants in doubt are the better probes: repeating puts nobody else in doubt.
// The canary is one grant and stays that one. Only when it can not be repeated
// any more, or does not come, another takes its place.
//
// The zero value is closed. It is not safe for concurrent use.
type breaker struct {
	opened time.Time // zero: closed
	// row are the grants that failed since somebody settled, and when.
	row    map[string]time.Time
	recent [6]tenSeconds // of the last minute
	// doubts are grants in doubt, and until when a repeat can cure them.
	doubts    map[string]time.Time
	canary    string
	probes    int
	nextProbe time.Time
}

// tenSeconds counts the outcomes of ten seconds.
type tenSeconds struct {
	ten          int64 // which ones, since 1970
	failed, good int
}

// failure reports whether an outcome says that the provider fails. What it
// answered in words that are listed, or what this broker held back, does not.
func failure(o family.Outcome) bool {
	heldBack := o.Code == "guard" || o.Code == "canceled" || o.Code == notAlone
	return o.Class == family.InDoubt || o.Class == family.NotSpent && !heldBack
}

func (k *breaker) open() bool { return !k.opened.IsZero() }

// opensAt is when a grant may be tried while the circuit is open; not after now:
// it may be now. doubtful grants wait for nothing but their own backoff.
func (k *breaker) opensAt(now time.Time, grant string, doubtful bool) time.Time {
	if !k.open() || doubtful {
		return now
	}
	if until := k.doubts[k.canary]; until.After(now) {
		return until
	}
	at := k.nextProbe
	if k.repeating(now) {
		at = later(at, k.opened.Add(canaryAnyway))
	}
	if k.canary != "" && k.canary != grant {
		at = later(at, k.nextProbe.Add(canaryRests))
	}
	return at
}

// enter notes that a grant, for which opensAt said now, is tried. random is in [0,1).
func (k *breaker) enter(now time.Time, grant string, doubtUntil time.Time, random float64) {
	if !doubtUntil.IsZero() {
		k.doubt(grant, doubtUntil)
		return
	}
	if k.open() {
		k.canary = grant
		k.probe(now, random)
	}
}

func (k *breaker) probe(now time.Time, random float64) {
	d := min(probeFirst<<min(k.probes, 8), probeMost)
	k.nextProbe = now.Add(d + time.Duration(random*float64(d)/4))
	k.probes++
}

func (k *breaker) doubt(grant string, until time.Time) {
	if k.doubts == nil {
		k.doubts = make(map[string]time.Time)
	}
	k.doubts[grant] = until
}

// repeating reports whether a grant is in doubt that can still be repeated.
func (k *breaker) repeating(now time.Time) bool {
	maps.DeleteFunc(k.doubts, func(_ string, until time.Time) bool { return !until.After(now) })
	return len(k.doubts) > 0
}

// learn takes an outcome, after which the grant is in doubt until doubtUntil
// (zero: it is not). It reports whether the circuit was opened or closed by it.
func (k *breaker) learn(now time.Time, grant string, o family.Outcome, doubtUntil time.Time, random float64) (changed bool) {
	if doubtUntil.IsZero() {
		delete(k.doubts, grant)
	} else {
		k.doubt(grant, doubtUntil)
	}
	switch {
	case o.Class == family.Settled:
		k.count(now, true)
		clear(k.row)
		if changed = k.open(); changed {
			*k = breaker{doubts: k.doubts} // what failed until now counts no more
		}
	case failure(o):
		k.count(now, false)
		if k.row == nil {
			k.row = make(map[string]time.Time)
		}
		k.row[grant] = now
		if changed = !k.open() && k.trips(now); changed {
			k.opened = now
			k.probe(now, random)
		}
	case k.canary == grant: // it was answered, though not with a pair: another grant may know more
		k.canary = ""
	}
	return changed
}

func (k *breaker) count(now time.Time, good bool) {
	ten := now.Unix() / 10
	t := &k.recent[ten%int64(len(k.recent))]
	if t.ten != ten {
		*t = tenSeconds{ten: ten}
	}
	if good {
		t.good++
	} else {
		t.failed++
	}
}

func (k *breaker) trips(now time.Time) bool {
	maps.DeleteFunc(k.row, func(_ string, at time.Time) bool { return now.Sub(at) > rowLasts })
	if len(k.row) >= rowOpens {
		return true
	}
	failed, all := 0, 0
	for _, t := range k.recent {
		if now.Unix()/10-t.ten < int64(len(k.recent)) {
			failed, all = failed+t.failed, all+t.failed+t.good
		}
	}
	return all >= shareLeast && float64(failed) >= shareOpens*float64(all)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
