package policy

import (
	"sync"
	"sync/atomic"
)

// Difference is a decision on which the shadow set disagrees.
type Difference struct {
	Request          Request
	Enforced, Shadow Decision
}

// Engine holds the set in force, which can be replaced at any time, and perhaps
// a shadow set. It is safe for concurrent use.
type Engine struct {
	set    atomic.Pointer[Set]
	shadow atomic.Pointer[Set]
	// differs is told of each call that the shadow set decides otherwise.
	differs atomic.Pointer[func(Difference)]
	// complaint says why the newest files are not in force; nil: they are.
	complaint atomic.Pointer[string]

	mu      sync.Mutex // guards changed
	changed chan struct{}
}

// NewEngine puts a set in force.
func NewEngine(set *Set) *Engine {
	e := &Engine{changed: make(chan struct{})}
	e.set.Store(set)
	return e
}

// New is an engine for callers in the short form alone. It reports all problems at once.
func New(rules []Rule) (*Engine, error) {
	set, err := Load(Options{Callers: rules})
	if err != nil {
		return nil, err
	}
	return NewEngine(set), nil
}

// Replace puts another set in force: calls that are decided from now on are decided by it.
func (e *Engine) Replace(set *Set) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.set.Store(set)
	close(e.changed)
	e.changed = make(chan struct{})
}

// Changed returns a channel that is closed when another set is put in force. Take it
// before a decision: a change in between is then not missed.
func (e *Engine) Changed() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.changed
}

// Shadow compares every decision with what set would decide, from now on, and
// tells differs, which must not block. A nil set ends that.
func (e *Engine) Shadow(set *Set, differs func(Difference)) {
	e.differs.Store(&differs)
	e.shadow.Store(set)
}

// Complain makes Complaint return text; empty: there is nothing to complain about.
func (e *Engine) Complain(text string) {
	if text == "" {
		e.complaint.Store(nil)
		return
	}
	e.complaint.Store(&text)
}

// Complaint says in one sentence why the newest policy files are not in force; empty: they are.
func (e *Engine) Complaint() string {
	if text := e.complaint.Load(); text != nil {
		return *text
	}
	return ""
}

// Version of the set in force.
func (e *Engine) Version() string { return e.set.Load().version }

// Decide answers for one call by the set in force. A decision that is
// remembered costs no allocation and no lock.
func (e *Engine) Decide(r *Request) Decision {
	d := e.set.Load().Decide(r)
	if shadow := e.shadow.Load(); shadow != nil {
		e.compare(shadow, r, d)
	}
	return d
}

func (e *Engine) compare(shadow *Set, r *Request, d Decision) {
	if s := shadow.Decide(r); s.Allow != d.Allow {
		(*e.differs.Load())(Difference{Request: *r, Enforced: d, Shadow: s})
	}
}

// Peek is Decide for a row of a listing, which is not compared with the shadow set.
func (e *Engine) Peek(r *Request) bool { return e.set.Load().Peek(r).Allow }

// Ever is Set.Ever of the set in force.
func (e *Engine) Ever(r *Request) bool { return e.set.Load().Ever(r) }

// Knows is Set.Knows of the set in force.
func (e *Engine) Knows(r *Request) bool { return e.set.Load().Knows(r) }
