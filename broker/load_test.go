package broker_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
)

// limited sets the load of a world.
func limited(l broker.Load) setting { return func(w *world) { w.cfg.Load = l } }

// announced counts the grants that were ever announced since their consent, and
// inDoubt those that are in doubt now.
func (w *world) announced(as []storage.Address) (announced, inDoubt int) {
	w.t.Helper()
	for _, a := range as {
		g := w.grant(a)
		if g.State.Fence > 1 {
			announced++
		}
		if g.State.Doubt != nil {
			inDoubt++
		}
	}
	return announced, inDoubt
}

// drawInTurn draws from each grant and wants each refusal to say when to come again.
func (w *world) drawInTurn(as []storage.Address) (served int) {
	w.t.Helper()
	for _, a := range as {
		_, err := w.AccessToken(ctx, svc, broker.TokenRequest{Address: a})
		var e *broker.Error
		switch {
		case err == nil:
			served++
		case !errors.As(err, &e) || e.Reason != broker.ReasonProviderUnavailable && e.Reason != broker.ReasonProviderRateLimited || e.RetryAfter <= 0:
			w.t.Fatalf("%s: got %v, want PROVIDER_UNAVAILABLE or PROVIDER_RATE_LIMITED with RetryInfo", a, err)
		}
	}
	return served
}

func TestAnOutagePutsFewFamiliesInDoubtAndNotAll(t *testing.T) {
	for _, row := range []struct {
		name  string
		fault atlassiansim.Fault
	}{
		{"answers 503", atlassiansim.Fault{Kind: atlassiansim.FaultStatus, Status: 503, KeepToken: true}},
		{"takes requests and loses the answers", atlassiansim.Fault{Kind: atlassiansim.FaultDropBeforeAnswer}},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			as := w.consentMany(24)
			w.fault(row.fault)
			w.drawInTurn(as)
			if announced, _ := w.announced(as); announced != 3 {
				t.Fatalf("%d of %d grants were announced, want the 3 that found out", announced, len(as))
			}
			// Callers go on coming for eight minutes. Those in doubt repeat; one
			// other is tried, in case that it is only them.
			for range 48 {
				w.clock.Advance(10 * time.Second)
				w.drawInTurn(as)
			}
			if announced, doubt := w.announced(as); announced != 4 || doubt != 4 {
				t.Fatalf("after 8 minutes %d were announced and %d are in doubt, want 4", announced, doubt)
			}
			w.sim.ClearFaults()
			served := 0
			for range 30 { // recovers by itself
				w.clock.Advance(5 * time.Second)
				if served = w.drawInTurn(as); served == len(as) {
					break
				}
			}
			if served != len(as) {
				t.Fatalf("%d of %d are served after the outage", served, len(as))
			}
			w.neverLate()
		})
	}
}

// TestAnOutageThatRefusesConnectionsPutsOneFamilyInDoubt: nothing was sent by
// those who found out; only the canary ever has an answer to lose.
func TestAnOutageThatRefusesConnectionsPutsOneFamilyInDoubt(t *testing.T) {
	w := newWorld(t)
	as := w.consentMany(12)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.simURL = "http://" + gone.Addr().String()
	gone.Close()
	w.clock.Advance(time.Minute)
	w.startBroker()
	forMinutes := func(n int) {
		for range 6 * n {
			w.drawInTurn(as)
			w.clock.Advance(10 * time.Second)
		}
	}
	forMinutes(5)
	if announced, doubt := w.announced(as); announced > 4 || doubt != 0 {
		t.Fatalf("%d were announced and %d are in doubt, want the 3 that found out and the canary, and none", announced, doubt)
	}
	// It comes up again at the same place, and takes requests without an answer.
	var sick atomic.Bool
	sick.Store(true)
	w.serveAt(gone.Addr().String(), func(rw http.ResponseWriter, _ *http.Request) bool {
		if sick.Load() {
			rw.WriteHeader(http.StatusBadGateway)
		}
		return sick.Load()
	})
	forMinutes(8)
	if _, doubt := w.announced(as); doubt != 1 {
		t.Fatalf("%d are in doubt, want the canary alone", doubt)
	}
	sick.Store(false)
	forMinutes(2)
	if served := w.drawInTurn(as); served != len(as) {
		t.Fatalf("%d of %d are served after the outage", served, len(as))
	}
}

// serveAt serves the simulator at an address, behind a hook as front's.
func (w *world) serveAt(addr string, hook func(http.ResponseWriter, *http.Request) bool) {
	w.t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		w.t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !hook(rw, r) {
			w.provider(rw, r)
		}
	}))
	s.Listener.Close()
	s.Listener = ln
	s.Start()
	w.t.Cleanup(s.Close)
}

// TestAConsentClosesTheCircuit: a code that was exchanged is an answer of the
// provider. Where all grants are in doubt there may be no other for long.
func TestAConsentClosesTheCircuit(t *testing.T) {
	w := newWorld(t)
	as := w.consentMany(3)
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultStatus, Status: 503, KeepToken: true})
	w.drawInTurn(as)
	if !appOf(t, w.Broker).CircuitOpen {
		t.Fatal("the circuit is closed")
	}
	w.consent(mustAddress("acme/new/jira"))
	if appOf(t, w.Broker).CircuitOpen {
		t.Error("the provider gave a token, and the circuit is open")
	}
}

func TestRetryAfterHoldsTheWholeAppBack(t *testing.T) {
	other := mustAddress("acme/other/jira")
	for _, row := range []struct {
		name  string
		fault atlassiansim.Fault
		least time.Duration
	}{
		{"in seconds", atlassiansim.Fault{Kind: atlassiansim.FaultRateLimit, RetryAfterSeconds: 120}, 115 * time.Second},
		{"as a date", atlassiansim.Fault{Kind: atlassiansim.FaultRateLimit, RetryAfterSeconds: 120, RetryAfterForm: "date"}, 115 * time.Second},
		{"for ages", atlassiansim.Fault{Kind: atlassiansim.FaultRateLimit, RetryAfterSeconds: 3000}, 14 * time.Minute},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			for _, a := range []storage.Address{jira, other, wiki} {
				w.consent(a)
			}
			w.clock.Advance(2 * time.Hour)
			row.fault.Count = 1
			w.fault(row.fault)
			w.refused(jira, broker.ReasonProviderRateLimited)
			e := w.refused(other, broker.ReasonProviderRateLimited)
			if e.RetryAfter < row.least || e.RetryAfter > 15*time.Minute*5/4 {
				t.Errorf("the app's other grant is told to come again in %v", e.RetryAfter)
			}
			w.token(wiki) // another app
			w.clock.Advance(15*time.Minute + time.Second)
			w.token(other)
		})
	}
}

// TestADoubtIsRepeatedBeforeItsLeewayEndsWhateverTheProviderWishes: the
// provider's wish is kept as long as no family is lost by it.
func TestADoubtIsRepeatedBeforeItsLeewayEndsWhateverTheProviderWishes(t *testing.T) {
	other := mustAddress("acme/other/jira")
	w := newWorld(t)
	w.consent(jira)
	w.consent(other)
	w.clock.Advance(2 * time.Hour)
	w.loseAnswer()
	w.refused(jira, broker.ReasonProviderUnavailable)
	w.fault(atlassiansim.Fault{Kind: atlassiansim.FaultRateLimit, RetryAfterSeconds: 3000, Count: 1})
	w.refused(other, broker.ReasonProviderRateLimited)
	w.clock.Advance(5 * time.Minute)
	w.refused(jira, broker.ReasonProviderRateLimited)
	w.clock.Advance(4 * time.Minute)
	if answer := w.token(jira); answer.Generation != 2 {
		t.Fatalf("generation %d", answer.Generation)
	}
	w.refused(other, broker.ReasonProviderRateLimited)
	w.neverLate()
}

func TestMoreThanTheRateWaitsOrIsToldWhenToComeAgain(t *testing.T) {
	w := newWorld(t, limited(broker.Load{Rate: 0.05, Burst: 2}))
	as := w.consentMany(3)
	if served := w.drawInTurn(as[:2]); served != 2 {
		t.Fatalf("%d of the burst are served", served)
	}
	e := w.refused(as[2], broker.ReasonProviderRateLimited)
	if e.RetryAfter < 15*time.Second || e.RetryAfter > 25*time.Second {
		t.Fatalf("told to come again in %v, want about the 20 s that a turn takes", e.RetryAfter)
	}
	if g := w.grant(as[2]); g.State.Fence != 1 {
		t.Fatal("it was announced")
	}
	w.clock.Advance(21 * time.Second)
	w.token(as[2])
}

// gate lets token requests pass one by one.
type gate struct {
	mu       sync.Mutex
	now, top int
	pass     chan struct{}
}

func (g *gate) hook(_ http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path != "/oauth/token" {
		return false
	}
	g.mu.Lock()
	g.now++
	g.top = max(g.top, g.now)
	g.mu.Unlock()
	select {
	case <-g.pass:
	case <-r.Context().Done():
	}
	g.mu.Lock()
	g.now--
	g.mu.Unlock()
	return false
}

// TestKeepAlivesLeaveHalfToCallers: a backlog of idle families, all of them slow
// at the provider, takes half of the slots; a caller finds one.
func TestKeepAlivesLeaveHalfToCallers(t *testing.T) {
	w := newWorld(t, limited(broker.Load{Concurrency: 4, Burst: 40}))
	as := w.consentMany(12)
	w.clock.Advance(51 * 24 * time.Hour)
	g := &gate{pass: make(chan struct{})}
	w.front(g.hook)
	swept := make(chan struct{})
	go func() {
		defer close(swept)
		w.Sweep(ctx)
	}()
	under := func(n int) func() bool {
		return func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return g.now == n
		}
	}
	waitFor(t, under(2))
	called := make(chan error)
	for _, a := range as[10:] { // the newest: the sweep takes the oldest first, as far as they differ
		go func() {
			_, err := w.AccessToken(context.Background(), svc, broker.TokenRequest{Address: a})
			called <- err
		}()
	}
	waitFor(t, func() bool { return under(3)() || under(4)() })
	close(g.pass)
	for range 2 {
		if err := <-called; err != nil {
			t.Error(err)
		}
	}
	<-swept
}

func TestABacklogOfKeepAlivesIsWorkedOffByTheRate(t *testing.T) {
	w := newWorld(t, limited(broker.Load{Rate: 1, Burst: 8}))
	as := w.consentMany(20)
	w.clock.Advance(51 * 24 * time.Hour)
	left := len(as)
	for round := range 40 {
		before := w.refreshes()
		w.Sweep(ctx)
		did := w.refreshes() - before
		if most := 8; did > most/2 {
			t.Fatalf("round %d: %d keep-alives at once, want half of the burst at most", round, did)
		}
		if left -= did; left == 0 {
			w.token(as[0])
			return
		}
		w.clock.Advance(2 * time.Second)
	}
	t.Fatalf("%d are left", left)
}

// reasons counts attempts by reason.
type reasons struct {
	mu   sync.Mutex
	seen map[family.Reason]int
	all  []broker.Attempt
}

func (r *reasons) Attempt(a broker.Attempt) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[a.Reason]++
	r.all = append(r.all, a)
}
func (r *reasons) HotHit()                          {}
func (r *reasons) HotMiss()                         {}
func (r *reasons) Death(string, family.LapseReason) {}
func (r *reasons) Security(family.EventType)        {}
func (r *reasons) Purged(string, string)            {}

func TestAttemptsAreReportedWithTheirReason(t *testing.T) {
	r := &reasons{seen: map[family.Reason]int{}}
	w := newWorld(t, func(w *world) { w.cfg.Observe = r })
	w.consent(jira)
	w.clock.Advance(2 * time.Hour)
	w.token(jira) // demand
	w.clock.Advance(57 * time.Minute)
	w.token(jira)
	waitFor(t, func() bool { return w.refreshes() == 2 }) // ahead
	waitFor(t, func() bool { return w.grant(jira).State.Generation == 3 && w.grant(jira).State.Attempt == nil })
	if _, err := w.ForceRefresh(ctx, op, "", jira); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(51 * 24 * time.Hour)
	w.Sweep(ctx) // keep_alive
	w.clock.Advance(2 * time.Hour)
	w.loseAnswer()
	w.refused(jira, broker.ReasonProviderUnavailable) // demand
	w.clock.Advance(3 * time.Second)
	w.Sweep(ctx) // repeat
	r.mu.Lock()
	defer r.mu.Unlock()
	want := map[family.Reason]int{family.ReasonDemand: 2, family.ReasonAhead: 1, family.ReasonForced: 1, family.ReasonKeepAlive: 1, family.ReasonRepeat: 1}
	if fmt.Sprint(r.seen) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", r.seen, want)
	}
	for _, a := range r.all {
		if a.App != "jira" || !a.Stored || a.Overtaken || a.ToSettle < 0 || a.Took <= 0 {
			t.Errorf("reported %+v", a)
		}
	}
}
