package io.github.holdfast.client;

import io.grpc.Status;
import java.time.Duration;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.Future;

/** How long callers wait for a token, and what they get when that has passed. */
final class Patience {
  /** How long a caller waits while a token lies ready that is not guaranteed, but not expired either. */
  static final Duration STATIC_WAIT = Duration.ofSeconds(2);

  private final Timing timing;
  private final Executor executor;

  Patience(Timing timing, Executor executor) {
    this.timing = timing;
    this.executor = executor;
  }

  /** Waits, but not for long, and gets the old token, unless it expires, if the broker fails. */
  CompletableFuture<AccessToken> shortly(CompletableFuture<AccessToken> token, AccessToken old) {
    CompletableFuture<AccessToken> result = new CompletableFuture<>();
    Future<?> end = timing.after(STATIC_WAIT, () -> executor.execute(() -> {
      if (alive(old)) {
        result.complete(old);
      }
    }));
    token.whenComplete((t, e) -> {
      end.cancel(false);
      if (e == null) {
        result.complete(t);
      } else if (Outcomes.cause(e) instanceof HoldfastException h && h.isTemporary() && alive(old)) {
        result.complete(old);
      } else {
        result.completeExceptionally(Outcomes.cause(e));
      }
    });
    return result;
  }

  /** What is pending, or what there is instead when the caller's deadline ends. */
  CompletableFuture<AccessToken> within(Duration deadline, Pending p) {
    CompletableFuture<AccessToken> result = new CompletableFuture<>();
    Future<?> end = timing.after(deadline, () -> executor.execute(() -> {
      try {
        result.complete(atDeadline(p, deadline));
      } catch (HoldfastException e) {
        result.completeExceptionally(e);
      }
    }));
    p.token().whenComplete((t, e) -> {
      end.cancel(false);
      if (e == null) {
        result.complete(t);
      } else {
        result.completeExceptionally(Outcomes.cause(e));
      }
    });
    return result;
  }

  /** What a caller gets whose deadline has ended. */
  AccessToken atDeadline(Pending p, Duration deadline) throws HoldfastException {
    if (p.fallback() != null && alive(p.fallback())) {
      return p.fallback();
    }
    throw Refusal.own(Reason.DEADLINE_EXCEEDED, Status.Code.DEADLINE_EXCEEDED,
        "no token within the caller's deadline of " + deadline.toMillis() + " ms").thrown(null);
  }

  private boolean alive(AccessToken t) {
    return t.age(timing) < t.expiryAge;
  }
}
