package broker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

func TestAMinimumLifeThatTheProviderDoesNotGiveCausesOneRotation(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultExpiresIn, ExpiresIn: "300"})
	for i := range 5 {
		answer, err := w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira, MinTTL: 9 * time.Minute})
		if err != nil || answer.Generation != 2 {
			t.Fatalf("call %d: got %v, %v", i, answer, err)
		}
	}
	if n := w.refreshes(); n != 1 {
		t.Fatalf("%d rotations, want 1", n)
	}
}

// unreadable is a backend that cannot be read.
type unreadable struct{ storage.Backend }

func (unreadable) Get(context.Context, storage.Key) (storage.Item, error) {
	return storage.Item{}, storage.ErrUnavailable
}

func TestAStoreThatCanNotBeReadIsNotTakenForAMissingRecord(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	l := w.link(jira)
	w.startBroker() // with nothing in memory
	w.backend.Backend = unreadable{w.backend.Backend}
	front := broker.Caller{Name: "front"}
	_, byID := w.AccessToken(ctx, svc, broker.TokenRequest{ID: jira.GrantID()})
	_, byAddress := w.AccessToken(ctx, svc, broker.TokenRequest{Address: jira})
	_, byStranger := w.AccessToken(ctx, front, broker.TokenRequest{ID: jira.GrantID()})
	_, consent := w.Consent(ctx, front, l.ID)
	_, unnamed := w.AccessToken(ctx, broker.Caller{}, broker.TokenRequest{ID: jira.GrantID()})
	for _, row := range []struct {
		name string
		err  error
		want broker.Reason
	}{
		{"a grant by its id", byID, broker.ReasonStoreUnavailable},
		{"a grant by its address", byAddress, broker.ReasonStoreUnavailable},
		// Who may draw from none at all is refused without a look at the store.
		{"a grant by its id, for a caller without the right", byStranger, broker.ReasonCallerNotAllowed},
		{"a consent", consent, broker.ReasonStoreUnavailable},
		{"a grant, for nobody", unnamed, broker.ReasonCallerUnauthenticated},
	} {
		if broker.ReasonOf(row.err) != row.want {
			t.Errorf("%s: got %v, want %s", row.name, row.err, row.want)
		}
	}
}

func TestAProviderThatAsksToWaitIsNotCalledUnavailable(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultRateLimit, RetryAfterSeconds: 90, Count: 1})
	if e := w.refused(jira, broker.ReasonProviderRateLimited); e.RetryAfter < 80*time.Second || e.RetryAfter > 113*time.Second {
		t.Fatalf("retry after %v, want what the provider asked for, a quarter more at the most", e.RetryAfter)
	}
	w.clock.Advance(114 * time.Second)
	w.loseAnswer()
	w.refused(jira, broker.ReasonProviderUnavailable) // the newest failure counts
	w.clock.Advance(76 * time.Second)
	if answer := w.token(jira); answer.Generation != 2 {
		t.Fatalf("generation %d", answer.Generation)
	}
}

func TestARevocationAfterACrashReachesTheProvider(t *testing.T) {
	w := newWorld(t)
	w.consent(jira)
	g := w.grant(jira)
	st, _, events, err := family.Begin(g.State, w.cfg.Timing, w.clock.Now(), "crashed", family.Need{Force: true})
	if err != nil {
		t.Fatal(err)
	}
	g.State = st // announced; the process died before it sent anything
	if err := w.store.Swap(ctx, storage.Update{Grant: &g, Events: events}); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	w.front(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/oauth/revoke" {
			asked.Add(1)
		}
		return false
	})
	w.clock.Advance(w.cfg.Timing.Lease + time.Second) // nothing of that attempt is on its way any more
	if _, err := w.Revoke(ctx, op, "", jira, "left the team"); err != nil {
		t.Fatal(err)
	}
	if asked.Load() != 1 {
		t.Fatalf("the provider was asked %d times", asked.Load())
	}
}

// bomb panics once, where it is armed.
type bomb struct{ hit, attempt atomic.Bool }

func (b *bomb) Attempt(broker.Attempt) {
	if b.attempt.CompareAndSwap(true, false) {
		panic("a bug after an attempt")
	}
}

func (b *bomb) HotHit() {
	if b.hit.CompareAndSwap(true, false) {
		panic("a bug in one call")
	}
}

func (b *bomb) HotMiss() {}

func (b *bomb) Death(string, family.LapseReason) {}

func (b *bomb) Security(family.EventType) {}

func (b *bomb) Purged(string, string) {}

func TestAPanicEndsOneMemberOfABatch(t *testing.T) {
	b := &bomb{}
	w := newWorld(t, func(w *world) { w.cfg.Observe = b })
	w.consent(jira)
	w.consent(wiki)
	b.hit.Store(true)
	results, err := w.AccessTokens(ctx, svc, []broker.TokenRequest{{Address: jira}, {Address: wiki}, {Address: jira}})
	if err != nil {
		t.Fatal(err)
	}
	internal := 0
	for _, r := range results {
		switch {
		case broker.ReasonOf(r.Err) == broker.ReasonInternal && r.Err != nil && r.Answer == nil:
			internal++
		case r.Err != nil || r.Answer == nil:
			t.Errorf("got %v, %v", r.Answer, r.Err)
		}
	}
	if internal != 1 {
		t.Fatalf("%d of 3 are INTERNAL, want 1", internal)
	}
}

func TestAPanicInARefreshEndsItsCallersOnly(t *testing.T) {
	b := &bomb{}
	w := newWorld(t, func(w *world) { w.cfg.Observe = b })
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	b.attempt.Store(true)
	e := w.refused(jira, broker.ReasonInternal)
	if strings.Contains(e.Message, "bug") {
		t.Fatalf("the panic's value reaches the caller: %s", e.Message)
	}
	if answer := w.token(jira); answer.Generation != 2 || w.refreshes() != 1 {
		t.Fatalf("generation %d after %d refreshes: the pair was stored before the panic", answer.Generation, w.refreshes())
	}
}

// told calls a function at each message that begins with prefix.
type told struct {
	slog.Handler
	prefix string
	do     func()
}

func (h told) Enabled(context.Context, slog.Level) bool { return true }

func (h told) Handle(_ context.Context, r slog.Record) error {
	if strings.HasPrefix(r.Message, h.prefix) {
		h.do()
	}
	return nil
}

func TestABackgroundRefreshThatFailedRests(t *testing.T) {
	var warnings atomic.Int32
	w := newWorld(t, func(w *world) {
		w.cfg.Log = slog.New(told{slog.DiscardHandler, "refreshing ahead", func() { warnings.Add(1) }})
	})
	w.consent(jira)
	w.clock.Advance(57 * time.Minute) // inside RefreshAhead
	w.setSecrets("jira", "wrong")
	w.token(jira)
	waitFor(t, func() bool { return warnings.Load() == 1 })
	for range 500 {
		w.token(jira)
	}
	w.clock.Advance(11 * time.Second)
	waitFor(t, func() bool { w.token(jira); return warnings.Load() > 1 })
	for range 500 {
		w.token(jira)
	}
	if err := w.Close(ctx); err != nil { // waits for whatever those began
		t.Fatal(err)
	}
	if n := warnings.Load(); n != 2 {
		t.Fatalf("%d background refreshes failed in two moments, want 2", n)
	}
}

func TestNothingStandsBetweenAnAnswerAndItsSettlement(t *testing.T) {
	var w *world
	var seen atomic.Uint64
	w = newWorld(t, func(w *world) {
		w.cfg.Log = slog.New(told{slog.DiscardHandler, "attempt ended", func() {
			if g, err := w.store.Grant(ctx, jira.GrantID()); err == nil {
				seen.CompareAndSwap(0, g.State.Generation)
			}
		}})
	})
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	w.token(jira)
	if got := seen.Load(); got != 2 {
		t.Fatalf("generation %d was stored when the log was written: a log that blocks loses the pair", got)
	}
}

// fill stores n copies of a grant under other addresses, a batch at a time.
func (w *world) fill(n int, of storage.Grant) {
	w.t.Helper()
	const batch = 250
	var changes []storage.Change
	collect := errors.New("collected")
	inner := w.backend.Backend
	w.backend.onSwap(func(c []storage.Change) error {
		changes = append(changes, c...)
		return collect
	})
	for i := range n {
		g := of
		g.Address = mustAddress(fmt.Sprintf("zeta/s%d/jira", i))
		g.ID, g.Version = g.Address.GrantID(), 0
		if err := w.store.Swap(ctx, storage.Update{Grant: &g}); !errors.Is(err, collect) {
			w.t.Fatal(err)
		}
		if len(changes) < batch && i < n-1 {
			continue
		}
		if err := inner.Swap(ctx, changes, nil); err != nil {
			w.t.Fatal(err)
		}
		changes = nil
	}
	w.backend.onSwap(nil)
}

func TestAPageOfAListingReadsABoundedPartOfTheStore(t *testing.T) {
	const strangers, mostRead = 5200, 5000
	w := newWorld(t)
	w.consent(jira)
	w.consent(wiki)
	w.fill(strangers, w.grant(jira))
	store := w.count()
	for _, row := range []struct {
		caller      string
		want, pages int
	}{{"svc", 2, 2}, {"front", 0, 1}} { // who may draw from none reads none
		found, pages, next := 0, 0, ""
		for more := true; more; more = next != "" {
			store.items.Store(0)
			page, token, err := w.MyGrants(ctx, broker.Caller{Name: row.caller}, 10, next)
			if err != nil {
				t.Fatal(err)
			}
			if n := store.items.Load(); n > mostRead {
				t.Fatalf("%s, page %d: %d records were read", row.caller, pages, n)
			}
			found, next = found+len(page), token
			if pages++; pages > 5 {
				t.Fatalf("%s: no end after %d pages", row.caller, pages)
			}
		}
		if found != row.want || pages != row.pages {
			t.Errorf("%s: %d grants on %d pages, want %d on %d", row.caller, found, pages, row.want, row.pages)
		}
	}
}
