package identity

import "sync"

// Broadcast wakes everybody who waits, again and again. It is safe for
// concurrent use.
type Broadcast struct {
	mu   sync.Mutex // guards next
	next chan struct{}
}

// NewBroadcast returns a Broadcast that nobody waits for yet.
func NewBroadcast() *Broadcast { return &Broadcast{next: make(chan struct{})} }

// Next returns a channel that the next Announce closes. Take it before looking
// at what may change: a change in between is then not missed.
func (b *Broadcast) Next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next
}

// Announce wakes all who wait. It does not block.
func (b *Broadcast) Announce() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.next)
	b.next = make(chan struct{})
}
