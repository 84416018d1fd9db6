package atlassiansim

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestForgettingChangesNoAnswerAndNoVerdict plays the same random refreshes and
// API calls, with tokens of any age, to a simulator that keeps all and to one that forgets.
func TestForgettingChangesNoAnswerAndNoVerdict(t *testing.T) {
	play := func(seed uint64, keep int) (statuses []int, l Ledger, s *Sim) {
		b := newBench(t, func(c *Config) { c.KeepExchanges = keep }, withBehaviour(func(x *Behaviour) {
			x.ExpiredAccess = 404
			x.Reuse = []string{"previous", "any"}[seed%2]
			x.LateReuse = []string{"family", "client"}[seed/2%2]
		}))
		rng := rand.New(rand.NewPCG(seed, 1))
		var families [][]pair
		for range 4 {
			families = append(families, []pair{b.consent()})
		}
		me := "/ex/jira/" + DefaultSites()[0].CloudID + "/rest/api/3/myself"
		for range 150 {
			b.advance(time.Duration(rng.IntN(20)) * time.Minute)
			n := rng.IntN(len(families))
			tokens := families[n]
			at := len(tokens) - 1
			if rng.IntN(12) == 0 {
				at = rng.IntN(len(tokens))
			}
			r := b.refresh(tokens[at].Refresh)
			statuses = append(statuses, r.status)
			if r.status == 200 {
				families[n] = append(tokens, r.pair(t))
			}
			statuses = append(statuses, b.get(me, tokens[rng.IntN(len(tokens))].Access).status)
			if rng.IntN(15) == 0 {
				families = append(families, []pair{b.consent()})
			}
		}
		return statuses, b.sim.Ledger(), b.sim
	}
	late := 0
	for seed := range uint64(4) {
		wantStatuses, want, _ := play(seed, 0)
		statuses, got, sim := play(seed, 2)
		if d := cmp.Diff(wantStatuses, statuses); d != "" {
			t.Errorf("seed %d: statuses (-keeps all +forgets):\n%s", seed, d)
		}
		facts := func(l Ledger) []any {
			lost := l.LostFamilies()
			for i := range lost {
				lost[i].Exchanges = nil
			}
			return []any{l.Posts(), l.Counts, l.LateReuses(), l.OldReuses(), lost}
		}
		if d := cmp.Diff(facts(want), facts(got)); d != "" {
			t.Errorf("seed %d: facts (-keeps all +forgets):\n%s", seed, d)
		}
		late += len(got.LateReuses())
		for i, f := range got.Families {
			if n := len(f.Exchanges) - f.Counts.LateReuses; n > 2+f.Counts.OldReuses {
				t.Errorf("seed %d: %s keeps %d exchanges", seed, f.ID, n)
			}
			if f.Counts != want.Families[i].Counts {
				t.Errorf("seed %d: %s counts %+v, want %+v", seed, f.ID, f.Counts, want.Families[i].Counts)
			}
		}
		if posts := sim.Counts().Exchanges; posts != want.Posts() {
			t.Errorf("seed %d: %d exchanges counted of %d", seed, posts, want.Posts())
		}
	}
	if late == 0 {
		t.Error("no seed sent a token after its leeway")
	}
}

func TestAForgottenTokenIsStillRecognized(t *testing.T) {
	b := newBench(t, func(c *Config) { c.KeepExchanges = 1 }, withBehaviour(func(x *Behaviour) { x.ExpiredAccess = 404 }))
	first := b.consent()
	p := first
	for range 20 {
		b.advance(time.Hour)
		p = b.refresh(p.Refresh).pair(t)
	}
	if n := len(b.sim.st.refresh); n > 10 {
		t.Errorf("%d refresh tokens are remembered", n)
	}
	if n := len(b.sim.st.access); n > 10 {
		t.Errorf("%d access tokens are remembered", n)
	}
	if r := b.get("/ex/jira/"+DefaultSites()[0].CloudID+"/rest/api/3/myself", first.Access); r.status != 404 {
		t.Errorf("the forgotten access token answers %d", r.status)
	}
	if r := b.post(refreshRequest(confID, first.Refresh)); r.status != 403 || !contains(r.body, "is different than") {
		t.Errorf("the wrong client gets %d %s", r.status, r.body)
	}
	forged := []byte(first.Refresh)
	forged[len(forged)-1] ^= 3 // another character of the alphabet
	wantRefused(t, b.refresh(string(forged)))
	if f := b.onlyFamily(); f.EndedWhy != "" {
		t.Fatalf("a forged token ended the family: %s", f.EndedWhy)
	}
	wantRefused(t, b.refresh(first.Refresh))
	f := b.onlyFamily()
	got := []any{f.EndedWhy, last(f).Token, last(f).Reuse, last(f).Superseded}
	if d := cmp.Diff([]any{EndReuse, "refresh-4", ReuseAfterLeeway, true}, got); d != "" {
		t.Fatalf("end, token, reuse, superseded (-want +got):\n%s", d)
	}
}

func TestCodesAndStraysAreForgotten(t *testing.T) {
	b := newBench(t, func(c *Config) { c.KeepExchanges = 3 })
	for range 50 {
		b.authorize(authorizeQuery(jiraID, jiraScopes))
		b.refresh("unknown")
		b.advance(time.Hour)
	}
	l := b.sim.Ledger()
	if len(b.sim.st.codes) > 4 || len(b.sim.st.Strays) > 8 || len(l.Strays) != 3 || l.Strays[2].Request != 50 || l.Counts.Refused != 50 {
		t.Fatalf("%d codes, %d strays, of which the ledger shows %+v", len(b.sim.st.codes), len(b.sim.st.Strays), l.Strays)
	}
}

// TestATokenWithAnUnspentSuccessorIsNotForgotten: the ledger could not tell
// any more that it was the previous one of its branch.
func TestATokenWithAnUnspentSuccessorIsNotForgotten(t *testing.T) {
	b := newBench(t, func(c *Config) { c.KeepExchanges = 1 })
	first := b.consent()
	p := b.refresh(first.Refresh).pair(t)
	sibling := b.refresh(first.Refresh).pair(t)
	b.refresh(sibling.Refresh).pair(t)
	for range 20 {
		b.advance(time.Hour)
		p = b.refresh(p.Refresh).pair(t)
	}
	wantRefused(t, b.refresh(sibling.Refresh))
	if e := last(b.onlyFamily()); e.Reuse != ReuseAfterLeeway || e.Superseded {
		t.Fatalf("the ledger says %+v", e)
	}
}

func TestATokenInsideItsLeewayIsNotForgotten(t *testing.T) {
	b := newBench(t, func(c *Config) { c.KeepExchanges = 1 }, withBehaviour(func(x *Behaviour) { x.Reuse = "any" }))
	first := b.consent()
	p := first
	for range 20 {
		b.advance(time.Second)
		p = b.refresh(p.Refresh).pair(t)
	}
	b.refresh(first.Refresh).pair(t)
}

func TestFamiliesOfServiceAccountsAreForgotten(t *testing.T) {
	b := newBench(t, func(c *Config) { c.KeepExchanges = 1 })
	b.consent()
	token := func() pair {
		return b.post(map[string]string{"grant_type": "client_credentials", "client_id": jiraID, "client_secret": jiraSecret}).pair(t)
	}
	first := token()
	for range 50 {
		b.advance(time.Hour)
		p := token()
		if r := b.get("/me", p.Access); r.status != 200 {
			t.Fatalf("a new token answers %d", r.status)
		}
	}
	l := b.sim.Ledger()
	if len(l.Families) > 6 || l.Families[0].GrantType != "authorization_code" || l.Counts.Kept != 51 {
		t.Errorf("%d families are left, counts %+v", len(l.Families), l.Counts)
	}
	if r := b.get("/me", first.Access); r.status != 401 {
		t.Errorf("an expired token answers %d", r.status)
	}
}
