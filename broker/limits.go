package broker

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/holdfast-io/holdfast/broker/pace"
	"github.com/holdfast-io/holdfast/storage"
)

// Defaults of Limits.
const (
	// DefaultGrantRate is twice what one caller may ask for by default, so that
	// none keeps a grant from the others alone.
	DefaultGrantRate  = 2000
	DefaultGrantBurst = 4000
	// A waiting call takes about 20 KB.
	DefaultWaiting         = 10_000
	DefaultWaitingPerGrant = 1000
)

// Limits of draws. A zero field means its default.
type Limits struct {
	// GrantRate is how many tokens a second of one grant are handed out, to all
	// its callers together, and GrantBurst how many at once after a pause.
	GrantRate, GrantBurst int
	// Waiting calls for a refresh, of all grants and of each.
	Waiting, WaitingPerGrant int
}

func (l *Limits) applyDefaults() error {
	for _, d := range []struct {
		field *int
		value int
	}{
		{&l.GrantRate, DefaultGrantRate}, {&l.GrantBurst, DefaultGrantBurst},
		{&l.Waiting, DefaultWaiting}, {&l.WaitingPerGrant, DefaultWaitingPerGrant},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
		if *d.field < 1 || *d.field > 1_000_000_000 {
			return errors.New("broker configuration: Limits: want numbers from 1 to a thousand million")
		}
	}
	return nil
}

// throttle is the state that all grants share.
type throttle struct {
	Limits
	grant pace.Limit
	// began is by the process's own clock, which nobody sets.
	began   time.Time
	waiting atomic.Int64
}

func newThrottle(l Limits) *throttle {
	return &throttle{Limits: l, grant: pace.NewLimit(l.GrantRate, l.GrantBurst), began: time.Now()}
}

// take counts a draw of the grant by somebody who may draw: who may not
// could else keep those who may from it.
func (l *throttle) take(sl *slot, a storage.Address) error {
	wait := sl.draws.Take(l.grant, time.Since(l.began), 1)
	if wait == 0 {
		return nil
	}
	return &Error{Reason: ReasonCallerRateLimited, RetryAfter: wait, Metadata: map[string]string{"limit": "grant_rate"},
		Message: fmt.Sprintf("tokens of %s are asked for more than %d times a second by all callers together: keep a token until its refresh_after; "+
			"an operator can raise limits.grant_rate", a, l.GrantRate)}
}

// enqueue lets a call wait for a refresh of the grant, until leave.
func (l *throttle) enqueue(sl *slot, a storage.Address) (leave func(), err error) {
	leave = func() {
		l.waiting.Add(-1)
		sl.waiting.Add(-1)
	}
	all, own := l.waiting.Add(1), sl.waiting.Add(1)
	limit, most := "waiting_calls", l.Waiting
	switch {
	case own > int64(l.WaitingPerGrant):
		limit, most = "waiting_calls_per_grant", l.WaitingPerGrant
	case all <= int64(l.Waiting):
		return leave, nil
	}
	leave()
	return nil, &Error{Reason: ReasonRefreshInProgress, RetryAfter: retrySoon, Metadata: map[string]string{"limit": limit},
		Message: fmt.Sprintf("%s is being refreshed, and as many calls wait as may (limits.%s: %d): call again", a, limit, most)}
}
