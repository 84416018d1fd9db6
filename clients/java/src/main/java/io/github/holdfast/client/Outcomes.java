package io.github.holdfast.client;

import io.github.holdfast.v1.GetAccessTokenResponse;
import io.grpc.Status;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;

/** How calls end, as the cache and what stands around it see it. */
final class Outcomes {
  /** As good as never. */
  static final Duration FAR = Duration.ofDays(365);

  /** The provider accepts the reported token: its refusal had another cause. */
  static final class TokenAcceptedException extends Exception {
    private static final long serialVersionUID = 1L;

    TokenAcceptedException() {
      super("the provider accepts the token", null, false, false);
    }
  }

  private Outcomes() {}

  /** Completes the result with the token of an answer. */
  static void take(GetAccessTokenResponse answer, long sent, long sentWall, CompletableFuture<AccessToken> result) {
    try {
      result.complete(AccessToken.of(answer, sent, sentWall));
    } catch (HoldfastException | RuntimeException e) {
      result.completeExceptionally(Refusal.of(e)); // whatever is wrong with the answer: nobody waits for ever
    }
  }

  static HoldfastException closed() {
    return Refusal.own(Reason.CLOSED, Status.Code.OK, "the client is closed").thrown(null);
  }

  /** What failed, without the future's own wrapping. */
  static Throwable cause(Throwable e) {
    return e instanceof CompletionException && e.getCause() != null ? e.getCause() : e;
  }

  /** A time that a timer can take: a caller's own may be one that never comes. */
  static long nanos(Duration d) {
    return shorter(d, FAR).toNanos();
  }

  static Duration longer(Duration a, Duration b) {
    return a.compareTo(b) > 0 ? a : b;
  }

  static Duration shorter(Duration a, Duration b) {
    return a.compareTo(b) < 0 ? a : b;
  }
}
