package chaos

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/holdfast-io/holdfast/e2e/rig"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const (
	// callPause between two draws of a grant through one replica, about.
	callPause = 150 * time.Millisecond
	// forcePause between two rotations that the operator forces, of one grant after the other.
	forcePause = 350 * time.Millisecond
	// journalPause between two looks at all journals, of which the newest 64 entries are kept.
	journalPause = 1500 * time.Millisecond
	// CallPatience of one call.
	CallPatience = 8 * time.Second
)

// Load is everything that asks the cluster for something.
type Load struct {
	History History
	Grants  []*Grant

	c       *Cluster
	running sync.WaitGroup
	cancel  context.CancelFunc

	mu sync.Mutex // guards what follows
	// rounds of revocation, by grant.
	rounds map[int]int
}

// Seed consents to all grants, one after the other, at the first replica.
func (c *Cluster) Seed(grants []*Grant) *Load {
	c.t.Helper()
	for _, g := range grants {
		c.Replicas[0].Consent(c.t, g.App, g.Subject, g.Account)
	}
	return &Load{Grants: grants, c: c, rounds: map[int]int{}}
}

// Start lets callers draw every grant through every replica, and an operator force
// rotations, revoke and re-consent grants, until Stop.
func (l *Load) Start(seed uint64) {
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	for n, g := range l.Grants {
		for _, r := range l.c.Replicas {
			random := rand.New(rand.NewPCG(seed, uint64(100*n+r.Number)))
			l.running.Go(func() {
				for pause(ctx, callPause/2+time.Duration(random.Int64N(int64(callPause)))) {
					l.draw(ctx, r, n)
				}
			})
		}
		if g.Revoked {
			random := rand.New(rand.NewPCG(seed, uint64(10_000+n)))
			l.running.Go(func() { l.revokeAgainAndAgain(ctx, n, random) })
		}
	}
	l.running.Go(func() { l.force(ctx, rand.New(rand.NewPCG(seed, 20_000))) })
	l.running.Go(func() {
		for pause(ctx, journalPause) {
			l.ReadJournals(ctx)
		}
	})
}

// Stop ends the load and waits for all calls.
func (l *Load) Stop() {
	l.cancel()
	l.running.Wait()
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

// do makes one call and writes it down. The call is let to its end when the load
// ends: a call that was broken off says nothing.
func (l *Load) do(verb Verb, r *Replica, grant int, call func(context.Context, *Op) error) Op {
	ctx, cancel := context.WithTimeout(context.Background(), CallPatience)
	defer cancel()
	o := Op{Verb: verb, Grant: grant, Replica: r.Number, Round: l.round(grant, 0), Call: l.c.Now()}
	err := call(ctx, &o)
	o.Return = l.c.Now()
	o.fail(err)
	if err != nil && (verb == Revoke || verb == Consent) {
		o.Return = forever
	}
	l.History.add(o)
	return o
}

// round counts the revocations of a grant, and more of them.
func (l *Load) round(grant, more int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rounds[grant] += more
	return l.rounds[grant]
}

// fail notes what an error says.
func (o *Op) fail(err error) {
	if err == nil {
		return
	}
	s := status.Convert(err)
	o.Code, o.Reason, o.Message = s.Code().String(), rig.Reason(err), s.Message()
	for _, d := range s.Details() {
		if _, ok := d.(*errdetails.RetryInfo); ok {
			o.Retry = true
		}
	}
}

// draw asks for a token once.
func (l *Load) draw(_ context.Context, r *Replica, grant int) Op {
	return l.do(Draw, r, grant, func(ctx context.Context, o *Op) error {
		answer, err := r.Tokens.GetAccessToken(ctx, &holdfastv1.GetAccessTokenRequest{
			Grant: l.Grants[grant].selector(), MinTtl: durationpb.New(AccessGrace / 2), Purpose: "chaos",
		})
		if err != nil {
			return err
		}
		o.Generation = answer.GetGeneration()
		o.Token, err = readToken(answer.GetAccessToken())
		return err
	})
}

// force rotates grants that nobody revokes, in turn, through any replica.
func (l *Load) force(ctx context.Context, random *rand.Rand) {
	for n := 0; pause(ctx, forcePause); n++ {
		if grant := n % len(l.Grants); !l.Grants[grant].Revoked {
			l.Force(l.any(random), grant)
		}
	}
}

// Force rotates a grant once.
func (l *Load) Force(r *Replica, grant int) Op {
	return l.do(Force, r, grant, func(ctx context.Context, _ *Op) error {
		_, err := r.Admin.ForceRefresh(ctx, &holdfastv1.ForceRefreshRequest{Grant: l.Grants[grant].selector()})
		return err
	})
}

func (l *Load) any(random *rand.Rand) *Replica {
	return l.c.Replicas[random.IntN(len(l.c.Replicas))]
}

// ReadJournals notes the attempts in all journals before they fall out of them,
// through the first replica that answers.
func (l *Load) ReadJournals(ctx context.Context) (missed int) {
	for n := range l.Grants {
		if !l.readJournal(ctx, n) {
			missed++
		}
	}
	return missed
}

func (l *Load) readJournal(ctx context.Context, grant int) bool {
	for _, r := range l.c.Replicas {
		ctx, cancel := context.WithTimeout(ctx, CallPatience/4)
		answer, err := r.Admin.GetGrant(ctx, &holdfastv1.GetGrantRequest{Grant: l.Grants[grant].selector()})
		cancel()
		if err != nil {
			continue
		}
		for _, e := range answer.GetEvents() {
			if e.GetType() == holdfastv1.GrantEventType_GRANT_EVENT_TYPE_ANNOUNCED {
				l.History.announce(grant, e.GetAttemptId(), Announced{
					At: e.GetOccurredAt().AsTime(), Generation: e.GetGeneration(), Fence: e.GetFence(), LastTry: e.GetDetail() == "last_try",
				})
			}
		}
		return true
	}
	return false
}
