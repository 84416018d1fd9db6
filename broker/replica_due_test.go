package broker_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/secret"
	"github.com/holdfast-io/holdfast/storage"
)

// consentMany consents n grants and returns their addresses.
func (c *cluster) consentMany(n int) (all []storage.Address) {
	for i := range n {
		a := mustAddress(fmt.Sprintf("acme/s%02d/jira", i))
		c.replica[i%len(c.replica)].consent(a)
		all = append(all, a)
	}
	return all
}

// TestReplicasShareOutWhatIsDue: each idle family is kept alive once, and not all
// by the same replica.
func TestReplicasShareOutWhatIsDue(t *testing.T) {
	inCluster(t, 3, func(c *cluster) {
		all := c.consentMany(90)
		var mu sync.Mutex
		by := map[int]int{}
		for i, m := range c.replica {
			m.link.onSwap(func(changes []storage.Change) {
				if changes[0].Item.Key.Kind == storage.KindGrant {
					mu.Lock()
					by[i]++
					mu.Unlock()
				}
			})
		}
		began := c.posts()
		pass(17 * time.Minute) // fifteen minutes, a ninth of half an hour more or less
		if n := c.posts() - began; n != len(all) {
			t.Errorf("%d requests for %d idle families", n, len(all))
		}
		for _, a := range all {
			if g := c.grant(a); g.State.Generation != 2 || g.State.Phase != family.Active {
				t.Errorf("%s: generation %d, %v", a, g.State.Generation, g.State.Phase)
			}
		}
		for i := range c.replica {
			if by[i] < len(all)/10 {
				t.Errorf("replica %d wrote %d times of %v", i, by[i], by)
			}
		}
	}, shortLives)
}

// untilExpired is when tokens of shortLives have expired, and nobody is due.
const untilExpired = 12*time.Minute + 30*time.Second

// shortLives makes tokens live for 12 minutes and idle families due after 15.
func shortLives(c *cluster) {
	c.accessLife, c.cfg.Timing.IdleLimit = 12*time.Minute, 30*time.Minute
}

// TestWhatADeadReplicaLeftIsTakenOverAfterItsLease, inside the leeway, although
// nobody asks for it, and its late answer is kept.
func TestWhatADeadReplicaLeftIsTakenOverAfterItsLease(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		one, other := c.replica[0], c.replica[1]
		one.consent(jira)
		if _, err := c.sim.AddFault(atlassiansim.Fault{Kind: atlassiansim.FaultDelayAnswer, GrantType: "refresh_token", DelayMillis: 4000, Count: 1}); err != nil {
			t.Fatal(err)
		}
		forced := make(chan struct{})
		go func() {
			defer close(forced)
			_, _ = one.ForceRefresh(ctx, op, "", jira)
		}()
		pass(time.Second)
		one.link.lose(storage.ErrUnavailable, false) // it has announced, and nobody hears of it again
		announced := other.grant(jira).State.Attempt
		if announced == nil {
			t.Fatal("nothing was announced")
		}
		if n, err := other.TakeOver(ctx); n != 0 || err != nil {
			t.Errorf("took over %d, %v: the replica may live", n, err)
		}
		pass(time.Until(announced.LeaseUntil) - time.Second)
		if n := c.posts(); n != 1 {
			t.Errorf("%d requests before the lease ended", n)
		}
		pass(2*time.Minute - time.Second)
		g := other.grant(jira)
		if g.State.Generation != 2 || g.State.Doubt != nil || g.State.Attempt != nil || c.posts() != 2 {
			t.Errorf("generation %d, doubt %v, attempt %v, %d requests: want it repeated once", g.State.Generation, g.State.Doubt, g.State.Attempt, c.posts())
		}
		one.link.lose(nil, false)
		<-forced
		pass(time.Minute)
		if g := other.grant(jira); len(g.State.Alternates) != 1 {
			t.Errorf("%d alternates: the late successor is to be kept", len(g.State.Alternates))
		}
	}, noHints)
}

// TestClaimsOfADeadReplicaDelayByTheirHoldOnly: it claims what is due, and dies
// before it can announce anything.
func TestClaimsOfADeadReplicaDelayByTheirHoldOnly(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		all := c.consentMany(20)
		c.replica[0].close()
		pass(17 * time.Minute)
		before := c.posts()
		taken, err := c.mem.Claim(ctx, storage.Span{Before: time.Now()}, 17*time.Second, 1000)
		if err != nil || len(taken) != len(all) {
			t.Fatalf("claimed %d, %v", len(taken), err)
		}
		c.start(0)
		pass(15 * time.Second)
		if n := c.posts() - before; n != 0 {
			t.Errorf("%d requests while others have claimed all", n)
		}
		pass(15 * time.Second)
		if n := c.posts() - before; n != len(all) {
			t.Errorf("%d requests of %d after the claims had ended", n, len(all))
		}
	}, shortLives)
}

// TestADoubtIsNotHeldBackByThousandsOfIdleFamilies that are due before it and for
// which there is no room.
func TestADoubtIsNotHeldBackByThousandsOfIdleFamilies(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		m := c.replica[0]
		m.consent(jira)
		state := c.grant(jira).State
		for i := range 3000 {
			a := mustAddress(fmt.Sprintf("acme/idle%d/jira", i))
			g := storage.Grant{ID: a.GrantID(), Address: a, App: "jira", Account: "a", State: state, Due: time.Now().Add(-time.Hour)}
			g.State.LastExchange, g.State.Refresh = time.Now().Add(-70*24*time.Hour), secret.New("planted")
			if err := m.store.Swap(ctx, storage.Update{Grant: &g}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := c.sim.AddFault(atlassiansim.Fault{Kind: atlassiansim.FaultDropBeforeAnswer, GrantType: "refresh_token", Count: 1}); err != nil {
			t.Fatal(err)
		}
		_, _ = m.ForceRefresh(ctx, op, "", jira)
		if g := c.grant(jira); g.State.Doubt == nil {
			t.Fatal("it is not in doubt")
		}
		pass(20 * time.Second)
		if g := c.grant(jira); g.State.Doubt != nil || g.State.Generation != 2 {
			t.Errorf("doubt %v at generation %d", g.State.Doubt, g.State.Generation)
		}
	}, func(c *cluster) { c.cfg.Load = broker.Load{Rate: 1, Burst: 2, Concurrency: 2} })
}
