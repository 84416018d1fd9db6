package broker_test

import (
	"context"
	"fmt"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

// loseAnswer makes the next rotation's answer get lost after it took effect.
func (w *world) loseAnswer() {
	w.t.Helper()
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultDropBeforeAnswer, Count: 1})
}

// grant reads the grant as it is stored.
func (w *world) grant(a storage.Address) storage.Grant {
	w.t.Helper()
	g, err := w.store.Grant(ctx, a.GrantID())
	if err != nil {
		w.t.Fatal(err)
	}
	return g
}

// neverLate fails the test if the provider ever saw a token after its leeway.
func (w *world) neverLate() {
	w.t.Helper()
	for _, f := range w.sim.Ledger().Families {
		for _, e := range f.Exchanges {
			if e.Reuse == atlassiansim.ReuseAfterLeeway {
				w.t.Errorf("request %d sent a spent token after the leeway", e.Request)
			}
		}
	}
}

func TestAForcedRotationInDoubtIsRepeatedWhileCallersCome(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.loseAnswer()
	if _, err := w.ForceRefresh(ctx, op, "", jira); broker.ReasonOf(err) != broker.ReasonProviderUnavailable {
		t.Fatalf("got %v, want PROVIDER_UNAVAILABLE", err)
	}
	// The old token's own life is long, but the leeway is not: the callers that
	// are still served from it are the only occasion to find the successor.
	w.clock.Advance(30 * time.Second)
	waitFor(t, func() bool { return w.token(jira).Generation == 2 })
	w.clock.Advance(15 * time.Minute)
	if answer := w.token(jira); !w.works(answer) {
		t.Fatalf("generation %d does not work", answer.Generation)
	}
	w.neverLate()
}

// TestALastTryNeedsAnotherGrantToVouchForTheProvider sets a doubt that no
// leeway covers, and lets different grants settle before and after it.
func TestALastTryNeedsAnotherGrantToVouchForTheProvider(t *testing.T) {
	other := mustAddress("acme/other/jira")
	rotate := func(a storage.Address) func(*world) {
		return func(w *world) {
			if _, err := w.ForceRefresh(ctx, op, "", a); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	// storedLate answers the other grant at once, and its settlement is stored minutes later.
	storedLate := func(w *world) {
		posts := w.sim.Ledger().TokenPosts
		w.backend.onSwap(func([]storage.Change) error {
			if w.sim.Ledger().TokenPosts > posts {
				w.backend.onSwap(nil)
				w.clock.Advance(3 * time.Minute)
			}
			return nil
		})
		rotate(other)(w)
	}
	// decided does something on the way from the decision, at its nth listing, to the announcement.
	decided := func(nth int, f func(*world)) func(*world) {
		return func(w *world) {
			rotate(other)(w)
			w.backend.onList(func() {
				if nth--; nth == 0 {
					f(w)
				}
			})
		}
	}
	for _, row := range []struct {
		name          string
		before, after func(*world)
		want          bool
	}{
		{"nobody settled", nil, nil, false},
		{"only this grant, before its own doubt", rotate(jira), nil, false},
		{"another grant, before the doubt", rotate(other), nil, false},
		{"another grant, after the doubt", nil, rotate(other), true},
		{"another grant, though too long ago", nil, func(w *world) { rotate(other)(w); w.clock.Advance(3 * time.Minute) }, false},
		{"another grant, answered too long ago and stored just now", nil, storedLate, false},
		{"the process stood still after the decision", nil, decided(1, func(w *world) { w.clock.Advance(3 * time.Minute) }), false},
		{"a person consented after the decision, for the same account", nil, decided(2, func(w *world) { w.consent(mustAddress("acme/third/jira")) }), false},
		{"a person consented while it was announced, for the same account", nil, decided(3, func(w *world) { w.consent(mustAddress("acme/third/jira")) }), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t, func(w *world) { w.cfg.Timing.Leeway, w.cfg.Timing.InDoubt = 0, family.InDoubtLastTry })
			if err := w.sim.SetBehaviour(func(b *atlassiansim.Behaviour) { b.AccessTTLSeconds = 30 }); err != nil {
				t.Fatal(err)
			}
			w.consent(jira)
			// Of another account: the provider's kill would not reach it.
			account := "&sim_account=" + url.QueryEscape(atlassiansim.DefaultAccounts()[1].ID)
			if o := w.visit(w.link(other).URL, account).finish(); o.Status != storage.ConsentDone {
				t.Fatal(o.Status)
			}
			if row.before != nil {
				row.before(w)
			}
			w.clock.Advance(31 * time.Second)
			w.loseAnswer()
			w.refused(jira, broker.ReasonProviderUnavailable)
			w.clock.Advance(10 * time.Second)
			if row.after != nil {
				row.after(w)
			}
			posts := w.refreshes()
			_, err := w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira})
			if sent := w.refreshes() > posts; sent != row.want || (err == nil) != row.want {
				t.Fatalf("last try sent: %v, want %v (the caller got %v)", sent, row.want, err)
			}
		})
	}
}

// counted counts how often the store is listed.
type counted struct {
	storage.Backend
	gets, lists, items atomic.Int64
}

func (c *counted) List(ctx context.Context, q storage.Query) ([]storage.Item, error) {
	items, err := c.Backend.List(ctx, q)
	c.lists.Add(1)
	c.items.Add(int64(len(items)))
	return items, err
}

func (c *counted) Get(ctx context.Context, key storage.Key) (storage.Item, error) {
	c.gets.Add(1)
	return c.Backend.Get(ctx, key)
}

// count puts a counter under the store.
func (w *world) count() *counted {
	c := &counted{Backend: w.backend.Backend}
	w.backend.Backend = c
	return c
}

func TestCallersThatAreHeldBackDoNotEachListTheStore(t *testing.T) {
	other := mustAddress("acme/other/jira")
	w := newWorld(t)
	w.consent(jira)
	w.consent(other)
	w.clock.Advance(2 * time.Hour)
	w.loseAnswer()
	store := w.count()
	w.refused(jira, broker.ReasonProviderUnavailable)
	for range 50 {
		w.refused(jira, broker.ReasonProviderUnavailable)
	}
	if n := store.lists.Load(); n != 0 {
		t.Fatalf("inside the backoff the store was listed %d times", n)
	}
	// The leeway is over and another grant vouches, but it has the same account.
	w.clock.Advance(time.Hour)
	w.token(other)
	for range 50 {
		w.refused(jira, broker.ReasonProviderUnavailable)
	}
	if n := store.lists.Load(); n != 1 {
		t.Fatalf("50 callers at one moment had the store listed %d times, want once", n)
	}
}

func TestAnAlternateIsServedInPlaceOfATokenThatNoRepeatCanSave(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	g, now := w.grant(jira), w.clock.Now()
	g.State.Access.ExpiresAt = now.Add(-time.Minute)
	g.State.Doubt = &family.Doubt{Generation: 1, FirstAnnounced: now.Add(-30 * time.Minute)}
	g.State.Alternates = []family.Alternate{{Generation: 2, Refresh: secret.New("late-refresh"), At: now,
		Access: family.Access{Token: secret.New("late-access"), ExpiresAt: now.Add(30 * time.Minute)}}}
	kept := family.Event{Type: family.EventAlternateKept, At: now, Generation: 1, Fence: g.State.Fence}
	if err := w.store.Swap(ctx, storage.Update{Grant: &g, Events: []family.Event{kept}}); err != nil {
		t.Fatal(err)
	}
	w.startBroker()
	answer := w.token(jira)
	if answer.Token.Reveal() != "late-access" || answer.Generation != 2 || !answer.ExpiresAt.Equal(now.Add(30*time.Minute)) {
		t.Fatalf("generation %d, which expires at %v, was handed out in place of the alternate", answer.Generation, answer.ExpiresAt)
	}
	lines := w.auditLines()
	if got := lines[len(lines)-1]["generation"]; fmt.Sprint(got) != "2" {
		t.Errorf("generation 2 was handed out, and %v is in the audit record", got)
	}
	// Its holder may say that it is of no use, as of any other.
	verdict, err := w.ReportRejected(ctx, svc, broker.RejectionReport{Address: jira, Generation: 2})
	if verdict != broker.VerdictRejected || err != nil {
		t.Errorf("reporting it: %q, %v", verdict, err)
	}
	if g := w.grant(jira); g.State.Generation != 2 || !g.State.Access.Rejected {
		t.Errorf("generation %d, rejected %v", g.State.Generation, g.State.Access.Rejected)
	}
}

// slowHealth takes its time to say that the store is well.
type slowHealth struct {
	storage.Backend
	takes func()
}

func (s *slowHealth) Health(ctx context.Context) error {
	s.takes()
	return s.Backend.Health(ctx)
}

func TestALeewayThatEndsBetweenPlanAndAnnouncementIsNoInternalError(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	w.loseAnswer()
	w.refused(jira, broker.ReasonProviderUnavailable)
	tm := w.cfg.Timing
	w.clock.Advance(tm.Leeway - tm.HTTPTimeout - tm.ClockMargin - time.Second) // the last second in which it may be repeated
	w.backend.Backend = &slowHealth{w.backend.Backend, func() { w.clock.Advance(2 * time.Second) }}
	w.refused(jira, broker.ReasonProviderUnavailable)
	if w.refreshes() != 1 {
		t.Fatalf("%d refreshes, want no repeat", w.refreshes())
	}
}
