package io.github.holdfast.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TokenCacheTest {
  private static final Duration SECOND = Duration.ofSeconds(1);
  private static final Duration MINUTE = Duration.ofMinutes(1);

  private final World w = new World();

  private void brokerFails(Status.Code code, Reason reason, Duration retry) {
    w.broker.fail = VirtualBroker.refusal(code, reason, retry, Map.of());
  }

  @Test
  void manyCallersCauseOneCall() {
    w.broker.delay = SECOND;
    List<CompletableFuture<AccessToken>> callers = new ArrayList<>();
    for (int i = 0; i < 500; i++) {
      callers.add(w.ask());
    }
    w.pass(SECOND);
    for (CompletableFuture<AccessToken> c : callers) {
      assertEquals("token-1", c.join().value());
    }
    w.calls(1, 0);
  }

  @ParameterizedTest
  @ValueSource(longs = {0, -2, 2, 60 * 24 * 365, -60 * 24 * 365})
  void theTokenIsReplacedInTheBackgroundAndEndsByTheBrokersClock(long skewMinutes) {
    w.broker.skew = Duration.ofMinutes(skewMinutes);
    for (int minute = 0; minute < 180; minute++) {
      CompletableFuture<AccessToken> got = w.ask();
      assertTrue(got.isDone(), "a caller had to wait in minute " + minute);
      w.pass(MINUTE);
    }
    assertEquals(4, w.broker.generation);
    assertTrue(w.broker.requests.size() < 60, "too many calls: " + w.broker.requests.size());
  }

  @ParameterizedTest
  @ValueSource(longs = {0, 60 * 24 * 365, -60 * 24 * 365})
  void aBrokerThatIsGoneLeavesTheTokenInUseUntilItExpiresAndNoLonger(long skewMinutes) {
    w.broker.skew = Duration.ofMinutes(skewMinutes);
    w.mustGet(1);
    brokerFails(Status.Code.UNAVAILABLE, Reason.STORE_UNAVAILABLE, SECOND);
    for (int second = 0; second < 3600; second++) {
      w.mustGet(1);
      w.pass(SECOND);
    }
    assertEquals(Reason.STORE_UNAVAILABLE, w.mustFail().reason());
    w.broker.fail = null;
    w.pass(SECOND.multipliedBy(2));
    w.mustGet(2);
  }

  @Test
  void failedBackgroundCallsKeepTheirDistance() {
    w.mustGet(1);
    brokerFails(Status.Code.UNAVAILABLE, Reason.PROVIDER_UNAVAILABLE, Duration.ofSeconds(20));
    w.pass(Duration.ofMinutes(8));
    for (int i = 0; i < 60; i++) {
      w.mustGet(1);
      w.pass(SECOND);
    }
    w.calls(1 + 3, 0);
  }

  @Test
  void manyClientsDoNotComeBackAtOnce() {
    w.timing.random = 1;
    w.mustGet(1);
    brokerFails(Status.Code.UNAVAILABLE, Reason.PROVIDER_UNAVAILABLE, Duration.ofSeconds(20));
    w.pass(Duration.ofMinutes(8));
    for (int i = 0; i < 60; i++) {
      w.mustGet(1);
      w.pass(SECOND);
    }
    w.calls(1 + 2, 0);
  }

  @Test
  void aSilentBrokerDelaysACallerWithAnUnguaranteedTokenOnlyShortly() {
    w.mustGet(1);
    w.broker.delay = Duration.ofHours(1);
    w.pass(Duration.ofMinutes(11));
    CompletableFuture<AccessToken> got = w.ask();
    w.pass(Patience.STATIC_WAIT.minusMillis(1));
    assertFalse(got.isDone(), "the old token came too early");
    w.pass(Duration.ofMillis(1));
    assertEquals("token-1", got.join().value());
  }

  @Test
  void noTokenIsHandedOutThatExpiredWhileTheBrokerWasWaitedFor() {
    w.broker.stuck = true;
    w.mustGet(1);
    w.pass(Duration.ofHours(1).minusSeconds(1));
    w.broker.delay = Duration.ofSeconds(5);
    CompletableFuture<AccessToken> got = w.ask();
    w.pass(Duration.ofSeconds(4));
    assertFalse(got.isDone(), "an expired token was handed out");
    w.broker.rotate();
    w.pass(Duration.ofSeconds(1));
    assertEquals("token-2", got.join().value());
  }

  @Test
  void anUnguaranteedTokenGivesWayToTheBrokersAnswer() {
    w.mustGet(1);
    w.broker.rotate();
    w.pass(Duration.ofMinutes(11));
    w.mustGet(2);
  }

  @Test
  void aRefusalIsBelievedAtOnce() {
    w.mustGet(1);
    brokerFails(Status.Code.FAILED_PRECONDITION, Reason.GRANT_REVOKED, null);
    w.pass(Duration.ofMinutes(8));
    w.mustGet(1); // this call learns of it in the background
    assertInstanceOf(GrantRevokedException.class, w.mustFail());
  }

  @Test
  void aRefreshInProgressIsWaitedFor() {
    brokerFails(Status.Code.UNAVAILABLE, Reason.REFRESH_IN_PROGRESS, Duration.ofSeconds(3));
    CompletableFuture<AccessToken> got = w.ask();
    w.pass(Duration.ofSeconds(7));
    w.broker.fail = null;
    w.pass(Duration.ofSeconds(2));
    assertEquals("token-1", got.join().value());
    w.calls(4, 0);
  }

  @Test
  void aRefreshInProgressIsNotWaitedForBeyondTheTimeout() {
    brokerFails(Status.Code.UNAVAILABLE, Reason.REFRESH_IN_PROGRESS, Duration.ofSeconds(30));
    CompletableFuture<AccessToken> got = w.ask();
    w.pass(Duration.ofSeconds(30));
    assertEquals(Reason.REFRESH_IN_PROGRESS, World.failure(got).reason());
  }

  @Test
  void anOverdueRefreshDoesNotMakeEveryCallAsk() {
    w.broker.stuck = true;
    w.pass(Duration.ofMinutes(58)); // the broker wanted to refresh 3 minutes ago
    for (int i = 0; i < 20; i++) {
      w.mustGet(1);
      w.pass(SECOND);
    }
    w.calls(4, 0);
  }

  @Test
  void aSuspendedMachinesWallClockMakesTheTokenOlderAndNeverYounger() {
    w.mustGet(1);
    w.timing.shiftWall(Duration.ofHours(-5));
    w.pass(Duration.ofMinutes(20));
    w.broker.rotate();
    w.mustGet(2);
    w.timing.shiftWall(Duration.ofHours(10));
    w.broker.delay = SECOND;
    assertFalse(w.ask().isDone(), "a token was handed out that expired during the suspension");
  }

  @Test
  void aDeadlineOfTheCallerEndsItsWaitAlone() {
    w.broker.delay = Duration.ofSeconds(5);
    Pending p = w.cache.pending();
    CompletableFuture<AccessToken> impatient = w.cache.patience().within(SECOND, p);
    w.pass(SECOND);
    assertInstanceOf(DeadlineExceededException.class, World.failure(impatient));
    w.pass(Duration.ofSeconds(4));
    assertEquals("token-1", p.token().join().value());
    w.calls(1, 0);
    assertEquals(0, w.timing.waiting());
  }

  @Test
  void aBrokerThatDoesNotAnswerInTimeIsUnavailable() {
    w.broker.delay = Duration.ofHours(1);
    CompletableFuture<AccessToken> got = w.ask();
    w.pass(HoldfastClient.DEFAULT_TIMEOUT);
    assertInstanceOf(BrokerUnavailableException.class, World.failure(got));
  }

  @Test
  void nothingIsHandedOutAfterClose() {
    w.mustGet(1);
    w.cache.close();
    assertInstanceOf(ClientClosedException.class, w.mustFail());
    assertNull(w.cache.newer(1, 401).join());
    w.calls(1, 0);
  }

  @Test
  void noStringShowsTheToken() {
    w.mustGet(1);
    String shown = w.cache.fresh() + " " + new TokenEvent.Renewed(w.cache.fresh());
    assertFalse(shown.contains("token-1"), shown);
  }

  @Test
  void closeEndsTheWaitBetweenTwoLooksAtARefresh() {
    brokerFails(Status.Code.UNAVAILABLE, Reason.REFRESH_IN_PROGRESS, Duration.ofSeconds(5));
    CompletableFuture<AccessToken> waiting = w.ask();
    assertFalse(waiting.isDone());
    w.cache.close(); // and no timer fires any more
    assertTrue(waiting.isDone(), "a caller waits for ever");
    assertInstanceOf(ClientClosedException.class, World.failure(waiting));
  }

  @Test
  void anAnswerWithTimesThatAreNoneEndsTheCall() {
    com.google.protobuf.Timestamp never = com.google.protobuf.Timestamp.newBuilder().setSeconds(Long.MIN_VALUE).setNanos(-1).build();
    w.broker.answered = w.broker.token().toBuilder().setServerTime(com.google.protobuf.Timestamp.getDefaultInstance()).setExpiresAt(never).build();
    CompletableFuture<AccessToken> got = w.ask();
    assertTrue(got.isDone(), "a caller waits for ever");
    assertTrue(got.isCompletedExceptionally());
    w.broker.answered = null;
    w.mustGet(1);
  }
}
