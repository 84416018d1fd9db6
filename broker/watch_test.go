package broker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-io/holdfast/broker"
	"github.com/holdfast-io/holdfast/broker/atlassian/atlassiansim"
	"github.com/holdfast-io/holdfast/storage"
)

// stream is one Watch and what it was sent.
type stream struct {
	t      testing.TB
	events chan broker.TokenResult
	ended  chan error
	cancel context.CancelFunc
}

// watcher is what watches: a broker.
type watcher interface {
	Watch(context.Context, broker.Caller, broker.TokenRequest, func(broker.TokenResult) error) error
}

// watch begins to watch jira as svc; it ends with the test at the latest. Who does
// not ask for the next event is a slow reader.
func watch(t testing.TB, b watcher, change ...func(*broker.TokenRequest)) *stream {
	req := broker.TokenRequest{Address: jira}
	for _, c := range change {
		c(&req)
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &stream{t: t, events: make(chan broker.TokenResult), ended: make(chan error, 1), cancel: cancel}
	go func() {
		s.ended <- b.Watch(ctx, svc, req, func(r broker.TokenResult) error {
			if (r.Answer == nil) == (r.Err == nil) {
				t.Errorf("sent was %+v: want an answer or an error", r)
			}
			select {
			case s.events <- r:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		_ = s.end(time.Minute)
	})
	return s
}

// end is what the stream ended with, within a time.
func (s *stream) end(within time.Duration) error {
	s.t.Helper()
	select {
	case err := <-s.ended:
		s.ended <- err
		return err
	case <-time.After(within):
		s.t.Fatal("the stream does not end")
		return nil
	}
}

// next is the next event, in a word, which must come within a time.
func (s *stream) next(within time.Duration) string {
	s.t.Helper()
	select {
	case r := <-s.events:
		return word(r)
	case err := <-s.ended:
		s.ended <- err
		return "ended " + string(broker.ReasonOf(err))
	case <-time.After(within + time.Millisecond):
		return "nothing"
	}
}

// wants are the next events, each of which must come within a time of the one before.
func (s *stream) wants(within time.Duration, want ...string) {
	s.t.Helper()
	var got []string
	for range want {
		got = append(got, s.next(within))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Fatal(diff)
	}
}

// word is an event in a word: the generation of a token, or a reason.
func word(r broker.TokenResult) string {
	if r.Err == nil {
		return fmt.Sprint(r.Answer.Generation)
	}
	return string(broker.ReasonOf(r.Err))
}

func TestAWatchedTokenIsRenewedWellBeforeItEndsThoughNobodyDrawsIt(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		c.replica[0].consent(jira)
		s := watch(c.t, c.replica[0])
		s.wants(0, "1")
		for want := 2; want < 5; want++ {
			began := time.Now()
			s.wants(time.Hour, fmt.Sprint(want))
			if after := time.Since(began); after < 55*time.Minute-time.Second || after > 56*time.Minute {
				t.Errorf("generation %d came after %v, want it 5 minutes before the end of the last", want, after)
			}
		}
		if n := c.posts(); n != 3 {
			t.Errorf("%d refreshes for 3 renewals", n)
		}
	})
}

func TestTokensThatLiveShorterThanTheirRenewalTakesAreRenewedAtHalfOfTheirLife(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		c.replica[0].consent(jira)
		s := watch(c.t, c.replica[0])
		s.wants(0, "1")
		for want := 2; want < 12; want++ {
			began := time.Now()
			s.wants(4*time.Second, fmt.Sprint(want))
			if after := time.Since(began); after < 1900*time.Millisecond || after > 2300*time.Millisecond {
				t.Errorf("generation %d came after %v", want, after)
			}
		}
	}, func(c *cluster) { c.accessLife = 4 * time.Second })
}

func TestAWatcherIsToldOnceOfEachChange(t *testing.T) {
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	inCluster(t, 1, func(c *cluster) {
		m := c.replica[0]
		m.consent(jira)
		s := watch(c.t, m)
		s.wants(0, "1")
		_, err := m.ForceRefresh(ctx, op, "", jira)
		must(err)
		s.wants(0, "2")
		_, err = m.Revoke(ctx, op, "", jira, "test")
		must(err)
		s.wants(0, "GRANT_REVOKED")
		s.wants(3*time.Hour, "nothing")
		_, err = m.Reauth(ctx, op, "", jira)
		must(err)
		m.consent(jira)
		s.wants(0, "3")
		_, err = m.Revoke(ctx, op, "", jira, "test")
		must(err)
		s.wants(0, "GRANT_REVOKED")
		_, err = m.Purge(ctx, op, "", jira, "test", false)
		must(err)
		s.wants(0, "ended GRANT_NOT_FOUND")
	})
}

func TestAWatcherIsToldWhenAFamilyEndsAndWhenAPersonConsents(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		m := c.replica[0]
		m.consent(jira)
		s := watch(c.t, m)
		s.wants(0, "1")
		if _, err := c.sim.AddFault(atlassiansim.Fault{Kind: atlassiansim.FaultRefuse, GrantType: "refresh_token"}); err != nil {
			t.Fatal(err)
		}
		select {
		case r := <-s.events:
			e, ok := errors.AsType[*broker.Error](r.Err)
			if !ok || e.Reason != broker.ReasonConsentRequired || e.Metadata["link"] == "" || e.Metadata["why"] == "" {
				t.Fatalf("got %v", r)
			}
		case <-time.After(3 * time.Hour):
			t.Fatal("nothing came")
		}
		s.wants(24*time.Hour, "nothing")
		c.sim.ClearFaults()
		m.consent(jira)
		s.wants(0, "2")
	})
}

func TestWhileTheProviderIsAwayAWatcherIsToldOnceAndWhenItIsBack(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		c.replica[0].consent(jira)
		s := watch(c.t, c.replica[0])
		s.wants(0, "1")
		if _, err := c.sim.AddFault(atlassiansim.Fault{Kind: atlassiansim.FaultStatus, Status: 503, GrantType: "refresh_token"}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		s.wants(2*time.Hour, "PROVIDER_UNAVAILABLE")
		if after := time.Since(began); after < 55*time.Minute {
			t.Errorf("it came after %v, when the old token was good", after)
		}
		s.wants(2*time.Minute, "nothing") // the leeway is not over yet
		c.sim.ClearFaults()
		s.wants(5*time.Minute, "2")
	})
}

func TestAWatcherIsToldOfAPausedAppOnlyWhenItHasNoTokenLeft(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		m := c.replica[0]
		m.consent(jira)
		s := watch(c.t, m)
		s.wants(0, "1")
		if _, err := m.PauseApp(ctx, op, "jira", "test"); err != nil {
			t.Fatal(err)
		}
		s.wants(59*time.Minute, "nothing")
		s.wants(2*time.Minute, "APP_PAUSED")
		s.wants(time.Hour, "nothing")
		if _, _, err := m.ResumeApp(ctx, op, "jira", 0); err != nil {
			t.Fatal(err)
		}
		s.wants(30*time.Second, "2")
	})
}

func TestASlowReaderFindsTheNewestStateAlone(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		m := c.replica[0]
		m.consent(jira)
		s := watch(c.t, m) // blocks in sending generation 1
		pass(time.Second)
		for range 5 {
			if _, err := m.ForceRefresh(ctx, op, "", jira); err != nil {
				t.Fatal(err)
			}
		}
		s.wants(0, "1", "6")
		s.wants(time.Minute, "nothing")
	})
}

func TestWhoNamesAGenerationWaitsForAnother(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		m := c.replica[0]
		m.consent(jira)
		s := watch(c.t, m, func(r *broker.TokenRequest) { r.IfNotGeneration = 1 })
		s.wants(time.Minute, "nothing")
		if _, err := m.ForceRefresh(ctx, op, "", jira); err != nil {
			t.Fatal(err)
		}
		s.wants(0, "2")
		other := watch(c.t, m, func(r *broker.TokenRequest) { r.IfNotGeneration = 1 })
		other.wants(0, "2")
	})
}

func TestWatchingEndsAtOnce(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*broker.TokenRequest)
		want   broker.Reason
	}{
		"a grant that is not there":       {func(r *broker.TokenRequest) { r.Address = wiki }, broker.ReasonGrantNotFound},
		"a grant that the policy denies":  {func(r *broker.TokenRequest) { r.Address = mustAddress("beta/x/jira") }, broker.ReasonCallerNotAllowed},
		"a life that it should have left": {func(r *broker.TokenRequest) { r.MinTTL = time.Minute }, broker.ReasonInvalidRequest},
		"an id of nothing":                {func(r *broker.TokenRequest) { r.Address, r.ID = storage.Address{}, wiki.GrantID() }, broker.ReasonGrantNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, 1, func(c *cluster) {
				c.replica[0].consent(jira)
				if err := watch(c.t, c.replica[0], row.change).end(time.Second); broker.ReasonOf(err) != row.want {
					t.Errorf("got %v, want %s", err, row.want)
				}
			})
		})
	}
}

func TestAMissingScopeIsToldAndMadeUpForByAConsent(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		m := c.replica[0]
		m.consent(jira, "read:jira-work")
		s := watch(c.t, m, func(r *broker.TokenRequest) {
			r.ID, r.Address, r.RequiredScopes = jira.GrantID(), storage.Address{}, []string{"write:jira-work"}
		})
		s.wants(0, "SCOPE_NOT_GRANTED")
		s.wants(3*time.Hour, "nothing")
		m.consent(jira, "read:jira-work", "write:jira-work")
		s.wants(0, fmt.Sprint(c.grant(jira).State.Generation))
	})
}

func TestTheEndOfTheBrokerEndsItsWatches(t *testing.T) {
	inCluster(t, 1, func(c *cluster) {
		m := c.replica[0]
		m.consent(jira)
		s := watch(c.t, m)
		s.wants(0, "1")
		m.close()
		s.wants(0, "ended STREAM_ENDED")
	})
}
