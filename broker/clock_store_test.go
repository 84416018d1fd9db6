package broker_test

import (
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/family"
)

// TestNothingIsSentLateHoweverTheStoresClockIsSet: the guard goes by the machine's
// own clock from the start of the attempt on.
func TestNothingIsSentLateHoweverTheStoresClockIsSet(t *testing.T) {
	for _, row := range []struct {
		name string
		back time.Duration
		late bool // beyond the lease, by the time that it takes to connect
		sent int
	}{
		{"in time", 0, false, 1},
		{"late", 0, true, 0},
		{"late, and the store's clock was set back within the margin", 4 * time.Second, true, 0},
		{"late, and the store's clock was set back by minutes", 5 * time.Minute, true, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			inCluster(t, 2, func(c *cluster) {
				c.replica[0].consent(jira)
				c.onDial(func() {
					c.mem.SetClock(func() time.Time { return time.Now().Add(-row.back) })
					if row.late {
						pass(3 * time.Second) // in which the clock is measured several times
					}
				})
				_, err := c.replica[0].ForceRefresh(ctx, op, "", jira)
				if n := c.posts(); n != row.sent || (err == nil) != (row.sent == 1) {
					t.Errorf("%d requests, %v", n, err)
				}
			}, func(c *cluster) {
				t := &c.cfg.Timing
				t.Lease = t.HTTPTimeout + t.ClockMargin + time.Second // a second to send in
			})
		})
	}
}

// TestNothingIsSpentWhenTheStoresClockGoesBack: leeways would seem to run for
// longer than they do at the provider.
func TestNothingIsSpentWhenTheStoresClockGoesBack(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		c.replica[0].consent(jira)
		pass(time.Minute) // the store has seen the time by now
		c.mem.SetClock(func() time.Time { return time.Now().Add(-10 * time.Minute) })
		pass(30 * time.Second)
		for _, m := range c.replica {
			if _, err := m.ForceRefresh(ctx, op, "", jira); broker.ReasonOf(err) != broker.ReasonStoreUnavailable {
				t.Errorf("got %v, want STORE_UNAVAILABLE", err)
			}
		}
		c.mem.SetClock(nil)
		pass(time.Second)
		if _, err := c.replica[1].ForceRefresh(ctx, op, "", jira); err != nil || c.posts() != 1 {
			t.Errorf("%v, %d requests", err, c.posts())
		}
	})
}

// TestAStepOfAReplicasClockBeginsNoSecondAttempt: between two measurements it runs
// ahead by minutes, so that the lease of another replica seems to be over.
func TestAStepOfAReplicasClockBeginsNoSecondAttempt(t *testing.T) {
	for _, step := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		inCluster(t, 2, func(c *cluster) {
			one, other := c.replica[0], c.replica[1]
			one.consent(jira)
			if _, err := other.draw(jira); err != nil {
				t.Fatal(err)
			}
			c.onDial(func() { pass(4 * time.Second) })
			forced := make(chan error, 1)
			go func() {
				_, err := one.ForceRefresh(ctx, op, "", jira)
				forced <- err
			}()
			pass(1100 * time.Millisecond) // it is announced, and on its way
			other.setSkew(step)
			if n, err := other.ForceRefresh(ctx, op, "", jira); err != nil {
				t.Errorf("%v, %v", n, err)
			}
			if err := <-forced; err != nil {
				t.Error(err)
			}
			if g := c.grant(jira); len(g.State.Alternates) != 0 || g.State.Doubt != nil {
				t.Errorf("step %v: alternates %d, doubt %v: somebody began a second attempt", step, len(g.State.Alternates), g.State.Doubt)
			}
		}, noHints)
	}
}

// TestAnAttemptIsAnnouncedByTheStoresClock, also right after the replica's was set.
func TestAnAttemptIsAnnouncedByTheStoresClock(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		m := c.replica[0]
		m.consent(jira)
		m.setSkew(time.Hour)
		if _, err := m.ForceRefresh(ctx, op, "", jira); err != nil {
			t.Fatal(err)
		}
		events, err := m.store.Events(ctx, jira.GrantID(), 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Type == family.EventAnnounced && time.Since(e.At).Abs() > time.Second {
				t.Errorf("announced %v from now", -time.Since(e.At))
			}
		}
	})
}
