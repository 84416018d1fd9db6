package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/broker/policy"
	"github.com/holdfast-io/holdfast/storage"
)

// KeyRotation is how a rotation of the data keys stands.
type KeyRotation struct {
	StartedAt time.Time
	// EndedAt is zero while it runs.
	EndedAt time.Time
	// Resealed of Total records are under the new key by now. Both are 0 until
	// this process has counted them, and for a rotation that it did not see.
	Resealed, Total uint64
	// Stuck says for people why it does not go on; empty: it does.
	Stuck string
}

const (
	// rekeyShare is how many times as long as each step took the rotation rests,
	// at most rekeyRestMost, so that callers come first.
	rekeyShare    = 3
	rekeyRestMost = time.Second
	// rekeyAgain is the rest between two passes. It doubles up to rekeyAgainMost,
	// which is what one waits for that something must be done about.
	rekeyAgain     = 100 * time.Millisecond
	rekeyAgainMost = time.Minute
)

// rekeying is the rotation of the data keys that this process works on.
type rekeying struct {
	mu sync.Mutex
	// ended is open while a goroutine is at it; nil: there was none. Guarded by mu.
	ended chan struct{}
	shown KeyRotation // guarded by mu
	// next, unless zero, was asked for while the goroutine was at work, which may
	// have done its last pass by then; guarded by mu.
	next storage.KeyRotation
}

// RotateKeys makes a new data key, durably, that seals from now on, and begins to
// seal all records anew; or it returns the rotation that runs. The rest is done in
// the background, over restarts.
func (b *Broker) RotateKeys(ctx context.Context, caller Caller) (*KeyRotation, error) {
	c, err := b.enter(caller, "RotateKeys", policy.Maintain, storage.Address{})
	if err == nil {
		err = c.intend()
	}
	if err == nil {
		err = b.beginRekey(ctx)
	}
	if err = c.done(err); err != nil {
		return nil, err
	}
	r := b.keyRotation()
	return &r, nil
}

func (b *Broker) beginRekey(ctx context.Context) error {
	r, err := b.store.BeginKeyRotation(ctx)
	if err != nil {
		return storeError("beginning a rotation of", "the data keys", err)
	}
	if !r.StartedAt.Equal(b.keyRotation().StartedAt) { // else it runs already
		b.log.Info("a new data key seals from now on; all records are sealed anew", "started", r.StartedAt)
	}
	b.workOnRekey(r)
	return nil
}

// resumeRekey goes on with the rotation that an earlier process left, if one did.
func (b *Broker) resumeRekey() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := b.store.KeyRotation(ctx)
	if err != nil {
		return fmt.Errorf("reading how the rotation of the data keys stands: %w", err)
	}
	b.rekey.shown = KeyRotation{StartedAt: r.StartedAt, EndedAt: r.EndedAt}
	if r.Running() {
		b.log.Info("going on with a rotation of the data keys", "started", r.StartedAt)
		b.workOnRekey(r)
	}
	return nil
}

// workOnRekey has the one goroutine that works on rotations work on r; Close waits
// for it.
func (b *Broker) workOnRekey(r storage.KeyRotation) {
	k := &b.rekey
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.atWork() {
		k.next = r
		return
	}
	if !b.begin() {
		return
	}
	k.ended = make(chan struct{})
	k.shown = KeyRotation{StartedAt: r.StartedAt}
	go func() {
		defer b.work.Done()
		b.rekeyAll(b.ctx)
		for k.goesOn(b.ctx) {
			b.rekeyAll(b.ctx)
		}
	}()
}

// goesOn takes what was asked for meanwhile. Without that, or when ctx has ended,
// the goroutine is not at work any more: who asks from then on starts another one.
func (k *rekeying) goesOn(ctx context.Context) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := k.next
	k.next = storage.KeyRotation{}
	if r.StartedAt.IsZero() || ctx.Err() != nil {
		close(k.ended)
		return false
	}
	if r.StartedAt.After(k.shown.StartedAt) { // else it is the one that was just done
		k.shown = KeyRotation{StartedAt: r.StartedAt}
	}
	return true
}

// atWork is called with mu held.
func (k *rekeying) atWork() bool {
	if k.ended == nil {
		return false
	}
	select {
	case <-k.ended:
		return false
	default:
		return true
	}
}

// keyRotation is what this process knows of the newest rotation.
func (b *Broker) keyRotation() KeyRotation {
	b.rekey.mu.Lock()
	defer b.rekey.mu.Unlock()
	if next := b.rekey.next.StartedAt; next.After(b.rekey.shown.StartedAt) {
		return KeyRotation{StartedAt: next}
	}
	return b.rekey.shown
}

func (b *Broker) showRekey(edit func(*KeyRotation)) {
	b.rekey.mu.Lock()
	defer b.rekey.mu.Unlock()
	edit(&b.rekey.shown)
}

// rekeyAll makes pass after pass until the old keys are gone, or ctx ends.
func (b *Broker) rekeyAll(ctx context.Context) {
	for again := rekeyAgain; ; again = min(2*again, rekeyAgainMost) {
		done, err := b.rekeyPass(ctx)
		if done || ctx.Err() != nil {
			return
		}
		if err != nil {
			b.log.Warn("sealing records anew was broken off; it goes on in a moment", "error", err)
			b.showRekey(func(r *KeyRotation) { r.Stuck = err.Error() })
		}
		if rest(ctx, again) != nil {
			return
		}
	}
}

func (b *Broker) rekeyPass(ctx context.Context) (done bool, err error) {
	defer b.survive("sealing records anew", &err)
	if b.keyRotation().Total == 0 {
		total, err := b.store.CountRecords(ctx)
		if err != nil {
			return false, err
		}
		b.showRekey(func(r *KeyRotation) { r.Total = total })
	}
	result, err := b.store.ResealPass(ctx, func(p storage.ResealProgress) error {
		b.showRekey(func(r *KeyRotation) {
			r.Total = max(r.Total, p.Seen)
			r.Resealed = max(r.Resealed, p.Sealed) // a later pass begins anew
		})
		return rest(ctx, min(rekeyShare*p.Took, rekeyRestMost))
	})
	if err != nil {
		return false, err
	}
	b.showRekey(func(r *KeyRotation) {
		r.Stuck = result.Why
		if result.Records > 0 {
			r.Total, r.Resealed = result.Records, result.Records-result.Left
		}
		if result.Done && r.EndedAt.IsZero() {
			r.EndedAt = b.now()
		}
	})
	if result.Done && result.Records > 0 {
		b.log.Info("all records are sealed by the new data key, and the old ones are gone", "records", result.Records)
	}
	return result.Done, nil
}

// rest waits; the error is ctx's, if that ended first.
func rest(ctx context.Context, d time.Duration) error {
	wait := time.NewTimer(d)
	defer wait.Stop()
	select {
	case <-wait.C:
		return nil
	case <-ctx.Done():
		return errors.Join(errStopped, ctx.Err())
	}
}

// errStopped ends background work whose broker is closing.
var errStopped = errors.New("the broker is stopping")
