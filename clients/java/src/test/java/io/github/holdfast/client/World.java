package io.github.holdfast.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.holdfast.v1.GetAccessTokenRequest;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

/** A cache, its broker and their time. */
final class World {
  final ManualTiming timing = new ManualTiming();
  final VirtualBroker broker = new VirtualBroker(timing);
  final GetAccessTokenRequest request = GetAccessTokenRequest.newBuilder().setGrant(Grants.selector("acme/automation/jira")).build();
  final TokenCache cache = new TokenCache(broker, timing, Runnable::run, request, HoldfastClient.DEFAULT_TIMEOUT);

  /** What a caller gets now, or waits for. */
  CompletableFuture<AccessToken> ask() {
    AccessToken t = cache.fresh();
    return t != null ? CompletableFuture.completedFuture(t) : cache.pending().token();
  }

  /** A caller gets the token of this generation without waiting. */
  void mustGet(long generation) {
    CompletableFuture<AccessToken> got = ask();
    assertTrue(got.isDone(), "the caller has to wait");
    assertEquals("token-" + generation, got.join().value());
  }

  HoldfastException mustFail() {
    CompletableFuture<AccessToken> got = ask();
    assertTrue(got.isDone(), "the caller has to wait");
    return failure(got);
  }

  static HoldfastException failure(CompletableFuture<AccessToken> got) {
    try {
      throw new AssertionError("got " + got.join() + ", want a failure");
    } catch (CompletionException e) {
      return (HoldfastException) e.getCause();
    }
  }

  void calls(int gets, int reports) {
    assertEquals(gets + " questions, " + reports + " reports", broker.requests.size() + " questions, " + broker.reports.size() + " reports");
  }

  void pass(Duration d) {
    timing.pass(d);
  }
}
