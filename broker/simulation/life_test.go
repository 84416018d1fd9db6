package simulation

import (
	"context"
	"log/slog"
	"net"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian"
	"github.com/holdfast-io/holdfast/broker/audit"
	"github.com/holdfast-io/holdfast/storage"
)

// replica is one of the machines that a broker runs on.
type replica struct {
	index int
	// skew of its clock, of up to minutes: what they share is the store's.
	skew time.Duration
	disk disk
	// lives so far; the last one may be over. Guarded by the world's mutex.
	lives []*life
}

// life is one process of a replica, from its start to its crash.
type life struct {
	world   *world
	replica *replica
	number  int
	broker  *broker.Broker
	store   *storage.Store
	// ready: started; faults may strike.
	ready, dead atomic.Bool
	died        chan struct{}
	// ended is closed when all goroutines of the broker have ended.
	ended chan struct{}
	// frozenUntil is when the process is let go on; the store does not answer
	// it before storeDownUntil. Unix nanoseconds.
	frozenUntil, storeDownUntil atomic.Int64
	swaps                       atomic.Int64

	mu    sync.Mutex // guards conns
	conns map[*wire]struct{}
	// announced are the attempts that this process made durable, by the id of
	// their refresh token; seen the newest versions of grants that it wrote. Both
	// are guarded by the world's mutex.
	announced map[string]*announced
	seen      map[*grant]storage.Version
}

// now is the replica's wall clock.
func (l *life) now() time.Time { return time.Now().Add(l.replica.skew) }

// rules is the time by which it has to judge leases and leeways: its own, or that
// of the store which it shares.
func (l *life) rules() time.Time {
	if l.world.weather.embedded {
		return l.now()
	}
	return time.Now()
}

// run waits while the process is stopped. An error: it is dead.
func (l *life) run() error {
	for {
		left := time.Until(time.Unix(0, l.frozenUntil.Load()))
		if l.dead.Load() {
			return errPower
		}
		if left <= 0 {
			return nil
		}
		l.passes(left)
	}
}

// passes lets d pass, or less if the process dies.
func (l *life) passes(d time.Duration) {
	select {
	case <-time.After(d):
	case <-l.died:
	}
}

func (l *life) frozen() bool { return time.Now().UnixNano() < l.frozenUntil.Load() }

// freeze stops the process for d: whatever it does next waits until then.
func (l *life) freeze(d time.Duration) { prolong(&l.frozenUntil, d) }

// prolong lets a spell last for d from now on, if it would end earlier.
func prolong(until *atomic.Int64, d time.Duration) {
	for next := time.Now().Add(d).UnixNano(); ; {
		old := until.Load()
		if old >= next || until.CompareAndSwap(old, next) {
			return
		}
	}
}

// crash ends the process at once: none of its calls reaches anything any more.
// Its machine starts another one after a while.
func (l *life) crash() {
	if !l.kill() {
		return
	}
	w := l.world
	w.mu.Lock()
	w.stats.kills++
	d := dice(w.seed, "down", l.replica.index, l.number)
	down := between(d, time.Second, 45*time.Second)
	if w.weather.beyond && d.IntN(4) == 0 {
		down = between(d, time.Minute, 15*time.Minute)
	}
	w.mu.Unlock()
	w.work.Go(func() {
		select {
		case <-time.After(down):
		case <-w.settled:
		case <-w.done:
		}
		w.start(l.replica)
	})
}

// kill switches the power off; false: it was off already.
func (l *life) kill() bool {
	if !l.dead.CompareAndSwap(false, true) {
		return false
	}
	close(l.died)
	l.mu.Lock()
	conns := l.conns
	l.conns = nil
	l.mu.Unlock()
	for c := range conns {
		c.Conn.Close()
	}
	// In the simulation the goroutines of a dead process are still there; they
	// reach nothing, and are waited for.
	l.world.work.Go(func() {
		if l.broker != nil {
			_ = l.broker.Close(context.Background())
		}
		close(l.ended)
	})
	return true
}

// start brings the replica up again, however long the store refuses.
func (w *world) start(r *replica) {
	w.mu.Lock()
	number := len(r.lives) + 1
	w.mu.Unlock()
	for {
		l := &life{
			world: w, replica: r, number: number, died: make(chan struct{}), ended: make(chan struct{}),
			conns: map[*wire]struct{}{}, announced: map[string]*announced{}, seen: map[*grant]storage.Version{},
		}
		err := l.open()
		if err == nil {
			w.mu.Lock()
			r.lives = append(r.lives, l)
			w.mu.Unlock()
			l.ready.Store(true)
			select {
			case <-w.done: // too late
				l.kill()
			default:
			}
			return
		}
		l.kill()
		select {
		case <-w.done:
			return
		case <-time.After(time.Second):
		}
	}
}

func (l *life) open() error {
	w := l.world
	store, err := storage.Open(context.Background(), storage.Config{
		Dir: w.dir, Environment: "simulation", Provider: "atlassian", KEK: w.kek, Now: l.now, Log: quiet,
		Backend: func(string, []byte) (storage.Backend, error) {
			if w.weather.embedded {
				return &seam{l}, nil
			}
			return &sharedSeam{seam{l}}, nil
		},
		Spill: l.replica.disk.mount(l), SpillSlots: 8,
	})
	if err != nil {
		return err
	}
	provider, err := atlassian.New(w.profile, atlassian.Options{HTTPTimeout: timing.HTTPTimeout, Now: l.now, Dial: l.dial})
	if err != nil {
		return err
	}
	records, err := audit.Open(audit.Config{File: os.DevNull})
	if err != nil {
		return err
	}
	l.store = store
	b, err := broker.New(broker.Config{
		Version: "simulation", Environment: "simulation", Store: store, Provider: provider, Apps: apps(),
		Timing: timing, Policy: w.rules, Audit: records, PublicURL: public, Now: l.now, Log: quiet,
		SweepEvery: 5 * time.Second,
	})
	if err != nil {
		return err
	}
	l.broker = b
	w.work.Go(func() { // what the process had open ends with it
		<-l.ended
		provider.Close()
		_ = records.Close()
	})
	if w.weather.embedded {
		_, err = b.TakeOver(context.Background())
	}
	return err
}

var (
	quiet  = slog.New(slog.DiscardHandler)
	public = &url.URL{Scheme: "http", Host: "holdfast.test"}
)

// dial makes a connection of this process to the provider.
func (l *life) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if err := l.run(); err != nil {
		return nil, err
	}
	w := l.world
	f := w.pick(atDial, l, nil)
	switch f.harm {
	case crashBefore:
		l.crash()
		return nil, errPower
	case freezeBefore:
		l.freeze(f.d)
	case dialHangs:
		// net/http dials in a goroutine of its own, whose context outlives the request.
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-l.died:
			return nil, errPower
		}
	}
	if f.harm == dialRefused || time.Now().UnixNano() < w.providerDownUntil.Load() {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	l.passes(w.latency(l))
	if err := l.run(); err != nil {
		return nil, err
	}
	conn, err := w.pipe.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &wire{Conn: conn, life: l, left: -1}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns == nil {
		conn.Close()
		return nil, errPower
	}
	l.conns[c] = struct{}{}
	return c, nil
}

// latency of a step, some milliseconds and never twice the same.
func (w *world) latency(l *life) time.Duration {
	return between(dice(w.seed, "latency", l.replica.index, l.number, int(l.swaps.Add(1))), time.Millisecond, 20*time.Millisecond)
}
