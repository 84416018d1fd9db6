package broker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// Defaults of Load. Atlassian publishes no limit of its token endpoint, and none
// was measured. They are reckoned from an organisation's need instead: 5,000
// grants in use are 1.4 rotations a second when tokens live an hour; ten a second
// leave room for a morning on which all of them are wanted at once (8 minutes),
// and are few for an endpoint of that size. Sixteen at a time let that rate hold
// up to an answer time of 1.6 s.
const (
	DefaultLoadRate        = 10
	DefaultLoadBurst       = 20
	DefaultLoadConcurrency = 16
)

// MostLoadRate and MostLoadConcurrency bound Load. No provider is known to take
// more than the first; each spend under way has 256 KiB of the spill file.
const (
	MostLoadRate        = 100_000
	MostLoadConcurrency = 1000
)

// Load bounds what is asked of the provider for one app.
type Load struct {
	// Rate of spends per second; 0 means DefaultLoadRate.
	Rate float64
	// Burst of spends that may follow one another at once; 0 means DefaultLoadBurst.
	Burst int
	// Concurrency of spends; 0 means DefaultLoadConcurrency. Idle families that
	// are kept alive take half of it, and of the burst, at most.
	Concurrency int
}

func (l Load) withDefaults() Load {
	if l.Rate == 0 {
		l.Rate = DefaultLoadRate
	}
	if l.Burst == 0 {
		l.Burst = DefaultLoadBurst
	}
	if l.Concurrency == 0 {
		l.Concurrency = DefaultLoadConcurrency
	}
	return l
}

// validate reports everything that is wrong with l, whose zero fields mean defaults.
func (l Load) validate() error {
	var errs []error
	if l.Rate < 0 || l.Rate > 0 && l.Rate < 0.01 || l.Rate > MostLoadRate {
		errs = append(errs, fmt.Errorf("broker configuration: Load.Rate %v: want 0.01 to %d a second", l.Rate, MostLoadRate))
	}
	if l.Burst < 0 || l.Burst == 1 || l.Concurrency < 0 || l.Concurrency == 1 {
		errs = append(errs, errors.New("broker configuration: Load.Burst and Load.Concurrency: want 2 at least, so that a half is left to callers"))
	}
	return errors.Join(errs...)
}

const (
	// admitPatience is how long an attempt waits for its turn at most.
	admitPatience = 10 * time.Second
	// mostPaused bounds how long the provider's Retry-After holds an app back.
	mostPaused = 15 * time.Minute
	// limitedFirst is the first pause of an app that was limited twice in a row
	// without being told for how long; it doubles up to a minute.
	limitedFirst = 5 * time.Second
	// pressed is the end of a leeway in which a doubt goes ahead of every limit
	// but the number of slots: later there is nothing to repeat.
	pressed = 2 * time.Minute
)

// load is the gate that every attempt of one app passes before it is announced:
// what it holds back is not announced, so that it puts nothing in doubt.
type load struct {
	limits Load
	timing family.Timing
	random func() float64 // in [0,1)
	// slots of all attempts under way, and idle, the half that keep-alives may take.
	slots, idle *semaphore.Weighted
	// sweeping: due grants of the app are at work. restUntil, in Unix
	// nanoseconds, holds the sweep back from an app for which nothing can be done.
	sweeping  atomic.Bool
	restUntil atomic.Int64

	mu          sync.Mutex // guards all below; never held while waiting
	bucket      *rate.Limiter
	breaker     breaker
	pausedUntil time.Time // by the provider's wish
	limited     int       // answers in a row that asked to wait and did not say how long
}

func newLoad(l Load, t family.Timing) *load {
	l = l.withDefaults()
	return &load{
		limits: l, timing: t, random: rand.Float64,
		slots: semaphore.NewWeighted(int64(l.Concurrency)), idle: semaphore.NewWeighted(int64(l.Concurrency / 2)),
		bucket: rate.NewLimiter(rate.Limit(l.Rate), l.Burst),
	}
}

// errNoRoom: a keep-alive finds no room beside the callers; nobody waits for it.
var errNoRoom = errors.New("no room to keep an idle family alive now")

// applicant is a grant that wants a turn.
type applicant struct {
	grant string
	// idle: nobody waits for it and nothing is lost by waiting.
	idle bool
	// doubtUntil is until when a repeat can cure its doubt; zero: none can.
	doubtUntil time.Time
	// lastTry: its doubt is beyond repeats.
	lastTry bool
	// forced: an operator decided.
	forced bool
}

func (l *load) applicant(now time.Time, g *storage.Grant, n family.Need) applicant {
	s := family.Normalize(g.State, l.timing, now)
	p := applicant{grant: g.ID, forced: n.Force}
	if until, ok := s.RepeatUntil(l.timing); ok && until.After(now) {
		p.doubtUntil = until
	}
	p.lastTry = s.Doubt != nil && p.doubtUntil.IsZero()
	p.idle = n.KeepAlive && s.Doubt == nil && s.Phase != family.Suspected
	return p
}

// pressing reports that a repeat can not wait, whatever the provider wishes.
func (p applicant) pressing(now time.Time) bool {
	return !p.doubtUntil.IsZero() && p.doubtUntil.Sub(now) < pressed
}

// admit waits for the grant's turn, admitPatience at the most. The caller must
// call leave once its attempt has ended, whatever became of it. A refusal is an
// *Error with RetryInfo, or errNoRoom for a keep-alive, which never waits.
func (l *load) admit(ctx context.Context, now func() time.Time, g *storage.Grant, n family.Need) (leave func(), err error) {
	began := now()
	p := l.applicant(began, g, n)
	if p.idle {
		return l.admitIdle(began, p)
	}
	ctx, cancel := context.WithTimeout(ctx, admitPatience)
	defer cancel()
	wait, err := l.reserve(began, p, g)
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil, crowded(g, admitPatience)
	}
	if err := l.slots.Acquire(ctx, 1); err != nil {
		return nil, crowded(g, admitPatience)
	}
	// While it waited the provider may have begun to fail.
	if err := l.enter(now(), p, g); err != nil {
		l.slots.Release(1)
		return nil, err
	}
	return func() { l.slots.Release(1) }, nil
}

// reserve takes a token of the bucket and says how long to wait for it.
func (l *load) reserve(now time.Time, p applicant, g *storage.Grant) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refusal(now, p, g); err != nil {
		return 0, err
	}
	token := l.bucket.ReserveN(now, 1)
	wait := token.DelayFrom(now)
	switch {
	case p.pressing(now):
		return 0, nil // those after it wait longer
	case wait > admitPatience:
		token.CancelAt(now)
		return 0, crowded(g, l.spread(wait))
	}
	return wait, nil
}

// enter is the last look before the attempt is announced.
func (l *load) enter(now time.Time, p applicant, g *storage.Grant) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refusal(now, p, g); err != nil {
		return err
	}
	l.breaker.enter(now, p.grant, p.doubtUntil, l.random())
	return nil
}

// refusal is called with mu held.
func (l *load) refusal(now time.Time, p applicant, g *storage.Grant) error {
	if left := l.pausedUntil.Sub(now); left > 0 && !p.pressing(now) {
		return &Error{Reason: ReasonProviderRateLimited, RetryAfter: l.spread(left),
			Message: fmt.Sprintf("the provider asked app %q to wait, and the access token of %s has ended; it is tried again in %v", g.App, g.Address, left.Round(time.Second))}
	}
	left := l.breaker.opensAt(now, p.grant, !p.doubtUntil.IsZero()).Sub(now)
	if p.lastTry && l.breaker.open() {
		left = probeMost // a last try is for a provider that is well
	}
	if left > 0 && !p.forced {
		return &Error{Reason: ReasonProviderUnavailable, RetryAfter: l.spread(min(left, probeMost)),
			Message: fmt.Sprintf("the provider fails for app %q, so nothing is spent for %s until another grant of the app was answered; it is tried again by itself", g.App, g.Address)}
	}
	return nil
}

// admitIdle lets a keep-alive through if half of everything is free.
func (l *load) admitIdle(now time.Time, p applicant) (leave func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.spareLocked(now, p) || !l.idle.TryAcquire(1) {
		return nil, errNoRoom
	}
	if !l.slots.TryAcquire(1) {
		l.idle.Release(1)
		return nil, errNoRoom
	}
	l.bucket.AllowN(now, 1)
	l.breaker.enter(now, p.grant, p.doubtUntil, l.random())
	return func() {
		l.slots.Release(1)
		l.idle.Release(1)
	}, nil
}

func (l *load) spareLocked(now time.Time, p applicant) bool {
	return !l.pausedUntil.After(now) && !l.breaker.opensAt(now, p.grant, false).After(now) &&
		l.bucket.TokensAt(now) >= float64(l.limits.Burst/2+1)
}

// spare reports whether a keep-alive of the grant would find room now.
func (l *load) spare(now time.Time, grant string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.spareLocked(now, applicant{grant: grant, idle: true})
}

// circuit says that the circuit was opened or closed.
type circuit int

const (
	circuitAsBefore circuit = iota
	circuitOpened
	circuitClosed
)

// learn takes the outcome of an attempt that was announced as g says.
func (l *load) learn(now time.Time, g *storage.Grant, o family.Outcome) circuit {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case o.Class == family.Settled:
		l.limited = 0
	case o.Class == family.Transient && o.RetryAfter == 0:
		if l.limited++; l.limited > 1 {
			l.pause(now, min(limitedFirst<<min(l.limited-2, 8), time.Minute))
		}
	case o.Class == family.Transient || o.Class == family.InDoubt:
		l.pause(now, min(o.RetryAfter, mostPaused))
	}
	var doubtUntil time.Time
	if o.Class == family.InDoubt || g.State.Doubt != nil && o.Class != family.Settled && o.Class != family.Refused {
		doubtUntil, _ = g.State.RepeatUntil(l.timing)
	}
	if !l.breaker.learn(now, g.ID, o, doubtUntil, l.random()) {
		return circuitAsBefore
	}
	if l.breaker.open() {
		return circuitOpened
	}
	// The provider is back, perhaps just so: those who waited come one by one,
	// at the bucket's rate.
	if n := int(l.bucket.TokensAt(now)); n > 0 {
		l.bucket.AllowN(now, n)
	}
	return circuitClosed
}

func (l *load) pause(now time.Time, d time.Duration) {
	l.pausedUntil = later(l.pausedUntil, now.Add(d))
}

// standing says whether the circuit is open, and until when the provider asked
// to wait; zero: it does not.
func (l *load) standing(now time.Time) (open bool, pausedUntil time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pausedUntil.After(now) {
		pausedUntil = l.pausedUntil
	}
	return l.breaker.open(), pausedUntil
}

// spread makes a wait up to a quarter longer: who waits for the same thing must
// not come back in the same moment. A second is the least.
func (l *load) spread(d time.Duration) time.Duration {
	d = max(d, time.Second)
	return d + time.Duration(l.random()*float64(d)/4)
}

func crowded(g *storage.Grant, wait time.Duration) *Error {
	return &Error{Reason: ReasonProviderRateLimited, RetryAfter: wait,
		Message: fmt.Sprintf("too many grants of app %q are refreshed at once for the configured rate (provider.rate, provider.concurrency); %s has its turn in about %v", g.App, g.Address, wait.Round(time.Second))}
}
