package broker_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/storage"
)

func TestWhatAnotherReplicaChangesReachesAWatcherWithinASecond(t *testing.T) {
	for name, lose := range map[string]func(*cluster){"with notifications": func(*cluster) {}, "without": noHints} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, 2, func(c *cluster) {
				one, other := c.replica[0], c.replica[1]
				one.consent(jira)
				s := watch(c.t, other)
				s.wants(0, "1")
				soon := func(err error, want string) {
					t.Helper()
					if err != nil {
						t.Fatal(err)
					}
					began := time.Now()
					s.wants(time.Minute, want)
					if after := time.Since(began); after >= time.Second {
						t.Errorf("%s came after %v", want, after)
					}
				}
				s.wants(30*time.Minute, "nothing") // nobody draws it here
				_, err := one.ForceRefresh(ctx, op, "", jira)
				soon(err, "2")
				s.wants(10*time.Minute, "nothing")
				_, err = one.Revoke(ctx, op, "", jira, "test")
				soon(err, "GRANT_REVOKED")
				s.wants(3*time.Hour, "nothing") // longer than the cache keeps what serves nothing
				_, err = one.Reauth(ctx, op, "", jira)
				if err != nil {
					t.Fatal(err)
				}
				one.consent(jira)
				soon(nil, "3")
				if _, err = one.Revoke(ctx, op, "", jira, "test"); err != nil {
					t.Fatal(err)
				}
				s.wants(time.Second, "GRANT_REVOKED")
				_, err = one.Purge(ctx, op, "", jira, "test", false)
				soon(err, "ended GRANT_NOT_FOUND")
			}, lose)
		})
	}
}

func TestAGrantThatTwoReplicasWatchIsRefreshedOnce(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		c.replica[0].consent(jira)
		one, other := watch(c.t, c.replica[0]), watch(c.t, c.replica[1])
		for want := 1; want < 6; want++ {
			one.wants(time.Hour, fmt.Sprint(want))
			other.wants(time.Second, fmt.Sprint(want))
		}
		if n := c.posts(); n != 4 {
			t.Errorf("%d refreshes for 4 renewals", n)
		}
	}, noHints)
}

func TestWhileTheStoreDoesNotAnswerAWatcherKeepsItsTokenForAsLongAsItIsServed(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		one, other := c.replica[0], c.replica[1]
		one.consent(jira)
		s := watch(c.t, other)
		s.wants(0, "1")
		pass(time.Minute)
		other.link.lose(storage.ErrUnavailable, false)
		began := time.Now()
		s.wants(time.Hour, "STORE_UNAVAILABLE")
		if after := time.Since(began); after < broker.DefaultServeStaleFor-time.Second || after > broker.DefaultServeStaleFor+35*time.Second {
			t.Errorf("it was told after %v", after)
		}
		s.wants(time.Hour, "nothing")
		if _, err := one.ForceRefresh(ctx, op, "", jira); err != nil {
			t.Fatal(err)
		}
		other.link.lose(nil, false)
		s.wants(10*time.Second, "2")
	}, noHints)
}

func TestWhoWatchesWhileTheStoreDoesNotAnswerIsToldAndGetsATokenWhenItDoes(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		c.replica[0].consent(jira)
		c.replica[1].link.lose(storage.ErrUnavailable, false)
		s := watch(c.t, c.replica[1])
		s.wants(time.Second, "STORE_UNAVAILABLE")
		s.wants(time.Minute, "nothing")
		c.replica[1].link.lose(nil, false)
		s.wants(10*time.Second, "1")
	})
}

// crowd watches jira many times over; each watcher notes what it was told.
func crowd(c *cluster, m *member, n int) (told func(word string) int, leave func()) {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	var mu sync.Mutex
	words := map[string]int{}
	for range n {
		all.Go(func() {
			err := m.Watch(ctx, svc, broker.TokenRequest{Address: jira}, func(r broker.TokenResult) error {
				mu.Lock()
				defer mu.Unlock()
				words[word(r)]++
				return nil
			})
			if ctx.Err() == nil {
				c.t.Errorf("a watcher ended: %v", err)
			}
		})
	}
	told = func(word string) int {
		mu.Lock()
		defer mu.Unlock()
		return words[word]
	}
	return told, func() {
		cancel()
		all.Wait()
	}
}

func TestTenThousandWatchersOfAGrantCauseOneRefreshAndNoStormAtTheStore(t *testing.T) {
	const watchers = 10_000
	inCluster(t, 2, func(c *cluster) {
		here, there := c.replica[0], c.replica[1]
		here.consent(jira)
		pass(54 * time.Minute)
		told, leave := crowd(c, here, watchers)
		defer leave()
		synctest.Wait()
		gets, queries := here.link.gets.Load(), here.Vitals().Replica.Queries
		pass(3 * time.Minute)
		if n := c.posts(); n != 1 {
			t.Errorf("%d refreshes", n)
		}
		if _, err := there.ForceRefresh(ctx, op, "", jira); err != nil {
			t.Fatal(err)
		}
		pass(3 * time.Second) // of which a second spreads them
		for g := 1; g <= 3; g++ {
			if n := told(fmt.Sprint(g)); n != watchers {
				t.Errorf("%d watchers of %d were told of generation %d", n, watchers, g)
			}
		}
		perSecond := func(n int64) float64 { return float64(n) / (3 * 60) }
		if n := perSecond(here.link.gets.Load() - gets); n > 1 {
			t.Errorf("%.1f reads a second", n)
		}
		if n := perSecond(int64(here.Vitals().Replica.Queries - queries)); n > 8 { // the rounds ask for grants and apps, and hints wake some
			t.Errorf("%.1f questions a second to the store", n)
		}
	}, func(c *cluster) { c.cfg.Limits = broker.Limits{GrantRate: 100_000, GrantBurst: 100_000} })
}

func TestAllWatchersOfAGrantTakeOnePlaceAmongTheCallsThatWaitForIt(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		m := c.replica[0]
		m.consent(jira)
		told, leave := crowd(c, m, 50)
		defer leave()
		if _, err := m.PauseApp(ctx, op, "jira", "test"); err != nil {
			t.Fatal(err)
		}
		pass(61 * time.Minute) // the token has ended
		c.onDial(func() { pass(4 * time.Second) })
		if _, _, err := m.ResumeApp(ctx, op, "jira", 0); err != nil {
			t.Fatal(err)
		}
		pass(3500 * time.Millisecond) // by then all have looked
		if a, err := m.draw(jira); err != nil || a.Generation != 2 {
			t.Errorf("a call found no place to wait: %v", err)
		}
		pass(time.Second)
		for _, word := range []string{"1", "APP_PAUSED", "2"} {
			if n := told(word); n != 50 {
				t.Errorf("%d watchers of 50 were told %s", n, word)
			}
		}
	}, func(c *cluster) { c.cfg.Limits = broker.Limits{WaitingPerGrant: 2} })
}
