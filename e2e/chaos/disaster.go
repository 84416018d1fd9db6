package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/e2e/chaos/faultproxy"
	"github.com/holdfast-io/holdfast/e2e/rig"
)

// Disaster is something that happens to one replica, from its beginning to its
// end. An error ends the run.
type Disaster struct {
	Name string
	Do   func(ctx context.Context, r *Replica, random *rand.Rand) error
}

// ProcessDisasters are those that happen to the process of a replica.
func ProcessDisasters() []Disaster {
	return []Disaster{{"SIGKILL", kill}, {"SIGSTOP past the lease", freeze}}
}

// ReplicaDisasters are all that can happen to a replica and to its way to the database.
func ReplicaDisasters() []Disaster {
	list := ProcessDisasters()
	for _, f := range []faultproxy.Fault{faultproxy.Cut, faultproxy.HalfOpen, faultproxy.Stalled, faultproxy.Deaf, faultproxy.Mute} {
		list = append(list, Disaster{f.String(), func(ctx context.Context, r *Replica, random *rand.Rand) error {
			return disconnect(ctx, r, f, random)
		}})
	}
	return append(list, Disaster{"slow", func(ctx context.Context, r *Replica, random *rand.Rand) error {
		return disconnect(ctx, r, faultproxy.Slow(between(random, 20*time.Millisecond, 400*time.Millisecond)), random)
	}})
}

// kill ends a life and begins the next one.
func kill(ctx context.Context, r *Replica, random *rand.Rand) error {
	over := r.Troubled("killed", true)
	defer over()
	if err := r.Kill(); err != nil {
		return err
	}
	pause(ctx, between(random, 0, 2*time.Second))
	return r.StartUntilServing()
}

// StartUntilServing begins lives until one serves, as a supervisor does: one that
// cannot reach the database ends.
func (r *Replica) StartUntilServing() error {
	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	defer cancel()
	for {
		if err := r.Start(); err != nil {
			return err
		}
		err := r.AwaitServing(rig.Patience)
		if err == nil {
			return nil
		}
		if _, ended := r.process(); !isClosed(ended) || !pause(ctx, tryAgain) {
			return err
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// freeze stops a replica until others must have taken over what it was at.
func freeze(ctx context.Context, r *Replica, random *rand.Rand) error {
	over := r.Troubled("stopped", true)
	defer over()
	if err := r.Freeze(); err != nil {
		return err
	}
	pause(ctx, Lease+between(random, 500*time.Millisecond, 3*time.Second))
	return r.Thaw()
}

// disconnect lets the replica's way to the database fail for a while. In most cases
// it gets slow first, so that the fault finds commits on their way.
func disconnect(ctx context.Context, r *Replica, f faultproxy.Fault, random *rand.Rand) error {
	over := r.Troubled(f.String(), false)
	defer over()
	if random.IntN(4) > 0 {
		r.Set(faultproxy.Slow(between(random, 40*time.Millisecond, 200*time.Millisecond)))
		pause(ctx, between(random, 600*time.Millisecond, 1200*time.Millisecond))
	}
	r.Set(f)
	pause(ctx, between(random, 1500*time.Millisecond, 6*time.Second))
	r.Set(faultproxy.None)
	return nil
}

// Chaos lets disasters happen to a cluster until Stop.
type Chaos struct {
	c       *Cluster
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu sync.Mutex // guards what follows
	// free are the replicas to which nothing happens.
	free []*Replica
	// counts of all disasters, by name.
	counts map[string]int
	err    error
}

// lanes is how many replicas may be in trouble at once. One of three never is, but
// for the database's own disasters.
const lanes = 2

// rest between two disasters of one lane.
const leastRest, mostRest = 500 * time.Millisecond, 3 * time.Second

// StartChaos lets disasters happen to replicas.
func (c *Cluster) StartChaos(seed uint64, of []Disaster) *Chaos {
	ctx, cancel := context.WithCancel(context.Background())
	x := &Chaos{c: c, cancel: cancel, counts: map[string]int{}}
	x.free = append(x.free, c.Replicas...)
	deck := newDeck(of, rand.New(rand.NewPCG(seed, 1)))
	for lane := range uint64(lanes) {
		random := rand.New(rand.NewPCG(seed, 10+lane))
		x.running.Go(func() {
			for pause(ctx, between(random, leastRest, mostRest)) {
				if err := x.strike(ctx, deck.draw(), random); err != nil {
					x.fail(err)
					return
				}
			}
		})
	}
	return x
}

// strike lets one disaster happen to a replica that has none.
func (x *Chaos) strike(ctx context.Context, d Disaster, random *rand.Rand) error {
	x.mu.Lock()
	n := random.IntN(len(x.free))
	r := x.free[n]
	x.free = append(x.free[:n], x.free[n+1:]...)
	x.mu.Unlock()
	x.Count(d.Name, r)
	err := d.Do(ctx, r, random)
	x.mu.Lock()
	x.free = append(x.free, r)
	x.mu.Unlock()
	return err
}

// Count notes a disaster; of nil means the database.
func (x *Chaos) Count(name string, of *Replica) {
	where := "the database"
	if of != nil {
		where = of.String()
	}
	x.c.t.Logf("%7.3fs %s: %s", x.c.Now().Seconds(), where, name)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.counts[name]++
}

func (x *Chaos) fail(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err == nil {
		x.err = fmt.Errorf("a disaster could not be made: %w", err)
	}
}

// Err is why no more disasters happen; nil while they do.
func (x *Chaos) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

// Stop ends the last disasters and returns how many there were.
func (x *Chaos) Stop() (map[string]int, error) {
	x.cancel()
	x.running.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.counts, x.err
}

// deck deals every disaster once before it deals one again.
type deck struct {
	mu     sync.Mutex // guards what follows
	all    []Disaster
	left   []Disaster
	random *rand.Rand
}

func newDeck(all []Disaster, random *rand.Rand) *deck { return &deck{all: all, random: random} }

func (d *deck) draw() Disaster {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.left) == 0 {
		d.left = append(d.left, d.all...)
		d.random.Shuffle(len(d.left), func(i, j int) { d.left[i], d.left[j] = d.left[j], d.left[i] })
	}
	next := d.left[0]
	d.left = d.left[1:]
	return next
}
