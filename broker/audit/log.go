package audit

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// ErrClosed is returned by Write after Close.
var ErrClosed = errors.New("the audit log is closed")

// errLag refuses records while the sink does not take them.
var errLag = errors.New("the audit log's sink does not answer: a write has taken too long and is still under way")

// errQueue refuses a record that would make the queue too long.
var errQueue = errors.New("too many audit records wait to be written")

// waiter is one caller of Write.
type waiter struct {
	body  []byte
	ready chan error
}

// group is what is written with one write.
type group struct {
	bodies []byte
	// ends of the bodies, one for each caller.
	ends    []int
	callers []*waiter
	// told: the callers have their answer, though the write may go on.
	told bool
}

func (g *group) reset() {
	clear(g.callers)
	g.bodies, g.ends, g.callers, g.told = g.bodies[:0], g.ends[:0], g.callers[:0], false
}

// Log is the record. It is safe for concurrent use.
type Log struct {
	cfg   Config
	flood flood
	// wake has room for one: the writer has something to do.
	wake chan struct{}
	// done is closed when the writer has ended.
	done chan struct{}
	// patience fires when a write may have taken too long. To set it anew for every
	// write would cost more than the write: it runs on, and looks when it fires.
	patience *time.Timer
	// waiters are for use again, of this log alone: their channels may belong to a
	// bubble of a test.
	waiters  sync.Pool
	stats    stats
	exported exporter
	copies   []*copier
	// searching has room for one.
	searching chan struct{}
	writer    writer

	mu sync.Mutex // guards all below
	// next collects what the writer takes next; current is being written.
	next, current *group
	// awake: the writer was woken, and looks at next before it sleeps.
	awake   bool
	closing bool
	// began is when the write under way began; zero: none is.
	began time.Time
	// armed: patience runs.
	armed bool
	// stuck: it has taken longer than the patience.
	stuck bool
	// failed is why the newest write failed; nil: it did not.
	failed error
}

// Open makes the record ready and starts its writer, which Close ends. The
// newest file is continued; what a crash tore is recorded in it.
func Open(cfg Config) (*Log, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	l := &Log{
		cfg: cfg, wake: make(chan struct{}, 1), done: make(chan struct{}), searching: make(chan struct{}, 1),
		next: &group{}, current: &group{},
		waiters: sync.Pool{New: func() any { return &waiter{ready: make(chan error, 1)} }},
	}
	l.flood.init(cfg.FloodWindow, cfg.Now, l.put, cfg.Log)
	if err := l.writer.open(l); err != nil {
		return nil, err
	}
	l.patience = time.AfterFunc(time.Hour, l.impatient)
	l.patience.Stop()
	go l.run()
	l.nudge() // for the first line
	return l, nil
}

// Write records r and returns when it is written, or synced at level Durable.
// After an error the caller must refuse the call that the record is about. A
// repeated refusal of one caller may only be counted: it is recorded with the
// others of its window.
func (l *Log) Write(r *Record) error {
	if l.flood.counts(r) {
		return nil
	}
	return l.put(r)
}

// run is the writer's goroutine.
func (l *Log) run() {
	defer close(l.done)
	alone := 0 // groups of one record since the last one of several
	for range l.wake {
		for {
			// Whoever is about to hand over a record does so first, so that one
			// write takes all of them. A caller who is alone pays for that with a
			// fiftieth of his call; so, once he is, it is only tried now and then.
			if alone < 4 || alone%16 == 0 {
				runtime.Gosched()
			}
			g, ok := l.take(l.writer.idle)
			if !ok {
				break
			}
			alone++
			if len(g.ends) > 1 {
				alone = 0
			}
			l.writer.commit(g)
		}
	}
	if g, ok := l.take(l.writer.idle); ok {
		l.writer.commit(g)
	}
	l.patience.Stop()
	l.writer.end()
}

func (l *Log) put(r *Record) error {
	w := l.waiters.Get().(*waiter)
	w.body = r.appendBody(w.body[:0])
	if err := l.enqueue(w); err != nil {
		l.waiters.Put(w)
		l.stats.refused.Add(1)
		return fmt.Errorf("writing audit record: %w", err)
	}
	err := <-w.ready // bounded by the patience
	l.waiters.Put(w)
	if err != nil {
		l.stats.refused.Add(1)
		return fmt.Errorf("writing audit record: %w", err)
	}
	return nil
}

func (l *Log) enqueue(w *waiter) error {
	l.mu.Lock()
	switch {
	case l.closing:
		l.mu.Unlock()
		return ErrClosed
	case l.stuck:
		l.mu.Unlock()
		return errLag
	case len(l.next.bodies)+len(w.body) > l.cfg.MostQueued:
		l.mu.Unlock()
		return errQueue
	}
	g := l.next
	g.bodies = append(g.bodies, w.body...)
	g.ends = append(g.ends, len(g.bodies))
	g.callers = append(g.callers, w)
	l.rouse()
	l.mu.Unlock()
	return nil
}

// rouse wakes the writer. l.mu is held.
func (l *Log) rouse() {
	if !l.awake && !l.closing {
		l.awake = true
		l.wake <- struct{}{} // has room: the writer took the last one before it slept
	}
}

// nudge wakes the writer for what is not a record.
func (l *Log) nudge() {
	l.mu.Lock()
	l.rouse()
	l.mu.Unlock()
}

// take returns the next group to write. False: there is none, and the writer
// may sleep.
func (l *Log) take(idle func() bool) (*group, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.next.ends) == 0 && idle() {
		l.awake = false
		return nil, false
	}
	l.current.reset()
	l.next, l.current = l.current, l.next
	return l.current, true
}

// tell answers the group's callers, once.
func (l *Log) tell(g *group, err error) {
	if g.told {
		return
	}
	g.told = true
	for _, w := range g.callers {
		w.ready <- err
	}
}

// starts and ends are called around all that the writer asks of the sink for a group.
func (l *Log) starts() {
	l.mu.Lock()
	l.began = time.Now()
	l.arm(l.cfg.Patience)
	l.mu.Unlock()
}

// arm has impatient called after d, unless it will be called anyway. l.mu is held.
func (l *Log) arm(d time.Duration) {
	if !l.armed {
		l.armed = true
		l.patience.Reset(d)
	}
}

// ends says how the write of g went. late: it took too long, and the callers of
// its records, as well as of so many more that will never be written, were refused.
func (l *Log) ends(g *group, err error) (late bool, dropped int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if late = l.stuck; late {
		dropped = len(l.next.callers)
		l.next.reset()
	}
	l.began, l.stuck, l.failed = time.Time{}, false, err
	l.tell(g, err)
	return late, dropped
}

// impatient refuses all who wait for a write that takes too long. They can not
// be called back: the records may still reach the sink, which a later
// line says then.
func (l *Log) impatient() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = false
	if l.began.IsZero() || l.stuck {
		return // nothing is under way, or all who wait for it know
	}
	if left := l.cfg.Patience - time.Since(l.began); left > 0 {
		l.arm(left) // it began after the one that armed this
		return
	}
	l.stuck = true
	l.stats.lags.Add(1)
	l.tell(l.current, errLag)
	l.tell(l.next, errLag)
	l.cfg.Log.Error("the audit record can not be written in time; nothing is handed out until it can", "patience", l.cfg.Patience)
}

// Health says why records can not be written now; nil: they can.
func (l *Log) Health() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stuck {
		return errLag
	}
	return l.failed
}

// Close writes the counted refusals and a last checkpoint, syncs and closes the
// sinks. It blocks as long as the sink does. Later writes fail.
func (l *Log) Close() error {
	flushed := l.flood.flush(l.put, true)
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		<-l.done
		return nil
	}
	l.closing = true
	close(l.wake)
	l.mu.Unlock()
	<-l.done
	return errors.Join(flushed, l.writer.closed)
}
