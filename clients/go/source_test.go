package holdfast

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/holdfast-io/holdfast/clients/go/internal/wall"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const grant = "acme/automation/jira"

func mustToken(t *testing.T, s *TokenSource, want string) {
	t.Helper()
	got, err := s.Token()
	if err != nil {
		t.Fatalf("at %v: %v", time.Now(), err)
	}
	if got.AccessToken != want {
		t.Fatalf("at %v: got %s, want %s", time.Now(), got.AccessToken, want)
	}
}

func wantCalls(t *testing.T, b *fakeBroker, gets, reports int) {
	t.Helper()
	synctest.Wait()
	if g, r := b.calls(); g != gets || r != reports {
		t.Fatalf("the broker was asked %d times and told %d times, want %d and %d", g, r, gets, reports)
	}
}

func TestManyCallersCauseOneCall(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		b.delay = time.Second
		s := c.TokenSource(t.Context(), grant, Purpose("sync"), Site("cloud-1"), Scopes("read:jira-work"), MinTTL(time.Minute))
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() { mustToken(t, s, "token-1") })
		}
		group.Wait()
		wantCalls(t, b, 1, 0)
		r := b.requests[0]
		if r.GetGrant().GetAddress().GetSubject() != "automation" || r.GetPurpose() != "sync" || r.GetSite() != "cloud-1" ||
			len(r.GetRequiredScopes()) != 1 || r.GetMinTtl().AsDuration() != time.Minute {
			t.Errorf("the options did not reach the broker: %v", r)
		}
	})
}

func TestTheTokenIsCachedAndRenewedInTheBackground(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		s := c.TokenSource(t.Context(), grant)
		mustToken(t, s, "token-1")
		pass(7*time.Minute + 29*time.Second) // three quarters of the guarantee
		mustToken(t, s, "token-1")
		wantCalls(t, b, 1, 0)
		b.set(b.rotate)
		b.set(func() { b.delay = 10 * time.Second })
		pass(2 * time.Second)
		started := time.Now()
		mustToken(t, s, "token-1") // at once, while the next one is fetched
		if waited := time.Since(started); waited != 0 {
			t.Errorf("a caller waited %v although the old token is good", waited)
		}
		pass(10 * time.Second)
		synctest.Wait()
		mustToken(t, s, "token-2")
		wantCalls(t, b, 2, 0)
	})
}

func TestACallerThatGivesUpDoesNotEndTheCall(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		b.delay = 5 * time.Second
		s := c.TokenSource(t.Context(), grant)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.TokenContext(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want the caller's own deadline", err)
		}
		mustToken(t, s, "token-1")
		wantCalls(t, b, 1, 0)
	})
}

func TestWithoutABrokerTheOldTokenServesUntilItsExpiryByTheBrokersClock(t *testing.T) {
	for _, skew := range []time.Duration{0, 3 * time.Hour, -3 * time.Hour} {
		inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
			b.skew = skew
			s := c.TokenSource(t.Context(), grant)
			mustToken(t, s, "token-1")
			b.set(func() { b.fail = refusal(t, codes.Unavailable, StoreUnavailable, 2*time.Second, nil) })
			end := time.Now().Add(time.Hour)
			for time.Now().Add(time.Minute).Before(end) {
				pass(time.Minute)
				mustToken(t, s, "token-1")
			}
			pass(time.Until(end))
			_, err := s.Token()
			if e, ok := errors.AsType[*Error](err); !ok || e.Reason != StoreUnavailable || e.RetryAfter != 2*time.Second {
				t.Fatalf("skew %v: got %v after the expiry, want STORE_UNAVAILABLE", skew, err)
			}
			b.set(func() { b.fail = nil; b.rotate() })
			pass(2 * time.Second)
			mustToken(t, s, "token-2")
		})
	}
}

func TestFailedBackgroundCallsKeepTheirDistance(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		s := c.TokenSource(t.Context(), grant)
		mustToken(t, s, "token-1")
		b.set(func() { b.fail = refusal(t, codes.Unavailable, ProviderUnavailable, 20*time.Second, nil) })
		pass(8 * time.Minute)
		for range 60 {
			mustToken(t, s, "token-1")
			pass(time.Second)
		}
		wantCalls(t, b, 1+3, 0)
	})
}

func TestASilentBrokerDelaysACallerWithAnUnguaranteedTokenOnlyShortly(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		s := c.TokenSource(t.Context(), grant)
		mustToken(t, s, "token-1")
		b.set(func() { b.delay = time.Hour })
		pass(11 * time.Minute)
		started := time.Now()
		mustToken(t, s, "token-1")
		if waited := time.Since(started); waited != staticWait {
			t.Errorf("waited %v, want %v", waited, staticWait)
		}
	})
}

func TestAnUnguaranteedTokenGivesWayToTheBrokersAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		s := c.TokenSource(t.Context(), grant)
		mustToken(t, s, "token-1")
		b.set(b.rotate)
		pass(11 * time.Minute)
		mustToken(t, s, "token-2")
	})
}

func TestARefusalIsBelievedAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		s := c.TokenSource(t.Context(), grant)
		mustToken(t, s, "token-1")
		b.set(func() { b.fail = refusal(t, codes.FailedPrecondition, GrantRevoked, 0, nil) })
		pass(8 * time.Minute)
		mustToken(t, s, "token-1") // this call learns of it in the background
		synctest.Wait()
		_, err := s.Token()
		if e, ok := errors.AsType[*Error](err); !ok || e.Reason != GrantRevoked || e.Temporary() {
			t.Fatalf("got %v, want GRANT_REVOKED", err)
		}
	})
}

func TestARefreshInProgressIsWaitedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		b.fail = refusal(t, codes.Unavailable, RefreshInProgress, 3*time.Second, nil)
		time.AfterFunc(7*time.Second, func() { b.set(func() { b.fail = nil }) })
		mustToken(t, c.TokenSource(t.Context(), grant), "token-1")
		wantCalls(t, b, 4, 0)
	})
}

func TestAnOverdueRefreshDoesNotMakeEveryCallAsk(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		b.stuck = true
		s := c.TokenSource(t.Context(), grant)
		pass(58 * time.Minute) // the broker wanted to refresh 3 minutes ago
		for range 20 {
			mustToken(t, s, "token-1")
			pass(time.Second)
		}
		wantCalls(t, b, int(20/minInterval.Seconds()), 0)
	})
}

func TestCloseEndsCallsUnderWay(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		b.delay = time.Hour
		s := c.TokenSource(t.Context(), grant)
		failed := make(chan error)
		go func() { _, err := s.Token(); failed <- err }()
		synctest.Wait()
		started := time.Now()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-failed; !errors.Is(err, ErrClosed) {
			t.Errorf("the waiting call got %v, want ErrClosed", err)
		}
		if _, err := s.Token(); !errors.Is(err, ErrClosed) {
			t.Errorf("a later call got %v, want ErrClosed", err)
		}
		if waited := time.Since(started); waited != 0 {
			t.Errorf("Close took %v", waited)
		}
	})
}

func TestTheExpiryIsByTheLocalClock(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		b.skew = 5 * time.Hour
		got, err := c.TokenSource(t.Context(), grant).Token()
		if err != nil {
			t.Fatal(err)
		}
		if left := time.Until(got.Expiry); left != time.Hour {
			t.Errorf("the token seems to live for %v, want 1h", left)
		}
		if got.Extra("api_base_url") != b.apiBase || got.Extra("generation") != uint64(1) {
			t.Errorf("extra: %v, %v", got.Extra("api_base_url"), got.Extra("generation"))
		}
	})
}

// TestAWallClockThatIsSetMakesATokenOlderAtMost: it runs further than the monotonic one
// while the machine is suspended.
func TestAWallClockThatIsSetMakesATokenOlderAtMost(t *testing.T) {
	for shift, want := range map[time.Duration]int{0: 1, -time.Hour: 1, 5 * time.Minute: 1, 8 * time.Minute: 2, 2 * time.Hour: 2} {
		inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
			defer wall.Shift(0)
			s := c.TokenSource(t.Context(), grant)
			mustToken(t, s, "token-1")
			wall.Shift(shift)
			mustToken(t, s, "token-1")
			wantCalls(t, b, want, 0)
			mustToken(t, s, "token-1") // what was asked for since is as young as it is
			wantCalls(t, b, want, 0)
		})
	}
}

// Whoever waits for a token beside a report gets a token, whatever becomes of the report.
func TestAReportThatFindsNothingWrongIsNoAnswerToWhoWantsAToken(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		b.verdict, b.reportDelay = holdfastv1.TokenVerdict_TOKEN_VERDICT_TOKEN_ACCEPTED, 30*time.Second
		s := c.TokenSource(t.Context(), grant)
		mustToken(t, s, "token-1")
		pass(9*time.Minute + 45*time.Second)
		reported := make(chan *token)
		go func() { reported <- s.newer(t.Context(), 1, 401) }()
		pass(29 * time.Second) // past the guarantee, and a second before the verdict
		mustToken(t, s, "token-1")
		if newer := <-reported; newer != nil {
			t.Errorf("a report that found nothing wrong brought generation %d", newer.generation)
		}
		wantCalls(t, b, 2, 1)
	})
}
