package broker_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/seal"
)

func (w *world) rotation() broker.KeyRotation {
	w.t.Helper()
	s, err := w.Status(ctx, op)
	if err != nil {
		w.t.Fatal(err)
	}
	if s.KeyRotation == nil {
		return broker.KeyRotation{}
	}
	return *s.KeyRotation
}

func TestFamiliesRotateAndTokensAreServedWhileTheDataKeysAreRotated(t *testing.T) {
	w := newWorld(t)
	all := w.consentMany(20)
	if r := w.rotation(); !r.StartedAt.IsZero() {
		t.Errorf("before: %+v", r)
	}
	for round := range uint64(3) {
		begun, err := w.RotateKeys(ctx, op)
		if err != nil || begun.StartedAt.IsZero() || !begun.EndedAt.IsZero() {
			t.Fatalf("begun: %+v, error %v", begun, err)
		}
		for _, a := range all {
			if g, err := w.ForceRefresh(ctx, op, "", a); err != nil || g.Generation != round+2 {
				t.Fatalf("%s meanwhile: %+v, error %v", a, g, err)
			}
			w.token(a)
		}
		w.RekeyEnded()
		r := w.rotation()
		if r.EndedAt.IsZero() || r.Stuck != "" || r.Total < 20 || r.Resealed != r.Total {
			t.Errorf("afterwards: %+v, want an end with all records", r)
		}
		w.clock.Advance(time.Hour)
	}
	if lost := w.lostFamilies(); lost != 0 {
		t.Errorf("%d families lost", lost)
	}
}

// The process dies after any number of batches, and the next one goes on by itself.
func TestARotationOfADeadProcessIsTakenUpByTheNext(t *testing.T) {
	for batches := range 4 {
		w := newWorld(t, inMemory)
		all := w.consentMany(40)
		dead, reached := make(chan struct{}), make(chan struct{})
		t.Cleanup(func() { close(dead) }) // before the broker of the dead process is closed
		var done atomic.Int64
		w.backend.mu.Lock()
		w.backend.reseal = func(n int) {
			if n > 0 && int(done.Add(1)) == batches+1 || n == 0 && batches == 0 {
				close(reached)
				<-dead
			}
		}
		w.backend.mu.Unlock()
		if _, err := w.RotateKeys(ctx, op); err != nil {
			t.Fatal(err)
		}
		<-reached
		w.mem = w.mem.Durable()
		next := w.killed(nil)
		next.RekeyEnded()
		if r := next.rotation(); r.EndedAt.IsZero() || r.Resealed != r.Total || r.Total < 40 {
			t.Errorf("after %d batches: %+v, want it ended", batches, r)
		}
		for _, a := range all {
			if g, err := next.ForceRefresh(ctx, op, "", a); err != nil || g.Generation != 2 {
				t.Errorf("after %d batches, %s: %+v, error %v", batches, a, g, err)
			}
		}
	}
}

func TestARotationThatCanNotEndSaysWhy(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.consent(wiki)
	w.backend.damage(t, wiki.GrantID())
	if _, err := w.RotateKeys(ctx, op); err != nil {
		t.Fatal(err)
	}
	for w.rotation().Stuck == "" {
		if w.rotation().EndedAt != (time.Time{}) {
			t.Fatal("the old key is gone, and a record that it sealed may still be mended")
		}
	}
	r := w.rotation()
	if !strings.Contains(r.Stuck, wiki.GrantID()) || r.Resealed != r.Total-1 {
		t.Errorf("stuck: %+v", r)
	}
	if s := w.health(); !strings.Contains(strings.Join(s.Warnings, "\n"), r.Stuck) {
		t.Errorf("warnings: %q", s.Warnings)
	}
}

// damage flips a bit of a grant's record.
func (w *watched) damage(t *testing.T, id string) {
	t.Helper()
	it, err := w.Get(ctx, storage.Key{Kind: storage.KindGrant, ID: id})
	if err != nil {
		t.Fatal(err)
	}
	bad := append([]byte(nil), it.Sealed...)
	bad[20] ^= 1
	if err := w.Backend.Reseal(ctx, []storage.Reseal{{Key: it.Key, Was: it.Sealed, Now: bad}}); err != nil {
		t.Fatal(err)
	}
}

// fickle is a KEK that can be made to go away.
type fickle struct {
	seal.KEK
	gone atomic.Bool
}

func (f *fickle) Unwrap(ctx context.Context, wrapped []byte) ([]byte, error) {
	if f.gone.Load() {
		return nil, errors.New("connection refused")
	}
	return f.KEK.Unwrap(ctx, wrapped)
}

func TestWithoutItsKEKABrokerServesWhatItHasAndSpendsNothing(t *testing.T) {
	kek := &fickle{}
	w := newWorld(t, func(w *world) {
		w.kek = func(k seal.KEK) seal.KEK {
			kek.KEK = k
			return kek
		}
	})
	w.consent(jira)
	w.consent(wiki)
	link := w.link(mustAddress("acme/other/jira"))
	if !w.AskKEK(ctx) {
		t.Fatal("the KEK does not answer")
	}
	first := w.token(jira)
	kek.gone.Store(true)
	if w.AskKEK(ctx) {
		t.Fatal("a KEK that is gone answers")
	}
	// Not for long: an operator may restart it.
	if _, err := w.ForceRefresh(ctx, op, "", wiki); err != nil {
		t.Errorf("in the first minute: %v", err)
	}
	if why := w.NotReady(ctx); len(why) != 0 {
		t.Errorf("in the first minute it is not ready: %q", why)
	}
	if s := w.health(); !strings.Contains(strings.Join(s.Warnings, "\n"), "key-encryption key does not answer") {
		t.Errorf("warnings: %q", s.Warnings)
	}

	w.clock.Advance(2 * time.Minute)
	w.AskKEK(ctx)
	posts := w.sim.Ledger().TokenPosts
	if again := w.token(jira); again.Generation != first.Generation {
		t.Errorf("served generation %d, want the cached %d", again.Generation, first.Generation)
	}
	_, err := w.ForceRefresh(ctx, op, "", jira)
	var e *broker.Error
	if !errors.As(err, &e) || e.Reason != broker.ReasonKeyUnavailable || e.RetryAfter <= 0 {
		t.Errorf("a refresh: got %v, want KEY_UNAVAILABLE with RetryInfo", err)
	}
	if _, err := w.FinishConsent(ctx, w.visit(link.URL, "").callback()); broker.ReasonOf(err) != broker.ReasonKeyUnavailable {
		t.Errorf("a consent's exchange: got %v, want KEY_UNAVAILABLE", err)
	}
	w.clock.Advance(2 * time.Hour) // the access tokens have expired
	w.AskKEK(ctx)
	w.refused(jira, broker.ReasonKeyUnavailable)
	if n := w.sim.Ledger().TokenPosts - posts; n != 0 {
		t.Errorf("%d requests were sent without the KEK", n)
	}
	if why := strings.Join(w.NotReady(ctx), "\n"); !strings.Contains(why, "key-encryption key") || !strings.Contains(why, "connection refused") {
		t.Errorf("not ready: %q", why)
	}

	kek.gone.Store(false)
	w.AskKEK(ctx)
	if w.token(jira).Generation != first.Generation+1 {
		t.Error("it did not recover by itself")
	}
	if why := w.NotReady(ctx); len(why) != 0 {
		t.Errorf("with the KEK back it is not ready: %q", why)
	}
}

// What may be spent already is repeated all the same: it spends nothing new, and
// after the leeway the family would be lost.
func TestWithoutItsKEKABrokerStillRepeatsWhatIsInDoubt(t *testing.T) {
	kek := &fickle{}
	w := newWorld(t, func(w *world) {
		w.kek = func(k seal.KEK) seal.KEK {
			kek.KEK = k
			return kek
		}
	})
	w.consent(jira)
	w.loseAnswer()
	if _, err := w.ForceRefresh(ctx, op, "", jira); err == nil {
		t.Fatal("a lost answer was no failure")
	}
	kek.gone.Store(true)
	w.AskKEK(ctx)
	w.clock.Advance(3 * time.Minute)
	w.AskKEK(ctx)
	w.Sweep(ctx)
	if g := w.grant(jira); g.State.Generation != 2 || g.State.Doubt != nil {
		t.Errorf("the family in doubt: generation %d, doubt %+v; want it repeated", g.State.Generation, g.State.Doubt)
	}
}

// lastWord asks for something when a rotation tells of its end, which is before
// the goroutine that worked on it is gone.
type lastWord struct {
	slog.Handler
	ask func()
}

func (*lastWord) Enabled(context.Context, slog.Level) bool { return true }

func (l *lastWord) Handle(_ context.Context, r slog.Record) error {
	if ask := l.ask; ask != nil && strings.HasPrefix(r.Message, "all records are sealed by the new data key") {
		l.ask = nil
		ask()
	}
	return nil
}

// Somebody asks for the next rotation when the one before it has ended and its
// goroutine has not: that next one is worked on all the same.
func TestARotationThatBeginsAsAnotherEndsIsWorkedOn(t *testing.T) {
	last := &lastWord{Handler: slog.DiscardHandler}
	w := newWorld(t, inMemory, func(w *world) { w.cfg.Log = slog.New(last) })
	w.consent(jira)
	var begun *broker.KeyRotation
	last.ask = func() {
		w.clock.Advance(time.Minute)
		var err error
		if begun, err = w.RotateKeys(ctx, op); err != nil || !begun.EndedAt.IsZero() || begun.Total != 0 {
			t.Errorf("the next one: %+v, error %v; want it running and not counted", begun, err)
		}
	}
	first, err := w.RotateKeys(ctx, op)
	if err != nil {
		t.Fatal(err)
	}
	w.RekeyEnded()
	if begun == nil || !begun.StartedAt.After(first.StartedAt) {
		t.Fatalf("begun %+v, the first one %+v", begun, first)
	}
	if r := w.rotation(); !r.StartedAt.Equal(begun.StartedAt) || r.EndedAt.IsZero() || r.Total == 0 || r.Resealed != r.Total {
		t.Errorf("shown %+v, want the next one, ended", r)
	}
	if r, err := w.store.KeyRotation(ctx); err != nil || r.Running() || !r.StartedAt.Equal(begun.StartedAt) {
		t.Errorf("stored %+v, error %v; want the next one, ended", r, err)
	}
}
