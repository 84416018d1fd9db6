package io.github.holdfast.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.holdfast.v1.BatchError;
import io.github.holdfast.v1.ErrorReason;
import io.github.holdfast.v1.GetAccessTokenResponse;
import io.github.holdfast.v1.WatchAccessTokenResponse;
import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.SubmissionPublisher;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class WatcherTest {
  private static final Duration SECOND = Duration.ofSeconds(1);
  private final World w = new World();
  private final List<TokenEvent> events = new ArrayList<>();
  private final Watcher watcher = new Watcher(w.broker, w.timing, w.cache, w.request, HoldfastClient.SILENCE, events::add);

  @BeforeEach
  void watched() {
    watcher.start();
    w.broker.stream.opened();
    w.broker.push();
  }

  private void unavailable(ErrorReason reason, boolean passing) {
    BatchError.Builder e = BatchError.newBuilder().setReason(reason);
    if (passing) {
      e.setRetryAfter(com.google.protobuf.Duration.newBuilder().setSeconds(1));
    }
    w.broker.stream.message(WatchAccessTokenResponse.newBuilder().setUnavailable(e).build());
  }

  @Test
  void whileTheStreamStandsNothingIsAskedAndEachTokenIsTheNewest() {
    for (int minute = 0; minute < 300; minute++) {
      if (minute % 50 == 49) {
        w.broker.rotate();
        w.broker.push();
      }
      w.mustGet(w.broker.generation);
      w.pass(Duration.ofMinutes(1));
    }
    w.calls(0, 0);
    assertEquals(7, events.size());
  }

  @Test
  void aTokenThatNothingReplacesEndsWhenItExpires() {
    w.broker.stuck = true;
    w.pass(Duration.ofMinutes(59));
    w.mustGet(1);
    w.calls(0, 0);
    w.broker.rotate();
    w.pass(Duration.ofMinutes(2));
    w.mustGet(2);
    w.calls(1, 0);
  }

  @Test
  void aBrokenStreamIsOpenedAgainAndTheSourceAsksMeanwhile() {
    w.pass(Duration.ofMinutes(30));
    w.broker.stream.ended(Status.UNAVAILABLE.asRuntimeException());
    w.mustGet(1); // vouched for until a moment ago: no need to ask
    w.calls(0, 0);
    w.pass(Watcher.FIRST_DELAY);
    assertEquals(2, w.broker.watches.size());
    assertEquals(1, w.broker.watches.get(1).getToken().getIfNotGeneration());
    w.pass(Duration.ofMinutes(11)); // this one says nothing at all
    w.broker.rotate();
    w.mustGet(2);
    w.calls(1, 0);
  }

  @Test
  void attemptsToOpenAStreamKeepAGrowingDistance() {
    for (int i = 0; i < 10; i++) {
      w.broker.stream.ended(Status.UNAVAILABLE.asRuntimeException());
      w.pass(Watcher.MAX_DELAY);
    }
    assertEquals(11, w.broker.watches.size());
    w.broker.stream.ended(Status.UNAVAILABLE.asRuntimeException());
    w.pass(Watcher.MAX_DELAY.minusSeconds(1));
    assertEquals(11, w.broker.watches.size());
  }

  @Test
  void aStreamIsOpenedAgainNoSoonerThanTheFirstDelayAndByChanceLater() {
    w.timing.random = 1;
    w.broker.stream.ended(Status.UNAVAILABLE.asRuntimeException());
    w.pass(Watcher.FIRST_DELAY);
    assertEquals(1, w.broker.watches.size());
    w.pass(Watcher.FIRST_DELAY.dividedBy(2));
    assertEquals(2, w.broker.watches.size());
  }

  @Test
  void aStreamThatEndsInGoodOrderIsOpenedAgainWhenTheBrokerSays() {
    w.broker.stream.ended(VirtualBroker.refusal(Status.Code.UNAVAILABLE, Reason.STREAM_ENDED, Duration.ofSeconds(7), Map.of()));
    w.pass(Duration.ofSeconds(6));
    assertEquals(1, w.broker.watches.size());
    w.pass(SECOND);
    assertEquals(2, w.broker.watches.size());
  }

  @Test
  void anOlderAnswerDoesNotReplaceANewerToken() {
    w.broker.stream.ended(Status.UNAVAILABLE.asRuntimeException());
    w.pass(Duration.ofMinutes(11));
    w.broker.delay = SECOND;
    CompletableFuture<AccessToken> asked = w.ask();
    GetAccessTokenResponse old = w.broker.token();
    w.broker.rotate();
    w.broker.push();
    w.broker.answered = old;
    w.pass(SECOND);
    assertEquals("token-2", asked.join().value());
    w.mustGet(2);
  }

  @Test
  void aGrantThatWasPurgedAndMadeAgainCountsAnew() {
    GetAccessTokenResponse again = w.broker.token().toBuilder().setGrantId("grt_another").build();
    w.broker.rotate();
    w.broker.push();
    w.mustGet(2);
    w.broker.answered = again;
    w.broker.stream.ended(Status.UNAVAILABLE.asRuntimeException());
    w.pass(Duration.ofMinutes(9)); // the next caller asks in the background
    w.mustGet(2);
    w.mustGet(1);
  }

  @Test
  void aFinalReasonDropsTheTokenAndTheStreamGoesOn() {
    unavailable(ErrorReason.ERROR_REASON_PROVIDER_UNAVAILABLE, true);
    unavailable(ErrorReason.ERROR_REASON_GRANT_REVOKED, false);
    w.broker.fail = VirtualBroker.refusal(Status.Code.FAILED_PRECONDITION, Reason.GRANT_REVOKED, null, Map.of());
    assertInstanceOf(GrantRevokedException.class, w.mustFail());
    assertInstanceOf(GrantRevokedException.class, ((TokenEvent.Unavailable) events.get(2)).reason());
    w.broker.fail = null;
    w.broker.rotate();
    w.broker.push();
    w.mustGet(2);
  }

  @Test
  void aCallThatWasAnsweredBeforeTheEndDoesNotBringTheTokenBack() {
    w.broker.stream.ended(Status.UNAVAILABLE.asRuntimeException());
    w.pass(Duration.ofMinutes(11));
    w.broker.delay = SECOND;
    w.ask();
    unavailable(ErrorReason.ERROR_REASON_GRANT_REVOKED, false);
    w.pass(SECOND);
    w.broker.delay = Duration.ZERO;
    w.broker.fail = VirtualBroker.refusal(Status.Code.FAILED_PRECONDITION, Reason.GRANT_REVOKED, null, Map.of());
    assertInstanceOf(GrantRevokedException.class, w.mustFail());
  }

  @Test
  void aPassingReasonOfANewerBrokerIsNotFinal() {
    w.broker.stream.message(WatchAccessTokenResponse.newBuilder().setUnavailable(BatchError.newBuilder().setReasonValue(9999)
        .setRetryAfter(com.google.protobuf.Duration.newBuilder().setSeconds(1))).build());
    HoldfastException e = ((TokenEvent.Unavailable) events.get(1)).reason();
    assertTrue(e.isTemporary(), e.toString());
    assertInstanceOf(BrokerUnavailableException.class, e);
  }

  @Test
  void aPassingReasonLeavesTheTokenAndHoldsOffCallsForAsLongAsTheBrokerSays() {
    unavailable(ErrorReason.ERROR_REASON_INTERNAL, false); // names no time
    w.mustGet(1);
    w.broker.stuck = true;
    w.pass(Duration.ofMinutes(30));
    BatchError.Builder e = BatchError.newBuilder().setReason(ErrorReason.ERROR_REASON_PROVIDER_UNAVAILABLE)
        .setRetryAfter(com.google.protobuf.Duration.newBuilder().setSeconds(20));
    w.broker.stream.message(WatchAccessTokenResponse.newBuilder().setUnavailable(e).build());
    w.broker.stream.ended(Status.UNAVAILABLE.asRuntimeException());
    w.pass(Duration.ofSeconds(19));
    w.mustGet(1);
    w.calls(0, 0);
    w.pass(Duration.ofMinutes(30)); // it has expired
    w.broker.stream.message(WatchAccessTokenResponse.newBuilder().setUnavailable(e).build());
    assertInstanceOf(BrokerUnavailableException.class, w.mustFail());
    w.calls(0, 0);
    w.pass(Duration.ofSeconds(20));
    w.broker.rotate();
    w.mustGet(2);
    w.calls(1, 0);
  }

  @Test
  void whatComesWhileTheClientClosesIsLost() {
    SubmissionPublisher<TokenEvent> closed = new SubmissionPublisher<>(Runnable::run, 1);
    closed.close();
    TokenSource.tell(closed, events.get(0));
  }

  @Test
  void aPassingReasonLeavesTheToken() {
    unavailable(ErrorReason.ERROR_REASON_PROVIDER_UNAVAILABLE, true);
    w.mustGet(1);
    w.calls(0, 0);
  }

  @Test
  void aRefusalOfTheStreamItselfDropsTheToken() {
    w.broker.stream.ended(VirtualBroker.refusal(Status.Code.PERMISSION_DENIED, Reason.CALLER_NOT_ALLOWED, null, Map.of()));
    w.broker.fail = VirtualBroker.refusal(Status.Code.PERMISSION_DENIED, Reason.CALLER_NOT_ALLOWED, null, Map.of());
    assertInstanceOf(CallerNotAllowedException.class, w.mustFail());
    w.pass(Watcher.FIRST_DELAY);
    assertEquals(2, w.broker.watches.size());
  }

  @Test
  void aCredentialThatEndedUnderTheStreamLeavesTheToken() {
    w.broker.stream.ended(VirtualBroker.refusal(Status.Code.UNAUTHENTICATED, Reason.CALLER_UNAUTHENTICATED, null, Map.of()));
    w.mustGet(1);
    w.calls(0, 0);
    assertEquals(1, events.size());
    w.pass(Watcher.FIRST_DELAY);
    assertEquals(2, w.broker.watches.size()); // over a new connection, with what the files hold by then
  }

  @Test
  void aClosedWatcherOpensNothing() {
    watcher.close();
    w.broker.stream.ended(Status.CANCELLED.asRuntimeException());
    w.pass(Duration.ofHours(1));
    assertEquals(1, w.broker.watches.size());
    assertEquals(1, w.broker.cancelled);
    assertTrue(w.timing.waiting() == 0, "something is still to come");
  }
}
