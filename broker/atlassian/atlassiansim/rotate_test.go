package atlassiansim

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRotationMakesANewPairAndSpendsTheOld(t *testing.T) {
	b := newBench(t)
	first := b.consent()
	second := b.refresh(first.Refresh).pair(t)
	if second.Refresh == first.Refresh || second.Access == first.Access {
		t.Fatal("a token came back unchanged")
	}
	if got, want := string(second.ExpiresIn)+" "+second.Type+" "+second.Scope, "3600 Bearer "+jiraScopes; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	f := b.onlyFamily()
	want := []Exchange{
		{Request: 1, At: start, GrantType: "authorization_code", Token: "code-1", Outcome: OutcomeRotated, Status: 200, NewAccess: "access-3", NewRefresh: "refresh-4", Delivered: true},
		{Request: 2, At: start, GrantType: "refresh_token", Token: "refresh-4", Outcome: OutcomeRotated, Status: 200, NewAccess: "access-5", NewRefresh: "refresh-6", Delivered: true},
	}
	if d := cmp.Diff(want, f.Exchanges); d != "" {
		t.Fatalf("exchanges (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"refresh-6"}, f.LiveRefresh); d != "" {
		t.Fatalf("live refresh tokens (-want +got):\n%s", d)
	}
}

// TestReuse sends tokens of one lineage again. A step refreshes with the n-th
// refresh token obtained so far (0: the consent's), after advancing the clock.
func TestReuse(t *testing.T) {
	type step struct {
		after  time.Duration
		token  int
		accept bool
	}
	const in, late = 9*time.Minute + 59*time.Second, 10 * time.Minute
	cases := []struct {
		name     string
		set      func(*Behaviour)
		steps    []step
		endedWhy string
		live     int
		late     int
		old      int
	}{
		{"inside the leeway a sibling is made", nil,
			[]step{{0, 0, true}, {in, 0, true}}, "", 2, 0, 0},
		{"both siblings go on", nil,
			[]step{{0, 0, true}, {in, 0, true}, {0, 1, true}, {0, 2, true}}, "", 2, 0, 0},
		{"at the end of the leeway the family dies", nil,
			[]step{{0, 0, true}, {late, 0, false}, {0, 1, false}}, EndReuse, 0, 1, 0},
		{"a reuse does not prolong the leeway", nil,
			[]step{{0, 0, true}, {in, 0, true}, {time.Second, 0, false}}, EndReuse, 0, 1, 0},
		{"leeway 0 forgives nothing", func(b *Behaviour) { b.LeewaySeconds = 0 },
			[]step{{0, 0, true}, {0, 0, false}}, EndReuse, 0, 1, 0},
		{"only the previous token is forgiven", nil,
			[]step{{0, 0, true}, {0, 1, true}, {0, 0, false}, {0, 2, false}}, EndReuse, 0, 0, 1},
		{"any token inside the window is forgiven", func(b *Behaviour) { b.Reuse = "any" },
			[]step{{0, 0, true}, {0, 1, true}, {in, 0, true}, {0, 2, true}}, "", 2, 0, 1},
		{"any token, but not after the window", func(b *Behaviour) { b.Reuse = "any" },
			[]step{{0, 0, true}, {0, 1, true}, {late, 0, false}}, EndReuse, 0, 1, 1},
		{"only the newest sibling lives", func(b *Behaviour) { b.Siblings = "newest" },
			[]step{{0, 0, true}, {0, 0, true}, {0, 1, false}, {0, 2, true}}, "", 1, 0, 0},
		{"a dead token of an ended family is refused again", nil,
			[]step{{0, 0, true}, {late, 0, false}, {0, 0, false}}, EndReuse, 0, 2, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			set := c.set
			if set == nil {
				set = func(*Behaviour) {}
			}
			b := newBench(t, withBehaviour(set))
			tokens := []string{b.consent().Refresh}
			for i, s := range c.steps {
				b.advance(s.after)
				r := b.refresh(tokens[s.token])
				if !s.accept {
					wantRefused(t, r)
					continue
				}
				if r.status != http.StatusOK {
					t.Fatalf("step %d: got %d %s, want a pair", i, r.status, r.body)
				}
				tokens = append(tokens, r.pair(t).Refresh)
			}
			f, l := b.onlyFamily(), b.sim.Ledger()
			got := []any{f.EndedWhy, len(f.LiveRefresh), len(l.LateReuses()), len(l.OldReuses())}
			if d := cmp.Diff([]any{c.endedWhy, c.live, c.late, c.old}, got); d != "" {
				t.Fatalf("end, live tokens, late and old reuses (-want +got):\n%s", d)
			}
		})
	}
}
