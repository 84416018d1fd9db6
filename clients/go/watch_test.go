package holdfast

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// watchedSource returns a source with a token and an open stream.
func watchedSource(t *testing.T, c *Client) *TokenSource {
	t.Helper()
	s := c.TokenSource(t.Context(), grant, Watch(), MinTTL(time.Minute))
	mustToken(t, s, "token-1")
	synctest.Wait()
	return s
}

func wantStreams(t *testing.T, b *fakeBroker, want int) {
	t.Helper()
	synctest.Wait()
	if n := b.streams(); n != want {
		t.Fatalf("at %v: %d streams were opened, want %d", time.Now(), n, want)
	}
}

func mustFail(t *testing.T, s *TokenSource, want Reason) {
	t.Helper()
	_, err := s.Token()
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Reason != want {
		t.Fatalf("at %v: got %v, want %s", time.Now(), err, want)
	}
}

func TestAWatchedTokenIsReplacedAsSoonAsThereIsANewerOne(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		s := watchedSource(t, c)
		if r := b.watches[0].GetToken(); r.GetIfNotGeneration() != 1 || r.GetMinTtl() != nil || r.GetGrant() == nil {
			t.Errorf("the stream was opened by %v", r)
		}
		for want := range 200 {
			b.set(b.rotate)
			b.push()
			synctest.Wait()
			mustToken(t, s, fmt.Sprintf("token-%d", want+2))
			pass(8 * time.Minute) // beyond the time from which on a source without a stream asks
		}
		wantCalls(t, b, 1, 0)
	})
}

func TestASourceIsWatchedFromItsFirstUseToTheEndOfItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		ctx, cancel := context.WithCancel(t.Context())
		s := c.TokenSource(ctx, grant, Watch())
		wantStreams(t, b, 0)
		mustToken(t, s, "token-1")
		wantStreams(t, b, 1)
		cancel()
		synctest.Wait()
		pass(2 * watchLife)
		wantStreams(t, b, 1)
	})
}

func TestAStreamThatLastsForTooLongIsReplaced(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		watchedSource(t, c)
		pass(watchLife)
		wantStreams(t, b, 1)
		pass(watchDelay)
		wantStreams(t, b, 2)
	})
}

func TestAStreamThatBreaksOffIsOpenedAgainAtGrowingDistances(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		s := watchedSource(t, c)
		b.set(func() { b.watchFail = refusal(t, codes.Unavailable, StreamEnded, 0, nil) })
		b.drop(refusal(t, codes.Unavailable, StreamEnded, 5*time.Second, nil))
		wantStreams(t, b, 1)
		pass(5*time.Second - 1)
		wantStreams(t, b, 1) // the refusal named 5 s
		pass(1)
		wantStreams(t, b, 2)
		for i, delay := range []int{2, 4, 8, 16, 32, 60, 60} {
			pass(time.Duration(delay)*time.Second - 1)
			wantStreams(t, b, 2+i)
			pass(1)
			wantStreams(t, b, 3+i)
		}
		b.set(func() { b.watchFail = nil; b.rotate() })
		pass(time.Minute)
		wantStreams(t, b, 10)
		b.push()
		b.drop(nil)
		pass(time.Second) // it brought something: the distances begin anew
		wantStreams(t, b, 11)
		mustToken(t, s, "token-2")
		wantCalls(t, b, 1, 0)
	})
}

func TestReconnectsAndRetriesAreSpreadByChance(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		c.random = func() float64 { return 0.5 }
		watchedSource(t, c)
		b.drop(refusal(t, codes.Unavailable, StreamEnded, 8*time.Second, nil))
		pass(10*time.Second - 1)
		wantStreams(t, b, 1)
		pass(1)
		wantStreams(t, b, 2)
		for _, chance := range []float64{0, 0.999} {
			c.random = func() float64 { return chance }
			if d := c.spread(time.Minute); d < time.Minute || d > 90*time.Second {
				t.Errorf("a minute became %v", d)
			}
		}
	})
}

func TestWithoutAStreamASourceAsksAsUsual(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		b.watchFail = refusal(t, codes.Unimplemented, "", 0, nil)
		s := watchedSource(t, c)
		b.set(b.rotate)
		pass(7*time.Minute + 31*time.Second)
		mustToken(t, s, "token-1")
		synctest.Wait()
		mustToken(t, s, "token-2")
		wantCalls(t, b, 2, 0)
	})
}

func TestABrokerThatIsSilentOnAStreamIsAskedBeforeTheGuaranteeEnds(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		s := watchedSource(t, c)
		pass(8 * time.Minute)
		mustToken(t, s, "token-1")
		wantCalls(t, b, 1, 0)
		pass(time.Minute) // 10 minutes are guaranteed
		mustToken(t, s, "token-1")
		wantCalls(t, b, 2, 0)
	})
}

func TestAFinalEventEndsTheTokenAndALaterConsentBringsOne(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		s := watchedSource(t, c)
		b.set(func() { b.fail = refusal(t, codes.FailedPrecondition, ConsentRequired, 0, nil) })
		b.unavailable(&holdfastv1.BatchError{Reason: holdfastv1.ErrorReason_ERROR_REASON_CONSENT_REQUIRED, Message: "m"})
		synctest.Wait()
		mustFail(t, s, ConsentRequired)
		b.set(func() { b.fail = nil; b.rotate() })
		b.push()
		synctest.Wait()
		mustToken(t, s, "token-2")
		wantCalls(t, b, 2, 0)
	})
}

func TestAnEventThatIsNotFinalLeavesTheToken(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		s := watchedSource(t, c)
		b.unavailable(&holdfastv1.BatchError{
			Reason: holdfastv1.ErrorReason_ERROR_REASON_PROVIDER_UNAVAILABLE, Message: "m", RetryAfter: durationpb.New(20 * time.Second),
		})
		synctest.Wait()
		mustToken(t, s, "token-1")
		b.unavailable(&holdfastv1.BatchError{Reason: 4711, Message: "of a newer broker", RetryAfter: durationpb.New(time.Second)})
		synctest.Wait()
		mustToken(t, s, "token-1")
		wantCalls(t, b, 1, 0)
		pass(9 * time.Minute)
		b.unavailable(&holdfastv1.BatchError{
			Reason: holdfastv1.ErrorReason_ERROR_REASON_PROVIDER_UNAVAILABLE, Message: "m", RetryAfter: durationpb.New(20 * time.Second),
		})
		synctest.Wait()
		for range 20 { // as long as the broker said
			mustToken(t, s, "token-1")
			wantCalls(t, b, 1, 0)
			pass(time.Second)
		}
		mustToken(t, s, "token-1")
		wantCalls(t, b, 2, 0)
	})
}

func TestAFinalEventEndsThePauseOfOneThatWasNot(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		s := watchedSource(t, c)
		b.unavailable(&holdfastv1.BatchError{
			Reason: holdfastv1.ErrorReason_ERROR_REASON_PROVIDER_UNAVAILABLE, Message: "m", RetryAfter: durationpb.New(20 * time.Second),
		})
		b.set(func() { b.fail = refusal(t, codes.FailedPrecondition, ConsentRequired, 0, nil) })
		b.unavailable(&holdfastv1.BatchError{Reason: holdfastv1.ErrorReason_ERROR_REASON_CONSENT_REQUIRED, Message: "m"})
		synctest.Wait()
		mustFail(t, s, ConsentRequired)
	})
}

func TestARejectedTokenDoesNotComeBackByAStream(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		s := watchedSource(t, c)
		b.set(func() {
			b.verdict = holdfastv1.TokenVerdict_TOKEN_VERDICT_GENERATION_STALE
			b.fail = refusal(t, codes.Unavailable, ProviderUnavailable, time.Second, nil)
		})
		if newer := s.newer(t.Context(), 1, 401); newer != nil {
			t.Fatalf("got generation %d", newer.generation)
		}
		b.push()
		synctest.Wait()
		mustFail(t, s, ProviderUnavailable)
		b.set(b.rotate)
		b.push()
		synctest.Wait()
		mustToken(t, s, "token-2")
	})
}

func TestTheEndOfAStreamIsBelievedUnlessACredentialEnded(t *testing.T) {
	for _, c := range []struct {
		name   string
		code   codes.Code
		reason Reason
		lost   bool
	}{
		{"the policy changed", codes.PermissionDenied, CallerNotAllowed, true},
		{"the grant is gone", codes.NotFound, GrantNotFound, true},
		{"the certificate ended", codes.Unauthenticated, CallerUnauthenticated, false},
		{"the broker stops", codes.Unavailable, StreamEnded, false},
		{"too many streams", codes.ResourceExhausted, CallerRateLimited, false},
		{"an older broker", codes.Unimplemented, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *fakeBroker, client *Client) {
				s := watchedSource(t, client)
				b.drop(refusal(t, c.code, c.reason, 0, nil))
				synctest.Wait()
				b.set(b.rotate)
				want := "token-1"
				if c.lost {
					want = "token-2"
				}
				mustToken(t, s, want)
			})
		})
	}
}

func TestACallThatWasAnsweredBeforeTheEndDoesNotBringTheTokenBack(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		s := watchedSource(t, c)
		b.set(func() { b.delay = 10 * time.Second })
		pass(9 * time.Minute)
		mustToken(t, s, "token-1") // asks in the background
		synctest.Wait()
		b.unavailable(&holdfastv1.BatchError{Reason: holdfastv1.ErrorReason_ERROR_REASON_GRANT_REVOKED, Message: "m"})
		pass(11 * time.Second)
		b.set(func() { b.delay = 0; b.fail = refusal(t, codes.FailedPrecondition, GrantRevoked, 0, nil) })
		mustFail(t, s, GrantRevoked)
	})
}

func TestAnOlderTokenNeverReplacesANewerOne(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		s := watchedSource(t, c)
		b.set(func() { b.delay = 10 * time.Second; b.stuck = true })
		pass(9 * time.Minute)
		mustToken(t, s, "token-1") // asks in the background
		synctest.Wait()
		b.set(b.rotate)
		b.push()
		synctest.Wait()
		b.set(func() { b.generation = 1 }) // what the slow call will be answered with
		pass(11 * time.Second)
		mustToken(t, s, "token-2")
		b.set(func() { b.grantID = "grt_another" })
		b.push()
		synctest.Wait()
		mustToken(t, s, "token-1") // purged and made again
	})
}

func TestAMessageThatLayInABufferIsAsOldAsTheBrokerSays(t *testing.T) {
	for _, skew := range []time.Duration{0, -5 * time.Hour, 5 * time.Hour} {
		inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
			b.skew = skew
			s := watchedSource(t, c)
			b.set(b.rotate)
			b.mu.Lock()
			late := b.answer()
			b.mu.Unlock()
			pass(30 * time.Minute)
			b.stream.events <- &holdfastv1.WatchAccessTokenResponse{Event: &holdfastv1.WatchAccessTokenResponse_Token{Token: late}}
			synctest.Wait()
			got, err := s.Token() // not guaranteed any more: the broker is asked
			if err != nil {
				t.Fatal(err)
			}
			wantCalls(t, b, 2, 0)
			if left := time.Until(got.Expiry); left != 30*time.Minute {
				t.Errorf("skew %v: the token seems to live for %v, want 30m", skew, left)
			}
		})
	}
}

func TestAClockOfTheBrokerThatWasSetDoesNotProlongAToken(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	a := anchor{start, start.Add(time.Hour)}
	now := start.Add(10 * time.Minute)
	for server, want := range map[time.Time]time.Time{
		start.Add(time.Hour + 5*time.Minute): start.Add(5 * time.Minute),
		start.Add(3 * time.Hour):             now, // set forward
		start:                                start.Add(-time.Hour),
	} {
		if got := a.when(server, now); !got.Equal(want) {
			t.Errorf("%v: got %v, want %v", server, got, want)
		}
	}
}

func TestAnIncompleteMessageIsPassedOver(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		s := watchedSource(t, c)
		b.stream.events <- &holdfastv1.WatchAccessTokenResponse{}
		b.stream.events <- &holdfastv1.WatchAccessTokenResponse{Event: &holdfastv1.WatchAccessTokenResponse_Token{
			Token: &holdfastv1.GetAccessTokenResponse{Generation: 9, ServerTime: timestamppb.Now()},
		}}
		synctest.Wait()
		mustToken(t, s, "token-1")
	})
}

func TestCloseEndsAStream(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		watchedSource(t, c)
		started := time.Now()
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(started); waited != 0 {
			t.Errorf("Close took %v", waited)
		}
		pass(time.Hour)
		wantStreams(t, b, 1)
	})
}

func TestAFailedFirstCallIsWatchedToo(t *testing.T) {
	inBubble(t, func(t *testing.T, b *fakeBroker, c *Client) {
		b.fail = refusal(t, codes.FailedPrecondition, ConsentRequired, 0, nil)
		s := c.TokenSource(t.Context(), grant, Watch())
		mustFail(t, s, ConsentRequired)
		synctest.Wait()
		if r := b.watches[0].GetToken(); r.GetIfNotGeneration() != 0 {
			t.Errorf("the stream was opened by %v", r)
		}
		b.push()
		synctest.Wait()
		mustToken(t, s, "token-1")
		wantCalls(t, b, 1, 0)
	})
}
