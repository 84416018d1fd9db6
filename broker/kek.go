package broker

import (
	"context"
	"fmt"
	"sync"
	"time"
)

const (
	// kekEvery is how often the KEK is asked whether it would open the store now,
	// and kekAgain how often while it would not.
	kekEvery = 30 * time.Second
	kekAgain = 5 * time.Second
	// kekTimeout bounds one question.
	kekTimeout = 10 * time.Second
	// kekPatience is how long the KEK may be gone before nothing is spent any more.
	// A process that dies meanwhile can not come back before the KEK does, so that
	// whatever was in doubt then may not be repeated inside its leeway.
	kekPatience = time.Minute
)

// KEKHealth is what the KEK answered of late.
type KEKHealth struct {
	// Asked and Failed count the questions of this process.
	Asked, Failed uint64
	// GoneSince is when it first failed to answer; zero: it answers.
	GoneSince time.Time
	// Gone is for how long that is by now.
	Gone time.Duration
	// Cause of the newest failure, for operators.
	Cause string
}

// kekWatch knows whether the KEK would open the store, if it had to.
type kekWatch struct {
	mu   sync.Mutex
	seen KEKHealth // guarded by mu
}

func (w *kekWatch) health(now time.Time) KEKHealth {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.seen
	if !h.GoneSince.IsZero() {
		h.Gone = now.Sub(h.GoneSince)
	}
	return h
}

// watchKEK asks until ctx ends.
func (b *Broker) watchKEK(ctx context.Context) {
	for {
		every := kekEvery
		if !b.askKEK(ctx) {
			every = kekAgain
		}
		if rest(ctx, every) != nil {
			return
		}
	}
}

// askKEK asks once and remembers the answer.
func (b *Broker) askKEK(ctx context.Context) bool {
	bounded, cancel := context.WithTimeout(ctx, kekTimeout)
	defer cancel()
	err := b.store.CheckKEK(bounded)
	if ctx.Err() != nil {
		return true // nobody asks any more
	}
	w := &b.kek
	w.mu.Lock()
	was := w.seen.GoneSince
	w.seen.Asked++
	if err == nil {
		w.seen.GoneSince, w.seen.Cause = time.Time{}, ""
	} else {
		w.seen.Failed++
		w.seen.Cause = err.Error()
		if was.IsZero() {
			w.seen.GoneSince = b.now()
		}
	}
	w.mu.Unlock()
	switch {
	case err != nil && was.IsZero():
		b.log.Error("the key-encryption key does not answer; cached tokens are served on, and soon nothing is spent any more",
			"error", err, "patience", kekPatience)
	case err == nil && !was.IsZero():
		b.log.Info("the key-encryption key answers again", "gone_for", b.now().Sub(was))
	}
	return err == nil
}

// kekGone says why nothing is spent for want of the KEK; "": it answers, or has
// not been gone for long.
func (b *Broker) kekGone() string {
	h := b.kek.health(b.now())
	if h.Gone < kekPatience {
		return ""
	}
	return fmt.Sprintf("for %v the key-encryption key has not answered, so nothing is spent: %s", h.Gone.Round(time.Second), h.Cause)
}

// keyUsable is nil if tokens may be spent as far as the KEK goes.
func (b *Broker) keyUsable() error {
	if text := b.kekGone(); text != "" {
		return &Error{Reason: ReasonKeyUnavailable, RetryAfter: kekAgain,
			Message: "the key-encryption key does not answer, so nothing is spent: an operator must bring its KMS back, the broker goes on by itself then"}
	}
	return nil
}
