package atlassiansim

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestLostFamilies(t *testing.T) {
	cases := []struct {
		name string
		run  func(*bench, pair)
		lost bool
	}{
		{"a family in use", func(b *bench, p pair) { b.refresh(p.Refresh).pair(b.t) }, false},
		{"a lost answer inside the leeway", func(b *bench, p pair) {
			b.arm(Fault{Kind: FaultDropBeforeAnswer, Count: 1})
			b.refresh(p.Refresh)
			b.advance(9 * time.Minute)
		}, false},
		{"a lost answer, recovered", func(b *bench, p pair) {
			b.arm(Fault{Kind: FaultDropBeforeAnswer, Count: 1})
			b.refresh(p.Refresh)
			b.refresh(p.Refresh).pair(b.t)
			b.advance(time.Hour)
		}, false},
		{"a lost answer, the leeway over", func(b *bench, p pair) {
			b.arm(Fault{Kind: FaultDropBeforeAnswer, Count: 1})
			b.refresh(p.Refresh)
			b.advance(10 * time.Minute)
		}, true},
		{"a late reuse", func(b *bench, p pair) {
			b.refresh(p.Refresh).pair(b.t)
			b.advance(time.Hour)
			b.refresh(p.Refresh)
		}, true},
		{"90 days idle", func(b *bench, _ pair) { b.advance(90 * 24 * time.Hour) }, true},
		{"revoked by the user", func(b *bench, _ pair) {
			if _, err := b.sim.RevokeAccess(DefaultAccounts()[0].ID, ""); err != nil {
				b.t.Fatal(err)
			}
		}, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			c.run(b, b.consent())
			if got := len(b.sim.Ledger().LostFamilies()) == 1; got != c.lost {
				t.Fatalf("lost: %v, want %v; %+v", got, c.lost, b.onlyFamily())
			}
		})
	}
}

func TestLedgerOfALostAnswerAndALateReuse(t *testing.T) {
	b := newBench(t)
	p := b.consent()
	b.arm(Fault{Kind: FaultDropMidBody, Count: 1})
	b.refresh(p.Refresh)
	b.advance(time.Minute)
	b.refresh(p.Refresh).pair(t)
	b.advance(10 * time.Minute)
	wantRefused(t, b.refresh(p.Refresh))
	b.post(refreshRequest(jiraID, "unknown"))
	at := func(d time.Duration) time.Time { return start.Add(d) }
	want := []Exchange{
		{Request: 2, At: start, GrantType: "refresh_token", Token: "refresh-4", Outcome: OutcomeRotated, Fault: FaultDropMidBody, Status: 200, NewAccess: "access-5", NewRefresh: "refresh-6"},
		{Request: 3, At: at(time.Minute), GrantType: "refresh_token", Token: "refresh-4", Outcome: OutcomeRotated, Reuse: ReuseInsideLeeway, Status: 200, NewAccess: "access-7", NewRefresh: "refresh-8", Delivered: true},
		{Request: 4, At: at(11 * time.Minute), GrantType: "refresh_token", Token: "refresh-4", Outcome: OutcomeRefused, Reuse: ReuseAfterLeeway, Status: 403, Error: "unauthorized_client", Delivered: true},
	}
	f := b.onlyFamily()
	if d := cmp.Diff(want, f.Exchanges[1:]); d != "" {
		t.Fatalf("exchanges (-want +got):\n%s", d)
	}
	l := b.sim.Ledger()
	if d := cmp.Diff(want[2:], l.LateReuses()); d != "" {
		t.Fatalf("late reuses (-want +got):\n%s", d)
	}
	stray := []Exchange{{Request: 5, At: at(11 * time.Minute), GrantType: "refresh_token", Outcome: OutcomeRefused, Status: 403, Error: "unauthorized_client", Delivered: true}}
	if d := cmp.Diff(stray, l.Strays); d != "" {
		t.Fatalf("strays (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]any{5, EndReuse, at(11 * time.Minute), 0}, []any{l.Posts(), f.EndedWhy, f.EndedAt, len(f.LiveRefresh)}); d != "" {
		t.Fatalf("posts, end, live tokens (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"access-5", "access-7"}, f.LiveAccess); d != "" {
		t.Fatalf("live access tokens after the grace of the first (-want +got):\n%s", d)
	}
}

func TestConcurrentRefreshesAreAllAccountedFor(t *testing.T) {
	b := newBench(t)
	p := b.consent()
	const n = 50
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if r := b.refresh(p.Refresh); r.status != 200 {
				t.Errorf("got %d %s", r.status, r.body)
			}
		})
		wg.Go(func() { b.sim.Ledger() })
	}
	wg.Wait()
	f := b.onlyFamily()
	seen := map[int]bool{}
	for _, e := range f.Exchanges {
		seen[e.Request] = true
	}
	if len(seen) != n+1 || len(f.LiveRefresh) != n || b.sim.Ledger().Posts() != n+1 {
		t.Fatalf("got %d numbers, %d live tokens, %d posts", len(seen), len(f.LiveRefresh), b.sim.Ledger().Posts())
	}
}
