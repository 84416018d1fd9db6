package io.github.holdfast.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import io.github.holdfast.v1.TokenVerdict;
import io.grpc.Status;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class RejectedTokenTest {
  private static final Duration SECOND = Duration.ofSeconds(1);
  private final World w = new World();

  @BeforeEach
  void cached() {
    w.mustGet(1);
  }

  @Test
  void aGenerationIsReportedOnceHoweverManySeeItRejected() {
    w.broker.delay = SECOND;
    List<CompletableFuture<AccessToken>> all = new ArrayList<>();
    for (int i = 0; i < 50; i++) {
      all.add(w.cache.newer(1, 401));
    }
    w.pass(SECOND);
    for (CompletableFuture<AccessToken> one : all) {
      assertEquals("token-2", one.join().value());
    }
    assertEquals("token-2", w.cache.newer(1, 401).join().value());
    w.calls(2, 1);
    assertEquals(1, w.broker.reports.get(0).getGeneration());
    assertEquals(401, w.broker.reports.get(0).getHttpStatus());
    assertEquals(1, w.broker.requests.get(1).getIfNotGeneration());
  }

  @Test
  void a401OfAnotherCauseLeavesTheTokenInUse() {
    w.broker.verdict = TokenVerdict.TOKEN_VERDICT_TOKEN_ACCEPTED;
    assertNull(w.cache.newer(1, 401).join());
    assertNull(w.cache.newer(1, 401).join());
    w.mustGet(1);
    w.calls(1, 1);
  }

  @Test
  void aCallerWhoWaitsWhileA401OfAnotherCauseIsReportedGetsAToken() {
    w.broker.verdict = TokenVerdict.TOKEN_VERDICT_TOKEN_ACCEPTED;
    w.pass(Duration.ofMinutes(11)); // from here on callers wait
    assertNull(w.cache.newer(1, 401).join());
    w.mustGet(1);
  }

  @Test
  void aNewerTokenThatHasExpiredMeanwhileIsNone() {
    w.broker.rotate();
    w.cache.brought(token(w.broker));
    w.pass(w.broker.life);
    assertEquals("token-3", w.cache.newer(1, 401).join().value());
  }

  private AccessToken token(VirtualBroker b) {
    CompletableFuture<AccessToken> taken = new CompletableFuture<>();
    Outcomes.take(b.token(), w.timing.nanos(), w.timing.wallMillis(), taken);
    return taken.join();
  }

  @Test
  void anUnverifiedReportIsRepeatedAfterAMinuteAtTheEarliest() {
    w.broker.verdict = TokenVerdict.TOKEN_VERDICT_UNVERIFIED;
    for (int i = 0; i < 90; i++) {
      assertNull(w.cache.newer(1, 401).join());
      w.pass(SECOND);
    }
    assertEquals(2, w.broker.reports.size());
  }

  @Test
  void aReportThatDidNotReachTheBrokerIsRepeated() {
    w.broker.reportFail = Status.UNAVAILABLE.asRuntimeException();
    assertNull(w.cache.newer(1, 401).join());
    w.broker.reportFail = null;
    w.pass(SECOND);
    assertEquals("token-2", w.cache.newer(1, 401).join().value());
    w.calls(2, 2);
  }

  @Test
  void nothingIsReportedWhileTheBrokerWantsToBeLeftAlone() {
    w.broker.fail = VirtualBroker.refusal(Status.Code.RESOURCE_EXHAUSTED, Reason.PROVIDER_RATE_LIMITED, Duration.ofSeconds(30), Map.of());
    w.pass(Duration.ofMinutes(9)); // the next caller asks in the background
    w.mustGet(1);
    for (int i = 0; i < 3; i++) {
      assertNull(w.cache.newer(1, 401).join());
      w.pass(Duration.ofSeconds(9));
    }
    w.calls(2, 0);
    w.broker.fail = null;
    w.pass(Duration.ofSeconds(3));
    assertEquals("token-2", w.cache.newer(1, 401).join().value());
    w.calls(3, 1);
  }

  @Test
  void aRejectedTokenIsNotServedAgainWhileTheBrokerFails() {
    w.broker.fail = VirtualBroker.refusal(Status.Code.UNAVAILABLE, Reason.PROVIDER_UNAVAILABLE, SECOND, Map.of());
    assertNull(w.cache.newer(1, 401).join());
    assertEquals(Reason.PROVIDER_UNAVAILABLE, w.mustFail().reason());
    w.broker.fail = null;
    w.pass(SECOND);
    w.mustGet(2);
    assertEquals(1, w.broker.requests.get(w.broker.requests.size() - 1).getIfNotGeneration());
  }
}
