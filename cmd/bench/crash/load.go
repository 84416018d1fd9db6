package crash

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const (
	// callersPerGrant draw its token, each about every callPause.
	callersPerGrant = 2
	callPause       = 40 * time.Millisecond
	// forcePause between two rotations that the operator forces, of one grant after the other.
	forcePause = 700 * time.Millisecond
	// callPatience of one call, in which the broker may die and come back.
	callPatience = 10 * time.Second
)

var waitForBroker = grpc.WaitForReady(true)

// load is everything that asks the broker for something while it is killed.
type load struct {
	leg     *leg
	cancel  context.CancelFunc
	running sync.WaitGroup
	answers atomic.Uint64
	// served takes a value when a caller got a token, and is full until somebody looks.
	served chan struct{}

	mu sync.Mutex // guards all below
	// broken are the answers that should not have been given, the first few of them.
	broken    []string
	brokenAll int
	// lastTries are the ids of the attempts that were announced as last tries.
	lastTries map[string]bool
}

// startLoad lets the callers go. stop must follow.
func (l *leg) startLoad(ctx context.Context) *load {
	ctx, cancel := context.WithCancel(ctx)
	d := &load{leg: l, cancel: cancel, served: make(chan struct{}, 1), lastTries: map[string]bool{}}
	for i, g := range l.grants {
		for n := range callersPerGrant {
			d.running.Go(func() { d.call(ctx, g, rand.New(rand.NewPCG(l.seed, uint64(i*callersPerGrant+n)))) })
		}
	}
	d.running.Go(func() { d.operate(ctx) })
	return d
}

func (d *load) stop() {
	d.cancel()
	d.running.Wait()
}

// pause waits, or returns false if ctx ends before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// call draws the token of one grant again and again. Errors are what a caller
// of a broker that dies all the time has to expect.
func (d *load) call(ctx context.Context, g *grant, random *rand.Rand) {
	for pause(ctx, callPause/2+time.Duration(random.Int64N(int64(callPause)))) {
		if d.draw(ctx, g) != nil {
			continue
		}
		select {
		case d.served <- struct{}{}:
		default:
		}
	}
}

func (d *load) draw(ctx context.Context, g *grant) error {
	_, err := d.leg.draw(ctx, g)
	if errors.As(err, new(breachError)) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.brokenAll++; d.brokenAll <= 10 {
			d.broken = append(d.broken, err.Error())
		}
	}
	if err == nil {
		d.answers.Add(1)
	}
	return err
}

// breachError is an answer that should not have been given.
type breachError struct{ error }

// draw asks for a grant's token once and checks it against those before.
func (l *leg) draw(ctx context.Context, g *grant) (*holdfastv1.GetAccessTokenResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	floor := g.floor()
	answer, err := l.tokens.GetAccessToken(ctx, &holdfastv1.GetAccessTokenRequest{
		Grant: g.selector(), MinTtl: durationpb.New(accessGrace), Purpose: "crash",
	}, waitForBroker)
	if err != nil {
		return nil, err
	}
	if err := g.note(floor, answer); err != nil {
		return nil, breachError{err}
	}
	return answer, nil
}

// operate forces rotations, and reads journals for last tries before they fall
// out of them.
func (d *load) operate(ctx context.Context) {
	for n := 0; pause(ctx, forcePause); n++ {
		g := d.leg.grants[n%len(d.leg.grants)]
		_ = d.leg.force(ctx, g) // the broker may die of it
		for _, g := range d.leg.grants {
			d.readJournal(ctx, g)
		}
	}
}

func (l *leg) force(ctx context.Context, g *grant) error {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	_, err := l.admin.ForceRefresh(ctx, &holdfastv1.ForceRefreshRequest{Grant: g.selector()}, waitForBroker)
	return err
}

func (d *load) readJournal(ctx context.Context, g *grant) {
	ctx, cancel := context.WithTimeout(ctx, callPatience)
	defer cancel()
	answer, err := d.leg.admin.GetGrant(ctx, &holdfastv1.GetGrantRequest{Grant: g.selector()}, waitForBroker)
	if err != nil {
		return // the next round asks again, and the journal is long
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, e := range answer.GetEvents() {
		if e.GetType() == holdfastv1.GrantEventType_GRANT_EVENT_TYPE_ANNOUNCED && e.GetDetail() == "last_try" {
			d.lastTries[e.GetAttemptId()] = true
		}
	}
}
