package broker

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// settlement is what a spent token returned, on its way into the store. Only one
// that could not be stored at once is in Broker.unstored.
type settlement struct {
	what    string // grant or consent, for people
	kept    storage.Kept
	outcome family.Outcome
	slot    *storage.Slot

	// owner is held by whoever is storing it: no mutex, since it is held while
	// the store is waited for, and who waits for it has a deadline.
	owner *semaphore.Weighted
	rest  time.Duration // until the next try; guarded by owner
	next  time.Time     // not tried again before; guarded by owner
	// open: it is in Broker.unstored; written under owner and the list's lock.
	open bool

	// Written by the owner, read by everybody.

	// inSpill: the slot holds it durably. Until then it is in memory only.
	inSpill atomic.Bool
	// stored: only its slot is still to be cleared.
	stored atomic.Bool
	// stranded: its grant does not exist or does not open.
	stranded atomic.Bool
}

// owned takes a settlement that nobody else knows yet.
func (s *settlement) owned() *settlement {
	s.owner = semaphore.NewWeighted(1)
	s.owner.TryAcquire(1)
	return s
}

// leave gives it back to whoever waits for it.
func (s *settlement) leave() { s.owner.Release(1) }

// unstored lists the settlements that wait.
type unstored struct {
	mu   sync.Mutex
	list []*settlement // guarded by mu
}

func (u *unstored) add(s *settlement) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !s.open {
		s.open = true
		u.list = append(u.list, s)
	}
}

func (u *unstored) remove(s *settlement) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s.open = false
	u.list = slices.DeleteFunc(u.list, func(o *settlement) bool { return o == s })
}

// of returns the settlements of a grant, or all for "".
func (u *unstored) of(grantID string) []*settlement {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.list) == 0 {
		return nil
	}
	var out []*settlement
	for _, s := range u.list {
		if grantID == "" || s.kept.GrantID == grantID {
			out = append(out, s)
		}
	}
	return out
}

// ofConsent reports whether a new family of the consent is not stored yet.
func (u *unstored) ofConsent(id string) bool {
	return slices.ContainsFunc(u.of(""), func(s *settlement) bool { return s.kept.ConsentID == id && !s.stored.Load() })
}

// waiting counts the settlements that are not stored.
type waiting struct {
	// open is all of them, inMemory those that the spill file did not take,
	// stranded those whose grant is not there to take them.
	open, inMemory, stranded int
}

func (u *unstored) count() (w waiting) {
	for _, s := range u.of("") {
		if s.stored.Load() {
			continue
		}
		w.open++
		if !s.inSpill.Load() {
			w.inMemory++
		}
		if s.stranded.Load() {
			w.stranded++
		}
	}
	return w
}

// complaint says for NotReady what waits; "" if nothing does that a working
// store would take.
func (w waiting) complaint() string {
	if w.open == w.stranded {
		return ""
	}
	text := fmt.Sprintf("%d settlements could not be stored yet and are kept in the spill file: give the store room or repair it, they are stored by themselves then", w.open-w.stranded)
	if w.inMemory > 0 {
		text += fmt.Sprintf("; %d of them are in memory only: do not stop this process", w.inMemory)
	}
	return text
}

// unsettled keeps a pair that could not be stored, in its slot and in the list.
// Another outcome has nothing to lose: the attempt stays announced.
func (b *Broker) unsettled(s *settlement, cause error) {
	if s.outcome.Class != family.Settled {
		b.log.Error("storing the outcome of an attempt failed; it is tried again", "for", s.what, "error", cause)
		return
	}
	b.unstored.add(s)
	if !s.inSpill.Load() {
		err := s.slot.Keep(s.kept)
		s.inSpill.Store(err == nil)
		if err != nil {
			b.log.Error("the spill file did not take a new token: it is in memory only", "for", s.what, "error", err)
		}
	}
	b.log.Error("storing a new token failed; it is kept and tried again", "for", s.what,
		"generation", s.kept.Spend.Generation, "in_spill_file", s.inSpill.Load(), "error", cause)
}

// settled ends a settlement that is in the store. A slot that cannot be cleared
// is tried again; what it holds is recognised at the next start.
func (b *Broker) settled(s *settlement) {
	s.stored.Store(true)
	if err := s.slot.Clear(); err != nil {
		b.unstored.add(s)
		b.log.Error("a new token is stored, but its slot in the spill file cannot be cleared; it is tried again", "for", s.what, "error", err)
		return
	}
	b.unstored.remove(s)
}

// logUnstored says how many settlements are not stored, if any is not.
func (b *Broker) logUnstored(text string) {
	w := b.unstored.count()
	if w.open == 0 {
		return
	}
	b.log.Warn(text, "settlements", w.open, "in_spill_file", w.open-w.inMemory, "in_memory_only", w.inMemory)
}
