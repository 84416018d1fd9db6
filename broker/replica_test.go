package broker_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/family"
	"github.com/holdfast-io/holdfast/storage"
	"github.com/holdfast-io/holdfast/storage/memstore"
)

// TestWhatOneReplicaChangesEndsTheOldAnswerOfTheOthersWithinASecond, also with all
// notifications lost.
func TestWhatOneReplicaChangesEndsTheOldAnswerOfTheOthersWithinASecond(t *testing.T) {
	narrow := func(_ *broker.TokenAnswer, err error) bool { return err == nil }
	for _, row := range []struct {
		name  string
		first func(m *member)
		act   func(m *member) error
		end   func(*broker.TokenAnswer, error) bool
	}{
		{"a revocation", nil, func(m *member) error {
			_, err := m.Revoke(ctx, op, "", jira, "test")
			return err
		}, isReason(broker.ReasonGrantRevoked)},
		{"a forced rotation", nil, func(m *member) error {
			_, err := m.ForceRefresh(ctx, op, "", jira)
			return err
		}, func(a *broker.TokenAnswer, err error) bool { return err == nil && a.Generation == 2 }},
		{"a consent after a revocation", func(m *member) {
			if _, err := m.Revoke(ctx, op, "", jira, "test"); err != nil {
				m.c.t.Fatal(err)
			}
			if _, err := m.Reauth(ctx, op, "", jira); err != nil {
				m.c.t.Fatal(err)
			}
		}, func(m *member) error {
			m.consent(jira)
			return nil
		}, narrow},
		{"other scopes", func(m *member) { m.c.cfg.Apps[0].Scopes["jira"] = []string{"read:jira-work"} }, func(m *member) error {
			m.consent(jira, "read:jira-work", "write:jira-work")
			return nil
		}, func(a *broker.TokenAnswer, err error) bool { return err == nil && a.Generation == 2 }},
		{"a purge", func(m *member) {
			if _, err := m.Revoke(ctx, op, "", jira, "test"); err != nil {
				m.c.t.Fatal(err)
			}
		}, func(m *member) error {
			_, err := m.Purge(ctx, op, "", jira, "test", false)
			return err
		}, isReason(broker.ReasonGrantNotFound)},
	} {
		for _, at := range []struct{ step, slow time.Duration }{
			{time.Millisecond, 0}, {90 * time.Millisecond, 0}, {700 * time.Millisecond, 0}, {10 * time.Millisecond, 800 * time.Millisecond},
		} {
			step := at.step
			t.Run(fmt.Sprintf("%s, drawn every %v, the store taking %v", row.name, step, at.slow), func(t *testing.T) {
				inCluster(t, 2, func(c *cluster) {
					one, other := c.replica[0], c.replica[1]
					other.link.setSlow(at.slow)
					one.consent(jira)
					if row.first != nil {
						row.first(one)
					}
					for range 3 * int(time.Second/step) { // until it is hot
						_, _ = other.draw(jira)
						pass(step)
					}
					if err := row.act(one); err != nil {
						t.Fatal(err)
					}
					if after := other.drawsEvery(step, 3*time.Second, jira, row.end); after >= time.Second {
						t.Errorf("the old answer ended after %v", after)
					}
				}, noHints)
			})
		}
	}
}

// TestACallThatTheSweepOfTheCacheOvertakesIsAnswered: its slot is dropped while it
// asks the store, and was changed on another replica long ago.
func TestACallThatTheSweepOfTheCacheOvertakesIsAnswered(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		began := time.Now().Add(-time.Second) // when the replicas did
		one, other := c.replica[0], c.replica[1]
		one.consent(jira)
		if _, err := one.Revoke(ctx, op, "", jira, "test"); err != nil {
			t.Fatal(err)
		}
		if _, err := other.draw(jira); broker.ReasonOf(err) != broker.ReasonGrantRevoked {
			t.Fatalf("a revoked grant: %v", err)
		}
		pass(30 * time.Minute)
		if _, err := one.Reauth(ctx, op, "", jira); err != nil {
			t.Fatal(err)
		}
		one.consent(jira)
		other.link.setSlow(200 * time.Millisecond)
		// Of the rounds each minute the first that finds the old token expired comes within the question.
		pass(time.Until(began.Add(time.Hour + time.Minute - 100*time.Millisecond)))
		if _, err := other.draw(jira); err != nil {
			t.Error(err)
		}
	}, noHints)
}

func TestANotificationEndsTheOldAnswerAtOnce(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		c.replica[0].consent(jira)
		for range 2000 {
			_, _ = c.replica[1].draw(jira)
			pass(time.Millisecond)
		}
		if _, err := c.replica[0].Revoke(ctx, op, "", jira, "test"); err != nil {
			t.Fatal(err)
		}
		if after := c.replica[1].drawsEvery(time.Millisecond, time.Second, jira, isReason(broker.ReasonGrantRevoked)); after > 10*time.Millisecond {
			t.Errorf("the old answer ended after %v", after)
		}
	})
}

// TestWhileTheStoreDoesNotAnswerValidTokensAreServedForAWhile, but not those that
// are known to have been changed.
func TestWhileTheStoreDoesNotAnswerValidTokensAreServedForAWhile(t *testing.T) {
	for _, row := range []struct {
		name  string
		stale time.Duration // configured
		lose  func(l *link)
		want  time.Duration
	}{
		{"it refuses", 0, func(l *link) { l.lose(storage.ErrUnavailable, false) }, 5 * time.Minute},
		{"it hangs", time.Minute, func(l *link) { l.lose(nil, true) }, time.Minute},
		{"never longer than the access grace", time.Hour, func(l *link) { l.lose(storage.ErrUnavailable, false) }, 10 * time.Minute},
		{"not at all", -1, func(l *link) { l.lose(storage.ErrUnavailable, false) }, time.Second},
	} {
		t.Run(row.name, func(t *testing.T) {
			inCluster(t, 2, func(c *cluster) {
				one, other := c.replica[0], c.replica[1]
				one.consent(jira)
				for range 20 {
					_, _ = other.draw(jira)
					pass(100 * time.Millisecond)
				}
				row.lose(other.link)
				began := time.Now()
				var slowest time.Duration
				after := other.drawsEvery(100*time.Millisecond, 20*time.Minute, jira, func(a *broker.TokenAnswer, err error) bool {
					if err == nil && a.GuaranteedUntil.Sub(began) > 10*time.Minute {
						t.Fatalf("guaranteed until %v after the store was lost", a.GuaranteedUntil.Sub(began))
					}
					slowest = max(slowest, time.Since(began))
					return broker.ReasonOf(err) == broker.ReasonStoreUnavailable && err != nil
				})
				if after < row.want-2*time.Second || after > row.want+2500*time.Millisecond {
					t.Errorf("served for %v, want about %v", after, row.want)
				}
				_, err := other.draw(jira)
				if e, ok := errors.AsType[*broker.Error](err); !ok || e.RetryAfter == 0 {
					t.Errorf("got %v, want a time to retry after", err)
				}
				if reasons := other.NotReady(ctx); len(reasons) == 0 {
					t.Error("it is ready without its store")
				}
				other.link.lose(nil, false)
				pass(2500 * time.Millisecond) // a question may still hang
				if _, err := other.draw(jira); err != nil {
					t.Errorf("after the store came back: %v", err)
				}
			}, noHints, func(c *cluster) { c.cfg.ServeStaleFor = row.stale })
		})
	}
}

func TestATokenThatIsKnownToBeChangedIsNotServedWhenTheStoreGoes(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		one, other := c.replica[0], c.replica[1]
		one.consent(jira)
		for range 20 {
			_, _ = other.draw(jira)
			pass(100 * time.Millisecond)
		}
		other.link.loseRecords(storage.ErrUnavailable) // so that it learns only that there is a newer one
		if _, err := one.Revoke(ctx, op, "", jira, "test"); err != nil {
			t.Fatal(err)
		}
		if after := other.drawsEvery(100*time.Millisecond, 2*time.Second, jira, isReason(broker.ReasonStoreUnavailable)); after >= time.Second {
			t.Errorf("the old answer ended after %v", after)
		}
		other.link.lose(storage.ErrUnavailable, false)
		pass(3 * time.Second)
		if a, err := other.draw(jira); err == nil {
			t.Errorf("served generation %d", a.Generation)
		}
	})
}

// TestAnAnswerOfTheStoreIsAsOldAsItsQuestion: what is changed while the answer is
// on its way, it does not say.
func TestAnAnswerOfTheStoreIsAsOldAsItsQuestion(t *testing.T) {
	for phase := range 16 {
		inCluster(t, 2, func(c *cluster) {
			one, other := c.replica[0], c.replica[1]
			one.consent(jira)
			other.link.setSlow(800 * time.Millisecond)
			for range 400 {
				_, _ = other.draw(jira)
				pass(10 * time.Millisecond)
			}
			drawn := make(chan struct{})
			go func() {
				defer close(drawn)
				for range 16 {
					_, _ = other.draw(jira)
					pass(50 * time.Millisecond)
				}
			}()
			pass(time.Duration(phase) * 50 * time.Millisecond)
			if _, err := one.Revoke(ctx, op, "", jira, "test"); err != nil {
				t.Fatal(err)
			}
			if after := other.drawsEvery(10*time.Millisecond, 3*time.Second, jira, isReason(broker.ReasonGrantRevoked)); after >= time.Second {
				t.Errorf("phase %d: the old answer ended after %v", phase, after)
			}
			<-drawn
		}, noHints)
	}
}

// TestOneGrantIsRotatedOnceByAllReplicas, and those who wait elsewhere learn of it.
func TestOneGrantIsRotatedOnceByAllReplicas(t *testing.T) {
	for _, row := range []struct {
		name  string
		hints bool
		late  time.Duration
	}{{"with notifications", true, 50 * time.Millisecond}, {"without", false, 500 * time.Millisecond}} {
		t.Run(row.name, func(t *testing.T) {
			inCluster(t, 3, func(c *cluster) {
				c.mem.DropHints(!row.hints)
				c.replica[0].consent(jira)
				for _, m := range c.replica {
					if _, err := m.draw(jira); err != nil {
						t.Fatal(err)
					}
				}
				pass(untilExpired)
				settled := make(chan time.Time, 1)
				for _, m := range c.replica {
					m.link.onSwap(func(changes []storage.Change) {
						// The provider takes 3 s; only what is settled is stored after that.
						if changes[0].Item.Key.Kind == storage.KindGrant && changes[0].Old == 2 {
							pass(time.Second)
							settled <- time.Now()
						}
					})
				}
				answered := make(chan time.Time, 150)
				for i := range 150 {
					go func() {
						a, err := c.replica[i%3].draw(jira)
						if err != nil || a.Generation != 2 {
							t.Errorf("got %+v, %v", a, err)
						}
						answered <- time.Now()
					}()
				}
				var at time.Time
				select {
				case at = <-settled:
				case <-time.After(time.Minute):
					t.Fatal("nothing was settled")
				}
				for range 150 {
					if late := (<-answered).Sub(at); late > row.late {
						t.Errorf("a caller learned of it %v after the commit", late)
					}
				}
				if n := c.posts(); n != 1 {
					t.Errorf("%d requests", n)
				}
			}, shortLives)
		})
	}
}

func TestAnOperatorsPauseBindsAllReplicasWithinASecond(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		one, other := c.replica[0], c.replica[1]
		one.consent(jira)
		if _, err := one.PauseApp(ctx, op, "jira", "test"); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if _, err := other.ForceRefresh(ctx, op, "", jira); broker.ReasonOf(err) != broker.ReasonAppPaused {
			t.Fatalf("got %v, want APP_PAUSED", err)
		}
		if _, _, err := one.ResumeApp(ctx, op, "jira", 0); err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if _, err := other.ForceRefresh(ctx, op, "", jira); err != nil {
			t.Fatal(err)
		}
	}, noHints)
}

// TestAStoreThatLostCommitsIsReadAgain: a version in memory does not mean any more
// what it did.
func TestAStoreThatLostCommitsIsReadAgain(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		one, other := c.replica[0], c.replica[1]
		one.consent(jira)
		if _, err := other.draw(jira); err != nil {
			t.Fatal(err)
		}
		c.mem.SetFault(func([]storage.Change) memstore.Fault { return memstore.Unsynced })
		if _, err := one.ForceRefresh(ctx, op, "", jira); err != nil {
			t.Fatal(err)
		}
		if a, err := other.draw(jira); err != nil || a.Generation != 2 {
			pass(time.Second)
			if a, err = other.draw(jira); err != nil || a.Generation != 2 {
				t.Fatalf("%+v, %v", a, err)
			}
		}
		c.mem.SetFault(nil)
		c.mem.Crash() // as a standby that had not got them would be
		pass(2 * time.Second)
		if g, ok := other.AtHand(jira.GrantID()); !ok || g.State.Generation != 2 {
			t.Errorf("at hand is %v, generation %d: want what the store has lost", ok, g.State.Generation)
		}
		for _, m := range c.replica {
			if a, err := m.draw(jira); err != nil || a.Generation != 1 {
				t.Errorf("got %+v, %v, want what the store knows: generation 1", a, err)
			}
		}
	}, noHints)
}

// TestReplicasWhoseClocksAreMinutesOffAgreeByTheStores: nobody spends twice, and
// nothing is sent late.
func TestReplicasWhoseClocksAreMinutesOffAgreeByTheStores(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, shortLives)
		for _, skew := range []time.Duration{0, 7 * time.Minute, -7 * time.Minute} {
			c.start(skew)
		}
		pass(time.Second)
		c.replica[1].consent(jira)
		for round := range 6 {
			pass(untilExpired)
			before := c.posts()
			done := make(chan error, 9)
			for i := range 9 {
				go func() {
					_, err := c.replica[i%3].draw(jira)
					done <- err
				}()
			}
			for range 9 {
				if err := <-done; err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			}
			if n := c.posts() - before; n != 1 {
				t.Errorf("round %d: %d requests", round, n)
			}
			if g := c.grant(jira); time.Since(g.State.LastExchange).Abs() > 10*time.Second || g.State.Phase != family.Active {
				t.Errorf("round %d: exchanged %v ago by the record", round, time.Since(g.State.LastExchange))
			}
			// A clock is set while the process runs.
			c.replica[round%3].skew.Add(int64(time.Duration(round-3) * 20 * time.Minute))
		}
	})
}
