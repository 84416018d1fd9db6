package audit

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of what is counted: grants of one caller, method and reason that have a
// count of their own, and counts at all. Beyond them counts are shared.
const (
	floodGrants = 16
	floodCounts = 4096
)

// floodKey is what refusals have in common that are counted together.
// id counts where no grant is known: refusals of ids that nothing has.
type floodKey struct{ caller, kind, via, method, outcome, grant, id string }

// all is the key without its grant.
func (k floodKey) all() floodKey {
	k.grant, k.id = "", ""
	return k
}

// counted is one window of refusals that look the same.
type counted struct {
	// newest is the newest refusal, count how many came after the first, which
	// was recorded at once, and since when the first of those came.
	newest Record
	count  uint64
	since  time.Time
	ends   time.Time
	// shared: of several grants, or callers.
	shared string
}

// flood counts refusals, so that a caller in a loop does not fill the disk.
type flood struct {
	window  time.Duration
	now     func() time.Time
	put     func(*Record) error
	log     *slog.Logger
	counted atomic.Uint64

	flushing sync.Mutex // held while counts are written

	mu     sync.Mutex // guards all below
	byKey  map[floodKey]*counted
	grants map[floodKey]int // how many counts there are of a key without its grant
	timer  *time.Timer
	armed  bool
}

func (f *flood) init(window time.Duration, now func() time.Time, put func(*Record) error, log *slog.Logger) {
	f.window, f.now, f.put, f.log = window, now, put, log
	f.byKey, f.grants = map[floodKey]*counted{}, map[floodKey]int{}
	f.timer = time.AfterFunc(time.Hour, f.fire)
	f.timer.Stop()
}

// counts reports that r is only counted: one like it was recorded in this window.
func (f *flood) counts(r *Record) bool {
	if !r.Refusal {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	key, shared := f.keyOf(r)
	c := f.byKey[key]
	if c == nil {
		f.byKey[key] = &counted{ends: time.Now().Add(f.window), shared: shared}
		if shared == "" {
			f.grants[key.all()]++
		}
		f.arm(f.window)
		return false
	}
	if c.count == 0 {
		c.since = r.Time
	}
	c.newest, c.count = *r, c.count+1
	f.counted.Add(1)
	return true
}

// keyOf chooses the count for r.
func (f *flood) keyOf(r *Record) (key floodKey, shared string) {
	key = floodKey{caller: r.Caller, kind: r.CallerKind, via: r.Via, method: r.Method, outcome: r.Outcome, grant: r.Grant}
	if r.Grant == "" {
		key.id = r.GrantID
	}
	if f.byKey[key] != nil {
		return key, ""
	}
	all := key.all()
	if f.grants[all] >= floodGrants {
		all.grant = "*" // no address has that
		key, shared = all, "several grants"
	}
	if len(f.byKey) >= floodCounts && f.byKey[key] == nil {
		return floodKey{method: r.Method, outcome: r.Outcome, grant: "*"}, "several callers"
	}
	return key, shared
}

// arm makes fire run after d unless it runs sooner. f.mu is held.
func (f *flood) arm(d time.Duration) {
	if !f.armed {
		f.armed = true
		f.timer.Reset(d)
	}
}

func (f *flood) fire() {
	if err := f.flush(f.put, false); err != nil && !errors.Is(err, ErrClosed) {
		f.log.Warn("counted refusals could not be recorded yet", "error", err)
	}
}

// flush records the counts whose window has ended, or all of them. What can
// not be written is counted on.
func (f *flood) flush(put func(*Record) error, all bool) error {
	f.flushing.Lock()
	defer f.flushing.Unlock()
	var errs []error
	for key, c := range f.ended(all) {
		if c.count == 0 {
			continue
		}
		r := c.record(f.now())
		if err := put(&r); err != nil {
			f.keep(key, c)
			if len(errs) == 0 {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// ended takes out the counts whose window has ended.
func (f *flood) ended(all bool) map[floodKey]*counted {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.timer.Stop()
	f.armed = false
	now, out := time.Now(), map[floodKey]*counted{}
	next := f.window
	for key, c := range f.byKey {
		if left := c.ends.Sub(now); !all && left > 0 {
			next = min(next, left)
			continue
		}
		out[key] = c
		delete(f.byKey, key)
		if c.shared != "" {
			continue
		}
		all := key.all()
		if f.grants[all]--; f.grants[all] == 0 {
			delete(f.grants, all)
		}
	}
	if len(f.byKey) > 0 {
		f.arm(next)
	}
	return out
}

// keep puts a count back that could not be written.
func (f *flood) keep(key floodKey, c *counted) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.byKey[key]; now != nil { // refused again meanwhile
		now.count += c.count
		now.since = c.since
		if now.newest.Time.IsZero() {
			now.newest = c.newest
		}
		return
	}
	c.ends = time.Now().Add(f.window)
	f.byKey[key] = c
	if c.shared == "" {
		f.grants[key.all()]++
	}
	f.arm(f.window)
}

// record is the one record of the count.
func (c *counted) record(now time.Time) Record {
	r := c.newest
	r.Time, r.count, r.since = now, c.count, c.since
	switch c.shared {
	case "several callers":
		r.Caller, r.CallerKind, r.Via, r.Rule = "", "", "", ""
		fallthrough
	case "several grants":
		r.Grant, r.GrantID, r.Generation = "", "", 0
	}
	if c.shared != "" {
		r.Detail = "of " + c.shared
	}
	return r
}
